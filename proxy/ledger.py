"""The ledger: one SQLite file with a row a request. Numbers and names only; no prompt, no answer, no key.

Requests never wait for it. `record` puts a value into a bounded queue; one thread writes what has gathered, several
times a second. When the disk is slow or the file locked, rows wait in the queue; when the queue is full they are
dropped, and counted. Several processes may write to one file.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import msgspec

from proxy.savings import Savings, Usage

APPLICATION = 0x4C61636F  # "Laco": tells our files from other people's SQLite
INTERVAL = 0.25  # seconds between two writes: what a killed process loses at most
BUSY = 1.0  # seconds that one attempt waits for a lock of another process
ATTEMPTS = 20  # to switch a new file to write-ahead logging, within BUSY
PATIENCE = 5.0  # seconds that closing waits for a locked file
NAME_LENGTH = 200  # characters of a model's name or of a reason: callers choose the one and may be quoted in the other

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE requests (
            id TEXT NOT NULL, at REAL NOT NULL, route TEXT NOT NULL, policy TEXT NOT NULL, upstream TEXT NOT NULL,
            stream INTEGER NOT NULL, status INTEGER, error TEXT NOT NULL,
            outcome TEXT NOT NULL, reason TEXT NOT NULL, model TEXT NOT NULL, encoding TEXT NOT NULL,
            estimated INTEGER NOT NULL, tokens_before INTEGER, tokens_after INTEGER,
            billed_input INTEGER, billed_output INTEGER, billed_cached INTEGER, billed_cache_write INTEGER,
            saved_usd REAL, compression_ms REAL, first_byte_ms REAL, total_ms REAL,
            kinds TEXT NOT NULL, reasons TEXT NOT NULL, stages TEXT NOT NULL
        )""",
        "CREATE INDEX requests_at ON requests (at)",
    ),
    (
        "ALTER TABLE requests ADD COLUMN saved_net_usd REAL",
        "ALTER TABLE requests ADD COLUMN billed_uncached_usd REAL",
        "ALTER TABLE requests ADD COLUMN billed_cached_usd REAL",
        "ALTER TABLE requests ADD COLUMN billed_written_usd REAL",
        "ALTER TABLE requests ADD COLUMN billed_output_usd REAL",
        "ALTER TABLE requests ADD COLUMN billed_usd REAL",
        "ALTER TABLE requests ADD COLUMN compressor_seconds REAL",
        "ALTER TABLE requests ADD COLUMN compressor_usd REAL",
        "ALTER TABLE requests ADD COLUMN arm TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE requests ADD COLUMN conversation BLOB",
        "CREATE TABLE secret (key BLOB NOT NULL)",
        "INSERT INTO secret VALUES (randomblob(32))",
    ),
    (  # the quality guard's, see proxy.guard.store; evidence: JSON, running sums of the test
        """CREATE TABLE guard (
            route TEXT PRIMARY KEY, terms TEXT NOT NULL, since REAL NOT NULL, level INTEGER NOT NULL,
            samples INTEGER NOT NULL, evidence TEXT NOT NULL, alike REAL NOT NULL,
            day INTEGER NOT NULL, spent_today REAL NOT NULL, spent REAL NOT NULL
        )""",
    ),
    (  # a route has a row for each test
        "ALTER TABLE guard RENAME TO guard_of_routes",
        """CREATE TABLE guard (
            route TEXT NOT NULL, terms TEXT NOT NULL, since REAL NOT NULL, level INTEGER NOT NULL,
            samples INTEGER NOT NULL, evidence TEXT NOT NULL, alike REAL NOT NULL,
            day INTEGER NOT NULL, spent_today REAL NOT NULL, spent REAL NOT NULL, PRIMARY KEY (route, terms)
        )""",
        "INSERT INTO guard SELECT * FROM guard_of_routes",
        "DROP TABLE guard_of_routes",
    ),
    ("ALTER TABLE requests ADD COLUMN caller TEXT NOT NULL DEFAULT ''",),  # the name of a key
)
"""Statements that bring a file from version n to n + 1. What has been released is never edited."""

COLUMNS = (
    "id, at, route, policy, upstream, stream, status, error, outcome, reason, model, encoding, estimated, "
    "tokens_before, tokens_after, billed_input, billed_output, billed_cached, billed_cache_write, "
    "saved_usd, compression_ms, first_byte_ms, total_ms, kinds, reasons, stages, "
    "saved_net_usd, billed_uncached_usd, billed_cached_usd, billed_written_usd, billed_output_usd, billed_usd, "
    "compressor_seconds, compressor_usd, arm, conversation, caller"
)
_INSERT = f"INSERT INTO requests ({COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS.split(',')))})"

log = logging.getLogger("laconic.ledger")


class LedgerError(Exception):
    """The file cannot be used as a ledger; the message says which file, why, and what to do."""


