"""A TCP proxy that harms what goes through it. Names and meanings of the toxics are Toxiproxy's.

Each direction of each connection has one toxic, or none. A toxic leaves the first `after` bytes alone, so that a test
can say at which point of a conversation it strikes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from provider import in_thread

PIECE = 65536
SETTLE = 0.03
"""Seconds before a connection is cut, so that the bytes before the cut have been read on the other side."""


class End(Enum):
    """What becomes of a connection after the bytes that may pass."""

    CLOSE = "limit_data"
    RESET = "reset_peer"
    SILENCE = "timeout"


@dataclass(frozen=True)
class Toxic:
    """One direction's harm. Seconds and bytes; see the functions below, which bear Toxiproxy's names."""

    after: int = 0
    pause: float = 0.0  # before each piece
    piece: int = PIECE
    end: End | None = None
    close_pause: float = 0.0

    def pieces(self, data: bytes, passed: int) -> Iterator[bytes]:
        """`data` as it goes on: what may pass untouched, then cut to pieces; nothing after the end."""
        free = min(len(data), max(0, self.after - passed))
        if free:
            yield data[:free]
        if self.end is None:
            yield from (data[at : at + self.piece] for at in range(free, len(data), self.piece))


def latency(after: int, seconds: float = 0.02) -> Toxic:
    """Each piece is late."""
    return Toxic(after, pause=seconds)


def bandwidth(after: int, rate: int = 100_000) -> Toxic:
    """At most `rate` bytes a second."""
    return Toxic(after, pause=1000 / rate, piece=1000)


def slicer(after: int, size: int = 7) -> Toxic:
    """Pieces of so many bytes, each in a packet of its own."""
    return Toxic(after, piece=size)


def slow_close(after: int, seconds: float = 0.05) -> Toxic:
    """The other side hears late that this one has closed."""
    return Toxic(after, close_pause=seconds)


def timeout(after: int) -> Toxic:
    """Nothing more comes, and the connection stays open."""
    return Toxic(after, end=End.SILENCE)


def reset_peer(after: int) -> Toxic:
    """A TCP reset."""
    return Toxic(after, end=End.RESET)


def limit_data(after: int) -> Toxic:
    """An orderly end of the connection, too early."""
    return Toxic(after, end=End.CLOSE)


TOXICS: dict[str, Callable[[int], Toxic]] = {
    "latency": latency,
    "bandwidth": bandwidth,
    "slow_close": slow_close,
    "timeout": timeout,
    "reset_peer": reset_peer,
    "slicer": slicer,
    "limit_data": limit_data,
}
HARMLESS = frozenset(("latency", "bandwidth", "slow_close", "slicer"))
NONE = Toxic()


@dataclass
class Harm:
    """A running proxy. `upstream` and `downstream` hold for connections made from now on; `used`: how many connections
    have carried bytes to the server."""

    target: str
    url: str = ""
    upstream: Toxic = NONE
    downstream: Toxic = NONE
    used: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = urlsplit(self.target)
        there, sender = await asyncio.open_connection(where.hostname, where.port)
        both = (writer, sender)
        self.open |= set(both)
        self.used += 1
        ways = (self._pump(reader, sender, self.upstream, both), self._pump(there, writer, self.downstream, both))
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*ways)
        for one in both:
            one.close()
            self.open.discard(one)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        toxic: Toxic,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        passed = 0
        with suppress(ConnectionError):
            while (toxic.end is None or passed < toxic.after) and (data := await reader.read(PIECE)):
                for piece in toxic.pieces(data, passed):
                    if passed >= toxic.after:
                        await asyncio.sleep(toxic.pause)
                    writer.write(piece)
                    await writer.drain()
                    passed += len(piece)
            if toxic.end is not None and passed >= toxic.after:
                await self._end(reader, toxic.end, both)
        await asyncio.sleep(toxic.close_pause)
        for one in both:
            one.close()

    async def _end(
        self, reader: asyncio.StreamReader, end: End, both: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ) -> None:
        if end is End.SILENCE:  # what still comes is taken and dropped, until that side closes
            while await reader.read(PIECE):
                pass
            return
        await asyncio.sleep(SETTLE)
        for one in both if end is End.RESET else ():
            sock: socket.socket = one.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def harm(target: str) -> Iterator[Harm]:
    """Runs one in a thread, in front of the server of a base URL, while the block lasts."""
    it = Harm(target)
    with in_thread(asyncio.start_server(it.serve, "127.0.0.1", 0)) as server:
        it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield it
