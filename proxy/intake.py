"""The client's side of a request: what is refused at the door, the body within limits, and whether somebody waits."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from time import monotonic

import httpx

from proxy.asgi import Header, Receive
from proxy.errors import AmbiguousRequest, BodyStalled, BodyTooLarge, ClientLeft, HeadersTooLarge
from proxy.in_flight import InFlight
from proxy.settings import Limits

ONCE = frozenset((b"content-length", b"host", b"authorization", b"transfer-encoding"))
"""Given twice, one reader takes the first and another the last."""
SENSITIVE = ONCE | {b"connection", b"api-key", b"x-api-key", b"openai-organization", b"openai-project"}
"""Written with underscores, some servers take them for the real ones."""
HEADER_OVERHEAD = 4  # ": " and the line end
SLOWEST = 1000
"""Bytes a second. Who sends less for long holds a connection for the sake of holding it."""
LINGER_SECONDS, PAUSE_SECONDS = 30.0, 1.0


def check(headers: Sequence[Header], path: bytes, limits: Limits) -> int | None:
    """The declared length of the body, None where undeclared. Raises `Refused`."""
    if len(headers) > limits.headers:
        raise HeadersTooLarge(f"more than {limits.headers} headers")
    size = 0
    once: dict[bytes, bytes] = {}
    for name, value in headers:
        size += len(name) + len(value) + HEADER_OVERHEAD
        if name in ONCE:
            if name in once:
                raise AmbiguousRequest(f"the header {name.decode('ascii')} is given twice")
            once[name] = value
        elif b"_" in name:
            _refuse_disguise(name.replace(b"_", b"-"))
    if size > limits.header_bytes:
        raise HeadersTooLarge(f"the headers take more than {limits.header_bytes} bytes")
    if path[:1] not in (b"/", b""):
        raise AmbiguousRequest("the target is not a path")
    if b"/." in path or b"%2e" in path.lower():
        _refuse_dots(path)
    length = once.get(b"content-length")
    if length is None:
        return None
    if b"transfer-encoding" in once:
        raise AmbiguousRequest("content-length together with transfer-encoding")
    if int(length) > limits.body_bytes:
        raise BodyTooLarge(f"the body is larger than {limits.body_bytes} bytes")
    return int(length)


def _refuse_disguise(name: bytes) -> None:
    if name in SENSITIVE or name.startswith(b"x-laconic"):
        raise AmbiguousRequest(f"a header looks like {name.decode('ascii')} but is written with underscores")


def _refuse_dots(path: bytes) -> None:
    """A path that climbs could leave the part of the upstream that the route stands for."""
    steps = path.partition(b"?")[0].lower().replace(b"%2e", b".").split(b"/")
    if b".." in steps or b"." in steps:
        raise AmbiguousRequest("the path holds a dot segment")


class Client(httpx.AsyncByteStream):
    """Reads the body of one request, then watches for its client to leave. `held`: bytes of it that are in the count
    of `under_way`.

    Iterated, it is the body as a stream that holds one chunk at a time; `whole` is the body in one piece. Both raise
    `BodyTooLarge`, `BodyStalled` when no byte comes for too long or they drip in, and `ClientLeft`.
    """

    def __init__(self, receive: Receive, limits: Limits, under_way: InFlight) -> None:
        self._receive = receive
        self._limits = limits
        self._under_way = under_way
        self.held = 0
        self._room = limits.body_bytes
        self._waited = 0.0
        self._first: bytes | None = None
        self._more = True
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self.left = False

    async def start(self) -> bytes | None:
        """The body where it has come in one piece; else None, and it is there to be read."""
        first = await self._next()
        if not self._more:
            self._hold(first)
            self._watch()
            return first
        self._first = first
        return None

    async def whole(self) -> bytes:
        """The rest of the body, after `start`. Raises `Overloaded`, too."""
        chunks: list[bytes] = []
        async for chunk in self:
            self._hold(chunk)
            chunks.append(chunk)
        return b"".join(chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        while self._more:
            yield await self._next()
        self._watch()

    async def ignore_rest(self) -> None:
        """Reads what still comes of the body, and drops it, for a while and up to some bodies' size. A connection that
        is closed with bytes unread is reset, and an answer that was just sent may be lost with them."""
        room = 4 * self._limits.body_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._more and room > 0:
                    async with asyncio.timeout(PAUSE_SECONDS):
                        message = await self._receive()
                    self._more = bool(message.get("more_body", False))  # not where the client has left, either
                    room -= len(message.get("body", b""))

    def stop(self) -> None:
        """Stops watching: from here on the client's leaving changes nothing."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # or else a cycle: the task's exception holds this object

    def _hold(self, chunk: bytes) -> None:
        self.held += len(chunk)
        self._under_way.hold(len(chunk), self._limits)

    async def _next(self) -> bytes:
        idle = self._limits.body_idle_seconds
        began = monotonic()
        owed = self._waited - (self._limits.body_bytes - self._room) / SLOWEST  # seconds behind that pace
        try:
            async with asyncio.timeout(idle - max(owed, 0.0)):
                message = await self._receive()
        except TimeoutError:
            raise BodyStalled(f"the body stopped, or dripped in, for {idle:g} s") from None
        self._waited += monotonic() - began  # not the time that the upstream took to take what came
        if message["type"] == "http.disconnect":
            self.left = True
            raise ClientLeft("the client left")
        self._more = bool(message.get("more_body", False))
        chunk: bytes = message.get("body", b"")
        self._room -= len(chunk)
        if self._room < 0:
            raise BodyTooLarge(f"the body is larger than {self._limits.body_bytes} bytes")
        return chunk

    def _watch(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._await_leaving())

    async def _await_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._task is not None:
            self._task.cancel()
