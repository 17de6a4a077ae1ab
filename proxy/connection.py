"""One connection to an upstream: HTTP/1.1 requests out, parsed responses in, one after the other.

Theory of operation. `Connection` is an asyncio protocol around an httptools parser. `begin` starts an exchange, `write`
and `send` put the request on the wire, `head` waits for the status and the headers, `read` for the next bytes of the
body. Bytes that came in one go are handed on in one go. When more than `HIGH_WATER` bytes wait to be read, the socket
is not read any more: the upstream then feels the client's pace. Whatever ends the exchange early (a reset, nonsense,
a time limit) is kept as an httpx error and raised to whoever waits; a connection is `reusable` only after an exchange
in which both sides said everything.
"""

import asyncio
import select
from collections.abc import AsyncIterable
from typing import cast

import httptools
import httpx

from proxy.asgi import Header

HIGH_WATER = 256 * 1024
HEAD_LIMIT = 256 * 1024
"""More than this before the headers end is not an answer."""


class Connection(asyncio.Protocol):
    """Lives from connect to close; holds the state of one exchange at a time."""

    __slots__ = (
        "_buffer", "_drained", "_error", "_head_bytes", "_head_done", "_head_only", "_parser", "_paused", "_poll",
        "_size", "_to_eof", "_transport", "_waiter", "closed", "complete", "dirty", "headers", "keep_alive", "loop",
        "released", "sent", "status",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed = False
        self.released = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.begin(head_only=False)
        self.complete = True

    def begin(self, head_only: bool) -> None:
        """Starts an exchange. `head_only`: the answer to a HEAD has no body whatever its headers say."""
        self._parser = httptools.HttpResponseParser(self)
        self._buffer: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._head_only = head_only
        self._head_done = False
        self._to_eof = True
        self._error: BaseException | None = httpx.ConnectError("closed at once") if self.closed else None
        self.headers: list[Header] = []
        self.status = 0
        self.sent = False
        self.complete = False
        self.dirty = False
        self.keep_alive = False

    @property
    def reusable(self) -> bool:
        ended = self.complete and self.sent and not self._buffer
        return ended and self.keep_alive and not self.dirty and not self.closed

    @property
    def stale(self) -> bool:
        """Whether an idle connection has been closed by the other side, even if the event loop was not told yet."""
        return self.closed or self.dirty or bool(self._poll.poll(0))

    def abort(self) -> None:
        """Closes at once, dropping what is not yet written: the upstream should stop working for us."""
        self.closed = True
        self._error = None  # told by now; or a cycle: its traceback holds the frames that held the request
        self._transport.abort()

    # What the exchange does

    def write(self, *data: bytes) -> None:
        self._transport.writelines(data)

    async def send(self, body: AsyncIterable[bytes], chunked: bool, seconds: float | None) -> None:
        """Writes a streamed body at the upstream's pace; `seconds` is the longest it may refuse to take bytes."""
        async for data in body:
            if self.closed or not data:
                continue
            self._transport.writelines((b"%x\r\n" % len(data), data, b"\r\n") if chunked else (data,))
            if self._drained is not None:
                try:
                    async with asyncio.timeout(seconds):
                        await self._drained
                except TimeoutError:
                    raise httpx.WriteTimeout("the upstream takes no more bytes") from None
        if chunked and not self.closed:
            self._transport.write(b"0\r\n\r\n")
        self.sent = True

    async def head(self, seconds: float | None) -> None:
        """Returns when `status` and `headers` are there, at most `seconds` after the request was out."""
        while not self._head_done:
            await self._wait(seconds if self.sent else None, "no answer from the upstream")

    async def read(self, seconds: float | None) -> bytes:
        """The bytes of the body that have come since, at least one; nothing at its end."""
        while not self._buffer:
            if self.complete:
                return b""
            await self._wait(seconds, "no more bytes from the upstream")
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    def fail(self, error: BaseException) -> None:
        """Ends the exchange with an error for whoever waits or will."""
        if self._error is None and not self.complete:
            self._error = error
        self._wake()

    def sender_done(self, sender: asyncio.Task[None]) -> None:
        """Passes on what became of the task that runs `send`."""
        if not sender.cancelled() and (error := sender.exception()):
            self.fail(error)
        self._wake()

    async def _wait(self, seconds: float | None, late: str) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self.loop.create_future()
        timer = self.loop.call_later(seconds, self.fail, httpx.ReadTimeout(late)) if seconds is not None else None
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self.dirty = True
            self.abort()
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.dirty = True
            self.fail(httpx.RemoteProtocolError("the upstream's answer is not HTTP/1.1"))
        if self._head_bytes > HEAD_LIMIT and not self._head_done:
            self.fail(httpx.RemoteProtocolError("the upstream's headers are too large"))
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        if self._head_done:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._head_done and self._to_eof and exc is None:
            self.complete = True
        self.fail(httpx.ReadError("the upstream closed the connection before its answer was complete"))
        self.resume_writing()

    def pause_writing(self) -> None:
        self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # What the parser tells

    def on_message_begin(self) -> None:
        if self.complete:
            self.dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # else a trailer, which the server side cannot pass on
            name = name.lower()
            self.headers.append((name, value))
            if name == b"content-length":
                self._to_eof = False
            elif name == b"transfer-encoding":
                self._to_eof = False
                if value.lower() != b"chunked":
                    raise httpx.RemoteProtocolError("unknown transfer coding")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self.complete:
            return
        if status > 599:
            raise httpx.RemoteProtocolError("no such status")
        self.status = status
        self._head_done = True
        if self._head_only:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.dirty = True
            return
        self._buffer.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        if not self._head_done:
            self.headers = []  # 1xx: the answer is still to come
        elif not self.complete:
            self.keep_alive = self._parser.should_keep_alive()
            self.complete = True
