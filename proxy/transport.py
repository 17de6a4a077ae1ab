"""The road to the upstreams: a pool of keep-alive connections behind httpx's transport interface.

httpx's own pool looks at every connection for every request, so its cost grows with the square of the concurrency.
Here an idle connection is taken and given back in constant time, newest first, so that the oldest can go.

A request is never sent twice. Where the other side closes a kept connection just as a request goes out, nobody knows
whether it was read and billed; that is an error for the client to decide about. A connection found closed before
anything was written is simply passed over.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator

import certifi
import httpx

from proxy.asgi import Header
from proxy.connection import Connection

MAX_IDLE = 256
IDLE_SECONDS = 4.0
"""Shorter than the five seconds after which uvicorn, under many model servers, closes an idle connection."""
DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[bytes, bytes]


def trusted() -> ssl.SSLContext:
    """Verifies servers against the system's and certifi's authorities. Offers HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


class Transport(httpx.AsyncBaseTransport):
    """Sends requests of one event loop. Reads no environment, follows no redirect, adds no header.

    Extensions of a request: `target` (the raw request target; else that of the URL) and `timeout` with the keys
    `connect`, `first_byte`, `read` (between two bytes of the answer) and `write`, in seconds.
    Raises `httpx.TransportError`s, and what a streamed request body raises.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, max_idle: int = MAX_IDLE, idle_seconds: float = IDLE_SECONDS):
        self._tls = tls
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._idle: dict[Origin, deque[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer as soon as its headers are there; its stream must be closed."""
        timeout = request.extensions.get("timeout", {})
        origin = (request.url.raw_scheme, request.url.netloc)
        connection = self._take(origin) or await self._connect(request.url, timeout.get("connect"))
        body = Body(self, origin, connection, timeout.get("read"))
        try:
            body.sender = _send(connection, request, timeout.get("write"))
            await connection.head(timeout.get("first_byte", timeout.get("read")))
        except BaseException:
            await body.aclose()
            raise
        return httpx.Response(connection.status, headers=connection.headers, stream=body)

    async def aclose(self) -> None:
        """Closes what is idle."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def release(self, origin: Origin, connection: Connection) -> None:
        """Takes a connection back after a whole exchange."""
        idle = self._idle.setdefault(origin, deque())
        connection.released = connection.loop.time()
        idle.append(connection)
        if len(idle) > self._max_idle:
            idle.popleft().abort()
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(self._idle_seconds, self._sweep, connection.loop)

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if not connection.stale:
                return connection
            connection.abort()
        return None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        oldest = loop.time() - self._idle_seconds
        for idle in self._idle.values():
            while idle and (idle[0].closed or idle[0].released <= oldest):
                idle.popleft().abort()
        self._sweeper = None
        if starts := [idle[0].released for idle in self._idle.values() if idle]:
            self._sweeper = loop.call_at(min(starts) + self._idle_seconds, self._sweep, loop)

    async def _connect(self, url: httpx.URL, seconds: float | None) -> Connection:
        loop = asyncio.get_running_loop()
        tls = self._context() if url.scheme == "https" else None
        port = url.port or DEFAULT_PORTS[url.scheme]
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(lambda: Connection(loop), url.host, port, ssl=tls)
        except TimeoutError as exc:
            raise httpx.ConnectTimeout(f"no connection to {url.host}:{port} in {seconds:g} s") from exc
        except OSError as exc:
            raise httpx.ConnectError(f"no connection to {url.host}:{port}: {exc.strerror or exc}") from exc
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = trusted()
        return self._tls


class Body(httpx.AsyncByteStream):
    """The body of an answer, raw. Closing it before its end closes the connection."""

    __slots__ = ("_closed", "_connection", "_idle_seconds", "_origin", "_transport", "sender")

    def __init__(self, transport: Transport, origin: Origin, connection: Connection, idle_seconds: float | None):
        self._transport = transport
        self._origin = origin
        self._connection = connection
        self._idle_seconds = idle_seconds
        self._closed = False
        self.sender: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self._connection.read(self._idle_seconds):
            yield data

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self.sender is not None:
            self.sender.cancel()
        if self._connection.reusable:
            self._transport.release(self._origin, self._connection)
        else:
            self._connection.abort()


def _send(connection: Connection, request: httpx.Request, seconds: float | None) -> asyncio.Task[None] | None:
    """Writes the request; a body that streams is written by the task that is returned."""
    connection.begin(head_only=request.method == "HEAD")
    headers = request.headers.raw
    target = request.extensions.get("target") or request.url.raw_path
    begin = head(request.method, target, headers)
    if isinstance(request.stream, httpx.ByteStream):
        connection.write(begin, *request.stream)
        connection.sent = True
        return None
    assert isinstance(request.stream, httpx.AsyncByteStream)
    connection.write(begin)
    chunked = any(name.lower() == b"transfer-encoding" for name, _ in headers)
    sender = connection.loop.create_task(connection.send(request.stream, chunked, seconds))
    sender.add_done_callback(connection.sender_done)
    return sender


def head(method: str, target: bytes, headers: list[Header]) -> bytes:
    """The bytes of a request up to its body."""
    lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), target)]
    lines += [b"%b: %b" % header for header in headers]
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
