"""Recording, where the operator has asked for it: one JSON line a chat request, for `laconic tune` to read.

A line holds the body as the client sent it, redacted unless told otherwise, and what the upstream billed; never a
header and never an answer. As with the ledger, requests never wait: a bounded queue, one thread, and what cannot be
kept is dropped and counted. What goes wrong with the file is said in one line of the log, and recording ends.
"""

import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import random
from time import sleep
from typing import Any, BinaryIO

import msgspec

from proxy.redaction import redact, without_names
from proxy.savings import Savings, Usage
from proxy.settings import Recording

INTERVAL = 0.25  # seconds between two writes
PATIENCE = 5.0  # seconds that closing waits
PAUSE = 0.005  # seconds, after half a millisecond of work: so many MB a second as fill a file in minutes
ROOM = 64 * 2**20  # bytes of bodies that may wait
_MB = 2**20
_MODE = 0o600  # prompts are in it: the owner's only

log = logging.getLogger("laconic.recording")


@dataclass(frozen=True, slots=True)
class Request:
    """`at`: when it came, Unix seconds. `body`: as the client sent it."""

    at: float
    route: str
    usage: Usage | None
    body: bytes = field(repr=False)


class Recorder:
    """Appends requests to a file that only its owner may read. Never raises, never waits. To be closed at the end."""

    def __init__(self, settings: Recording, path: str, room: int = ROOM) -> None:
        self._settings = settings
        self._path = Path(path)
        self._room = room
        self._size = 0  # of the bodies that wait
        self._waiting: deque[Request] = deque()
        self._closing = threading.Event()
        self.over = False  # nothing more is taken: the file is full, or cannot be written
        self.dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="laconic-recording", daemon=True)
        self._thread.start()

    def wants(self) -> bool:
        """Whether the next request is to be recorded: asked once for each."""
        return not self.over and (self._settings.share >= 1 or random() < self._settings.share)

    def record(self, body: bytes, savings: Savings) -> None:
        if self.over or self._closing.is_set() or self._size + len(body) > self._room:
            self.dropped += 1
            return
        self._size += len(body)
        self._waiting.append(Request(savings.at, savings.route, savings.usage, body))

    def close(self) -> None:
        """Writes what is waiting; gives up after some seconds."""
        self._closing.set()
        self._thread.join(PATIENCE)
        self.dropped += len(self._waiting)
        if self.dropped:
            log.warning("%d requests are missing from the recording %s", self.dropped, self._path)

    def _write_all(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE), "ab+") as file:
                _end_line(file)
                while not self._closing.wait(INTERVAL):
                    self._write(file)
                self._write(file)
        except OSError as error:
            log.warning("%s: nothing is recorded: %s", self._path, error.strerror or error)
        self.over = True
        self._waiting.clear()

    def _pause(self) -> None:
        """Lets requests have the interpreter, between two stretches of half a millisecond or so."""
        if not self._closing.is_set():
            sleep(PAUSE)

    def _write(self, file: BinaryIO) -> None:
        """A line goes out in one piece, or not at all where it would make the file too long."""
        while self._waiting and not self.over:
            request = self._waiting.popleft()
            self._size -= len(request.body)
            data = line(request, self._settings.redact, self._pause)
            if data is None:
                continue
            with _locked(file):
                if os.fstat(file.fileno()).st_size + len(data) > self._settings.max_mb * _MB:
                    log.warning("%s has reached %d MB: nothing more is recorded", self._path, self._settings.max_mb)
                    self.over = True
                    self._waiting.clear()
                    return
                file.write(data)
                file.flush()


@contextmanager
def _locked(file: BinaryIO) -> Iterator[None]:
    """No other process writes to it meanwhile. The lock goes with a process that dies."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _end_line(file: BinaryIO) -> None:
    """Ends a line that a process left unfinished which was killed."""
    with _locked(file):
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
                file.flush()


def open_recorder(settings: Recording) -> Recorder | None:
    """None where nothing is to be recorded."""
    return None if settings.path is None else Recorder(settings, settings.path)


def line(request: Request, redacted: bool, pause: Callable[[], object] = lambda: None) -> bytes | None:
    """The line of a request; None where its body is no JSON object with messages, which could not be tuned for.
    `pause`: see `redact`."""
    try:
        body: Any = msgspec.json.decode(request.body)
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            return None
        told = {
            "at": round(request.at, 3),
            "route": request.route,
            "model": body["model"] if isinstance(body.get("model"), str) else "",
            "usage": request.usage,
            "body": redact(body, pause) if redacted else without_names(body),
        }
        return msgspec.json.encode(told) + b"\n"
    except (ValueError, RecursionError):  # not JSON, not UTF-8, nested too deep
        return None
