"""What the keys have used: a token bucket of requests and the USD of today for each, which the processes of a machine
share and a restart keeps.

A file of records of 64 bytes, one a name, found by a digest of it. Each is read, changed and written under a lock of
its own that is held for microseconds. Where it cannot be had in a tenth of a second, since the process that holds it
was stopped, changes are made without it, and some may be lost: requests do not wait for another process. Records carry
a checksum, and one that is damaged is started anew. The file is read and written, not mapped: a mapped one that
somebody cuts short, or that finds the disk full, would end the process.
"""

import fcntl
import logging
import math
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from threading import Lock

from proxy.errors import BudgetSpent, RateLimited
from proxy.savings import Outcome, Savings
from proxy.settings import Key

DAY = 86_400
_MAGIC = b"LACONIC keys 1\n".ljust(64, b"\0")
_RECORD = struct.Struct("<16sddqd12xI")  # tag, tokens, when, day, USD, checksum of all before
_PATIENCE = 0.1  # seconds, once: until that lock can be had again, nobody waits for it
_THREADS = Lock()  # a lock of the file is the process's: it does not keep its threads apart

log = logging.getLogger("laconic.quota")


@dataclass(frozen=True, slots=True)
class Used:
    """`tokens`: requests that the bucket had left at `at` (Unix seconds), infinity: as many as it holds. `usd` was
    billed on `day` (days since 1970, UTC)."""

    tokens: float = math.inf
    at: float = 0.0
    day: int = 0
    usd: float = 0.0


