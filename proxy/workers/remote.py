"""In a worker: a compressor that runs in the compressor process. It looks like one that runs here.

Whoever compresses waits on its own thread, looks now and then whether anybody still waits for it, and hangs up when
nobody does, which the other side notices. A process that is dead, hangs or talks nonsense makes `compress` raise, so
that the request goes as it came; the next one tries again.
"""

import socket
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import sleep

import msgspec

import compressors
from compressors import Cancelled, CompressionError, Compressor, Kept, Overloaded, Task, Unavailable, cancel
from proxy.loading import Loading, Make, is_neural
from proxy.workers.frames import LENGTH, Answer, BadFrame, Done, Open, Refused, State, Work, answer, asked, length, pack

TRIES = 3
PAUSE_SECONDS = 1.0
"""Between two tries to have a model loaded: the compressor process may just be starting again."""
LOOK_SECONDS = 0.05
_KINDS = {kind.__name__: kind for kind in (Loading, Unavailable, Overloaded, Cancelled)}


class Gone(Unavailable):
    """The compressor process is not there, or cannot be understood."""


def maker(address: Path) -> Make:
    """Makes compressors: stand-ins for those that run a model, the others as they are."""

    def make(use: str, settings: msgspec.Struct | None) -> Compressor:
        made = compressors.load(use, settings)
        return Remote(address, use, settings) if is_neural(made) else made

    return make


class Remote:
    """Safe in any thread. Its connections tell the other side that the model is wanted: they end with this object."""

    def __init__(self, address: Path, use: str, settings: msgspec.Struct | None) -> None:
        self.called = use
        self._address = address
        given = b"" if settings is None else msgspec.json.encode(settings)
        self._opening, self._waiting = (pack(Open(use, given, wait)) for wait in (False, True))
        self._lease: socket.socket | None = None  # stays open while others come and go with those who wait
        self._idle: deque[socket.socket] = deque()
        self._state = State("", "")

    @property
    def version(self) -> str:
        return self._state.version

    @property
    def lacks(self) -> str:
        return self._state.lacks

    def warm_up(self) -> None:
        for left in reversed(range(TRIES)):
            try:
                self._lease = self._opened(self._waiting)
                return
            except Gone:
                if not left:
                    raise
                sleep(PAUSE_SECONDS)

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        seconds = cancel.remaining()
        limit = seconds if seconds < float("inf") else None
        try:
            frame = pack(Work(tuple(map(asked, tasks)), limit, cancel.whose()))
        except BadFrame as error:
            raise CompressionError(str(error)) from None
        connection = self._connected()
        try:
            told = _exchange(connection, frame)
        except BaseException:
            connection.close()  # what is still to come on it would answer something else
            raise
        self._idle.append(connection)
        if isinstance(told, Done):
            return list(told.kept)
        raise _error(told)

    def _connected(self) -> socket.socket:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._opened(self._opening)
            if _quiet(connection):
                return connection
            connection.close()

    def _opened(self, opening: bytes) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(LOOK_SECONDS)
            try:
                connection.connect(str(self._address))
            except OSError as error:
                raise Gone(f"the compressor process cannot be reached: {error.strerror or error}") from None
            told = _exchange(connection, opening)
            if not isinstance(told, State):
                raise _error(told)
        except BaseException:
            connection.close()
            raise
        self._state = told
        return connection


def _exchange(connection: socket.socket, frame: bytes) -> Answer:
    """Raises `Gone`, and `Cancelled` once nobody waits any more."""
    try:
        _send(connection, frame)
        return answer(_receive(connection, length(_receive(connection, LENGTH.size))))
    except BadFrame as error:
        raise Gone(f"the compressor process cannot be understood: {error}") from None
    except OSError as error:
        raise Gone(f"the compressor process has gone: {error.strerror or error}") from None


def _send(connection: socket.socket, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[connection.send(left) :]
        except TimeoutError:
            cancel.check()


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            piece = connection.recv(min(size - len(data), 2**20))
        except TimeoutError:
            cancel.check()
            continue
        if not piece:
            raise ConnectionError("it closed the connection")
        data += piece
    return bytes(data)


def _quiet(connection: socket.socket) -> bool:
    """Whether the other side is there and has nothing to say."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        connection.settimeout(LOOK_SECONDS)
        return True
    except OSError:
        pass
    return False


def _error(told: Answer) -> CompressionError:
    if isinstance(told, Refused):
        return _KINDS.get(told.kind, CompressionError)(told.message)
    return Gone(f"the compressor process cannot be understood: {type(told).__name__} is no answer to this")