class Ledger:
    """A meter that keeps records. `dropped` counts those that it could not keep. To be closed at the end."""

    def __init__(self, path: Path, size: int = 10_000) -> None:
        """`size`: rows that may wait. Raises `LedgerError` where the file cannot be opened."""
        self._path = path
        self._size = size
        self._waiting: deque[Savings] = deque()
        self._batch: list[Savings] = []  # taken from the queue, not yet in the file
        self._closing = threading.Event()
        self._failing = False
        self.dropped = 0
        self._connection = connect(path)
        (self._secret,) = self._connection.execute("SELECT key FROM secret").fetchone()
        self._thread = threading.Thread(target=self._write_all, name="laconic-ledger", daemon=True)
        self._thread.start()

    def record(self, savings: Savings) -> None:
        if self._closing.is_set() or len(self._waiting) + len(self._batch) >= self._size:
            self.dropped += 1
        else:
            self._waiting.append(savings)

    def close(self) -> None:
        """Writes what is waiting; gives up after some seconds where the file stays locked."""
        self._closing.set()
        self._thread.join()

    def _write_all(self) -> None:
        with closing(self._connection):
            while not self._closing.wait(INTERVAL):
                self._write()
            deadline = time.monotonic() + PATIENCE
            while not self._write() and time.monotonic() < deadline:
                time.sleep(INTERVAL)
        self.dropped += len(self._waiting) + len(self._batch)
        if self.dropped:
            log.warning("%d requests are missing from the ledger %s", self.dropped, self._path)

    def _write(self) -> bool:
        """False where the rows could not be written: they stay in the batch for the next time."""
        while self._waiting:
            self._batch.append(self._waiting.popleft())
        if not self._batch:
            return True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, (row(savings, self._secret) for savings in self._batch))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if not self._failing:
                log.warning("ledger %s cannot be written, %d rows are waiting: %s", self._path, len(self._batch), error)
            self._failing = True
            return False
        self._batch.clear()
        self._failing = False
        return True


def open_ledger(path: str | Path) -> Ledger:
    """Opens the ledger for writing, or makes a new one. Raises `LedgerError`."""
    return Ledger(Path(path))


def connect(path: Path, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> sqlite3.Connection:
    """A connection for writing, the schema up to date, the file and its folder made where there are none.

    Raises `LedgerError` where the file is damaged, somebody else's, newer than this program, or out of reach."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")  # with WAL: a killed process loses nothing committed
            _migrate(connection, path, migrations)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"{path} cannot be opened as a ledger: {error}") from error
    return connection


def read_only(path: Path) -> sqlite3.Connection:
    """A connection for reports, which makes and changes nothing. Raises `LedgerError`."""
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}: nothing has been recorded there yet")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY)
        try:
            found = _version(connection, path, len(MIGRATIONS))
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be read as a ledger: {error}") from error
    if found < len(MIGRATIONS):
        connection.close()
        raise LedgerError(f"{path} has the older version {found}; `laconic serve` brings it up to date")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Sequence[str]]) -> None:
    connection.execute("BEGIN")  # one snapshot: another process may be making the file just now
    version = _version(connection, path, len(migrations))
    connection.execute("COMMIT")
    if version == len(migrations):
        return
    _write_ahead(connection)
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path, len(migrations))  # another process may have been quicker
    for statement in (s for migration in migrations[version:] for s in migration):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
    connection.execute("COMMIT")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches the file to WAL. SQLite does not wait for a lock here as it does elsewhere, so we do."""
    for attempt in range(ATTEMPTS, 0, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if attempt == 1:
                raise
            time.sleep(BUSY / ATTEMPTS)


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (tables or version):
        raise LedgerError(f"{path} is not a ledger: another program's data lies in it")
    if version > newest:
        raise LedgerError(f"{path} has version {version}, this program knows up to {newest}: use a newer laconic")
    return int(version)


def row(savings: Savings, secret: bytes) -> tuple[object, ...]:
    """The values of one row, in the order of `COLUMNS`. `secret`: the file's own key, so that nobody without the file
    can tell whether a conversation that he knows is in it."""
    measured, usage, money = savings.measured, savings.usage or Usage(), savings.money
    return (
        savings.id,
        savings.at,
        savings.route,
        savings.policy,
        savings.upstream,
        savings.stream,
        savings.status,
        savings.error,
        measured.outcome.value,
        plain(measured.reason),
        plain(measured.model),
        measured.encoding,
        measured.estimated,
        measured.tokens_before,
        measured.tokens_after,
        _billed(usage.input),
        _billed(usage.output),
        _billed(usage.cached),
        _billed(usage.cache_write),
        money.gross,
        measured.milliseconds if measured.stages else None,
        savings.first_byte_ms,
        savings.total_ms,
        _json({k.kind: [k.before, k.after] for k in measured.kinds}),
        _json({plain(reason): count for reason, count in measured.reasons}),
        _json(dict(measured.stages)),
        money.net,
        money.bill.uncached,
        money.bill.cached,
        money.bill.written,
        money.bill.output,
        money.bill.total,
        measured.computing_seconds,
        money.compressor,
        measured.arm,
        blake2b(measured.conversation, digest_size=8, key=secret).digest() if measured.conversation else None,
        savings.caller,
    )


def plain(name: str) -> str:
    """A name that a caller may have chosen, fit to be kept: short, and valid Unicode."""
    return name[:NAME_LENGTH].encode("utf-8", "replace").decode()


def _billed(count: int | None) -> int | None:
    """An upstream may claim any number; one that does not fit is not known."""
    return None if count is None or count >= 2**63 else count


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
