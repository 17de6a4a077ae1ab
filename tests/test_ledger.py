"""The ledger keeps what it is told, whatever happens to the process, and never makes a request wait."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest

from proxy import ledger
from proxy.ledger import MIGRATIONS, Ledger, LedgerError, connect, open_ledger, read_only
from proxy.savings import Bill, KindTokens, Measured, Money, Outcome, Savings, Usage

MEASURED = Measured(
    Outcome.COMPRESSED,
    model="gpt-4o",
    encoding="o200k_base",
    tokens_before=900,
    tokens_after=400,
    kinds=(KindTokens("context", 800, 300), KindTokens("question", 100, 100)),
    reasons=(("compressed", 2), ("too short", 1)),
    stages=(("queue", 1.5), ("parse", 0.5), ("compress", 2.0)),
    arm="treated",
    conversation=b"0123456789abcdef",
)
MONEY = Money(0.00125, 0.0005, 0.0001, Bill(0.5, 0.25, 0.0, 0.25))


def savings(n: int = 0, measured: Measured = MEASURED) -> Savings:
    usage = Usage(input=410, output=20, cached=0)
    return Savings(
        f"id{n}", 1e9 + n, "rag", "balanced", "openai", True, measured, 200, usage, MONEY, 30.0, 90.0, caller="anna"
    )


def rows(path: Path) -> list[sqlite3.Row]:
    with closing(read_only(path)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM requests ORDER BY at, id").fetchall()


def until(condition: object, seconds: float = 20.0) -> None:
    """Waits until the callable is true; fails after some seconds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the lock for writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_record_is_kept_in_full(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "ledger?#.sqlite3"
    kept = open_ledger(path)
    kept.record(savings())
    kept.record(Savings("id1", 2e9, "r", "", "u", False, Measured(Outcome.PASSED), error="client_left"))
    kept.close()
    first, second = (dict(row) for row in rows(path))
    with closing(read_only(path)) as connection:
        (secret,) = connection.execute("SELECT key FROM secret").fetchone()
    assert first == {
        "id": "id0",
        "at": 1e9,
        "route": "rag",
        "policy": "balanced",
        "upstream": "openai",
        "stream": 1,
        "status": 200,
        "error": "",
        "outcome": "compressed",
        "reason": "",
        "model": "gpt-4o",
        "encoding": "o200k_base",
        "estimated": 0,
        "tokens_before": 900,
        "tokens_after": 400,
        "billed_input": 410,
        "billed_output": 20,
        "billed_cached": 0,
        "billed_cache_write": None,
        "saved_usd": 0.00125,
        "compression_ms": 4.0,
        "first_byte_ms": 30.0,
        "total_ms": 90.0,
        "kinds": '{"context":[800,300],"question":[100,100]}',
        "reasons": '{"compressed":2,"too short":1}',
        "stages": '{"queue":1.5,"parse":0.5,"compress":2.0}',
        "saved_net_usd": 0.0005,
        "billed_uncached_usd": 0.5,
        "billed_cached_usd": 0.25,
        "billed_written_usd": 0.0,
        "billed_output_usd": 0.25,
        "billed_usd": 1.0,
        "compressor_seconds": 0.0025,
        "compressor_usd": 0.0001,
        "arm": "treated",
        "conversation": blake2b(b"0123456789abcdef", digest_size=8, key=secret).digest(),
        "caller": "anna",
    }
    unknown = {name for name, value in second.items() if value is None}
    assert unknown >= {"status", "tokens_before", "billed_input", "billed_cached", "saved_usd", "compression_ms"}
    assert unknown >= {"saved_net_usd", "billed_usd", "billed_output_usd", "compressor_seconds", "conversation"}
    assert (second["arm"], len(secret)) == ("", 32)
    assert kept.dropped == 0


def test_what_others_choose_is_bounded_and_made_valid(tmp_path: Path) -> None:
    """A caller's model, a reason that quotes a caller, an upstream's usage: none may stop the writer."""
    odd = "a\ud800" + "x" * 10_000
    kept = open_ledger(tmp_path / "ledger")
    measured = Measured(Outcome.UNTOUCHED, odd, odd, reasons=((odd, 1),))
    kept.record(replace(savings(measured=measured), usage=Usage(2**63, 2**63 - 1)))
    kept.close()
    (row,) = rows(tmp_path / "ledger")
    assert row["model"].startswith("a?x")
    assert len(row["model"]) == len(row["reason"]) == ledger.NAME_LENGTH
    assert (row["billed_input"], row["billed_output"]) == (None, 2**63 - 1)


def test_what_was_told_a_second_before_kill_9_is_on_disk(tmp_path: Path) -> None:
    """A real process records one row after the other; the rows that it knew to be a second old must survive it."""
    path = tmp_path / "ledger"
    program = (
        "import sys, time; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2]); from test_ledger import savings; from proxy.ledger import open_ledger\n"
        "kept = open_ledger(Path(sys.argv[1]))\n"
        "for n in range(10**9): kept.record(savings(n)); print(n, time.monotonic(), flush=True); time.sleep(0.002)\n"
    )
    arguments = [sys.executable, "-c", program, str(path), str(Path(__file__).parent)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = []
        began = time.monotonic()
        for line in child.stdout:
            n, at = line.split()
            told.append((int(n), float(at)))
            if time.monotonic() - began > 2.5 and told[-1][1] - told[0][1] > 1.5:
                child.kill()
                break
    killed = told[-1][1]
    kept = {row["id"] for row in rows(path)}
    old = {f"id{n}" for n, at in told if at < killed - 1.0}
    assert len(old) > 20
    assert old <= kept


def test_two_writers_share_a_file(tmp_path: Path) -> None:
    """Opened at the same moment too, when the file is still to be made."""
    path = tmp_path / "ledger"
    ready = threading.Barrier(4)

    def work(who: int) -> None:
        ready.wait()
        kept = open_ledger(path)
        for n in range(500):
            kept.record(savings(1000 * who + n))
        kept.close()
        assert kept.dropped == 0

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row["id"] for row in rows(path)}) == len(rows(path)) == 2000