class Quota:
    """In `path`, or in this process's memory where there is none or the file is of no use, which is logged."""

    def __init__(self, path: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._path = path
        self._file: int | None = None
        self._opened = path is None
        self._stuck: set[int] = set()  # places whose lock somebody holds who does not go on
        self._places: dict[str, int] = {}
        self._memory: dict[str, Used] = {}
        self._uncharged: set[str] = set()

    def take(self, key: Key) -> None:
        """Counts a request. Raises `RateLimited` or `BudgetSpent`, and then it isn't counted."""
        if key.requests_per_minute is None and key.usd_per_day is None:
            return
        now = self._now()
        with self._held(key.name) as place:
            used = self._read(key.name, place)
            if key.usd_per_day is not None and _spent(used, now) >= key.usd_per_day:
                raise BudgetSpent("what this key may spend today is spent", retry_after=math.ceil(DAY - now % DAY))
            if key.requests_per_minute is not None:
                self._write(key.name, place, _taken(used, key.requests_per_minute, now))

    def charge(self, key: Key, savings: Savings) -> None:
        """Counts what a request of this key was billed, as far as that is known."""
        if key.usd_per_day is None:
            return
        bill = savings.money.bill
        if bill.total is None and _was_billed(savings) and key.name not in self._uncharged:
            self._uncharged.add(key.name)
            log.warning("key %r: what some requests cost is not known, and does not count to its day", key.name)
        usd = sum(part for part in (bill.input, bill.output) if part is not None and 0 <= part < math.inf)
        if not usd:
            return
        now = self._now()
        with self._held(key.name) as place:
            used = self._read(key.name, place)
            self._write(key.name, place, replace(used, day=int(now // DAY), usd=_spent(used, now) + usd))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def _held(self, name: str) -> Iterator[int]:
        """The place of the record, locked. The file is opened, or made, when it is first needed."""
        with _THREADS:
            if not self._opened and self._path is not None:
                self._opened, self._file = True, _opened(self._path)
            place = self._place(name)
            with self._locked(place):
                yield place

    @contextmanager
    def _locked(self, place: int) -> Iterator[None]:
        file = self._file
        if file is None:
            yield
            return
        held = _lock(file, place, 0.0 if place in self._stuck else _PATIENCE)
        if held:
            self._stuck.discard(place)
        elif place not in self._stuck:
            self._stuck.add(place)
            log.warning("%s is held by a process that does not go on; from now on it is not waited for", self._path)
        try:
            yield
        finally:
            if held:
                _unlock(file, place)

    def _place(self, name: str) -> int:
        """Found by looking through the file, once; a name that is not in it gets the place behind the last."""
        if self._file is None:
            return 0
        place = self._places.get(name)
        try:
            if place is not None and os.pread(self._file, len(_tag(name)), place) == _tag(name):
                return place
            if place is not None:
                self._damaged(name)
            with self._locked(0):
                place = self._places[name] = _found(self._file, _tag(name))
                if place >= os.fstat(self._file).st_size:
                    self._write(name, place, Used())
        except OSError as error:
            self._give_up(error)
        return place or 0

    def _read(self, name: str, place: int) -> Used:
        if self._file is not None:
            try:
                data = os.pread(self._file, _RECORD.size, place)
            except OSError as error:
                self._give_up(error)
            else:
                return _unpacked(data) or self._anew(name, place)
        return self._memory.get(name, Used())

    def _anew(self, name: str, place: int) -> Used:
        self._damaged(name)
        self._write(name, place, Used())
        return Used()

    def _damaged(self, name: str) -> None:
        log.error("%s is damaged: what the key %r has used is counted anew", self._path, name)

    def _write(self, name: str, place: int, used: Used) -> None:
        self._memory[name] = used
        if self._file is None:
            return
        try:
            os.pwrite(self._file, _packed(name, used), place)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.error("%s cannot be used, from now on this process counts for itself: %s", self._path, error.strerror)
        self._file = None  # not closed: another file would get its number while a lock is still to be given back


def _taken(used: Used, per_minute: int, now: float) -> Used:
    """The bucket holds the requests of a minute, and fills evenly."""
    passed = now - used.at if used.at <= now else 60  # the clock was put back: a full bucket
    tokens = min(float(per_minute), used.tokens + passed * per_minute / 60)
    if tokens < 1:
        wait = (1 - tokens) * 60 / per_minute
        raise RateLimited(f"this key may send {per_minute} requests a minute", retry_after=math.ceil(wait))
    return replace(used, tokens=tokens - 1, at=now)


def _spent(used: Used, now: float) -> float:
    return used.usd if used.day == int(now // DAY) else 0.0


def _was_billed(savings: Savings) -> bool:
    """As far as can be told of an answer whose usage is not known."""
    answered = savings.status is not None and 200 <= savings.status < 300
    return savings.usage is not None or (answered and savings.measured.outcome is not Outcome.PASSED)


def _tag(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=16, person=b"laconic key").digest()


def _packed(name: str, used: Used) -> bytes:
    data = _RECORD.pack(_tag(name), used.tokens, used.at, used.day, used.usd, 0)[:-4]
    return data + struct.pack("<I", zlib.crc32(data))


def _unpacked(data: bytes) -> Used | None:
    """None where the record is damaged."""
    if len(data) != _RECORD.size or data[-4:] != struct.pack("<I", zlib.crc32(data[:-4])):
        return None
    _, tokens, at, day, usd, _ = _RECORD.unpack(data)
    return Used(tokens, at, day, usd)


def _found(file: int, tag: bytes) -> int:
    """Where the record with this tag is, or the end of the file."""
    data = os.pread(file, os.fstat(file).st_size, 0)
    places = range(len(_MAGIC), len(data), _RECORD.size)
    return next((at for at in places if data[at : at + len(tag)] == tag), len(_MAGIC) + len(places) * _RECORD.size)


def _lock(file: int, place: int, patience: float = _PATIENCE) -> bool:
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _RECORD.size, place)
            return True
        except OSError:
            if time.monotonic() >= until:
                return False
            os.sched_yield()


def _unlock(file: int, place: int) -> None:
    with suppress(OSError):  # closed meanwhile, which ends the lock, too
        fcntl.lockf(file, fcntl.LOCK_UN, _RECORD.size, place)


def _opened(path: Path) -> int | None:
    """None where the file cannot be used. One that is damaged is started anew; a copy of it is kept."""
    file = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held = _lock(file, 0)
        if os.pread(file, len(_MAGIC), 0) != _MAGIC:
            _start(file, path)
        if held:
            _unlock(file, 0)
    except OSError as error:
        log.warning("%s cannot be used, each process counts for itself what keys use: %s", path, error.strerror)
        if file is not None:
            os.close(file)
        return None
    return file


def _start(file: int, path: Path) -> None:
    """In place, since other processes may have it open."""
    if size := os.fstat(file).st_size:
        copy = path.with_name(path.name + ".damaged")
        log.error("%s is damaged: what keys have used is counted anew, the file is kept as %s", path, copy)
        copy.write_bytes(os.pread(file, size, 0))
        os.ftruncate(file, 0)
    os.pwrite(file, _MAGIC, 0)