def test_rows_wait_while_the_file_is_locked_and_are_written_then(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    kept = open_ledger(path)
    with locked(path):
        for n in range(100):
            kept.record(savings(n))
        time.sleep(2 * ledger.BUSY)
        assert rows(path) == []
    until(lambda: len(rows(path)) == 100)
    kept.close()
    assert kept.dropped == 0


def test_a_full_queue_drops_and_counts_and_a_request_does_not_wait(tmp_path: Path) -> None:
    """The lock is never let go in time: recording goes on at once, closing gives up, the loss is told."""
    path = tmp_path / "ledger"
    kept = Ledger(path, size=50)
    with pytest.MonkeyPatch.context() as patch, locked(path):
        patch.setattr(ledger, "PATIENCE", 0.1)
        recorder = threading.Thread(target=lambda: list(map(kept.record, map(savings, range(200)))))
        recorder.start()
        recorder.join(timeout=ledger.BUSY / 2)
        assert not recorder.is_alive()
        assert kept.dropped == 150
        kept.close()
    assert kept.dropped == 200
    assert rows(path) == []


def test_a_record_after_the_end_is_counted_as_dropped(tmp_path: Path) -> None:
    kept = open_ledger(tmp_path / "ledger")
    kept.close()
    kept.record(savings())
    assert kept.dropped == 1


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    kept = open_ledger(path)
    kept.record(savings())
    kept.close()
    newer = (*MIGRATIONS, ("ALTER TABLE requests ADD COLUMN tenant TEXT", "UPDATE requests SET tenant = 'none'"))
    with closing(connect(path, newer)) as connection:
        assert connection.execute("SELECT id, tenant FROM requests").fetchall() == [("id0", "none")]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    with closing(connect(path, newer)) as connection:
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (1,)


def test_a_ledger_of_the_first_version_is_brought_up_to_date_and_written_to(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    first = (
        "INSERT INTO requests VALUES ('old', 1.0, 'rag', 'balanced', 'openai', 0, 200, '', 'compressed', '', 'gpt-4o', "
        "'o200k_base', 0, 900, 400, 410, 20, 0, NULL, 0.00125, 2.5, 30.0, 90.0, '{}', '{}', '{}')"
    )
    with closing(connect(path, MIGRATIONS[:1])) as connection:
        connection.execute(first)
    with pytest.raises(LedgerError, match="older version 1; `laconic serve` brings it up to date"):
        read_only(path)
    kept = open_ledger(path)
    kept.record(savings())
    kept.close()
    old, new = rows(path)
    assert (old["id"], old["saved_usd"], old["arm"]) == ("old", 0.00125, "")
    names = ("saved_net_usd", "billed_usd", "compressor_seconds", "compressor_usd", "conversation")
    assert [old[name] for name in names] == [None] * 5
    assert None not in [new[name] for name in names]


def test_a_conversation_keeps_its_name_over_restarts_and_has_another_in_another_ledger(tmp_path: Path) -> None:
    names = []
    for path in (tmp_path / "one", tmp_path / "one", tmp_path / "other"):
        kept = open_ledger(path)
        kept.record(savings())
        kept.close()
        names.append({row["conversation"] for row in rows(path)})
    assert names[0] == names[1] != names[2]
    assert [len(each) for each in names] == [1, 1, 1]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    open_ledger(path).close()
    broken = (*MIGRATIONS, ("ALTER TABLE requests ADD COLUMN tenant TEXT", "ALTER TABLE absent ADD COLUMN x TEXT"))
    with pytest.raises(LedgerError, match="no such table"):
        connect(path, broken)
    with closing(connect(path)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(requests)")}
        assert "tenant" not in columns


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with closing(connect(path, (*MIGRATIONS, ("CREATE TABLE more (x)",)))):
        pass
    for use in (open_ledger, read_only):
        with pytest.raises(LedgerError, match=f"has version {len(MIGRATIONS) + 1}, .* use a newer laconic"):
            use(path)


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    for use in (open_ledger, read_only):
        with pytest.raises(LedgerError, match="another program's data"):
            use(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"this is not a database, it only lies where one should be" * 100)
    for use in (open_ledger, read_only):
        with pytest.raises(LedgerError, match="file is not a database"):
            use(path)


def test_a_ledger_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"there is no ledger at .*none"):
        read_only(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be opened"):
        open_ledger(tmp_path / "file" / "ledger")


def test_processes_that_make_the_same_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    opening = (
        "import sys, time; from pathlib import Path; from proxy.ledger import connect\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "for n in range(60): connect(Path(sys.argv[1]) / f'{n}.sqlite3').close()"
    )
    run = [sys.executable, "-c", opening, str(tmp_path), str(time.time() + 2.5)]
    opened = [subprocess.Popen(run, stderr=subprocess.PIPE, text=True) for _ in range(5)]
    assert [process.communicate(timeout=60)[1] for process in opened] == [""] * 5
