"""The client's side of a connection: uvicorn's protocol with time limits of its own.

uvicorn waits for ever for a request that was never sent, for headers that do not end and for a client that does not
read its answer. Here each has a limit, so that whoever holds connections open gives them back. Pauses inside a body are
`proxy.intake`'s matter.
"""

import asyncio
import resource
import sys
from contextlib import suppress
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from proxy.admin import Beside
from proxy.app import App
from proxy.errors import AmbiguousRequest, HeadersStalled, HeadersTooLarge, LaconicError, TooManyConnections
from proxy.strict import StrictProtocol

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none is closed just as a request goes out on it."""

REST_SECONDS = 300
"""For what follows an answer and begins no request: mostly the rest of a body that was answered before its end."""
SPARE_FILES = 100
"""Open files that are no connections: libraries, the ledger, models, the loop's own."""


def take_room() -> None:
    """Takes all the open files that may be had, where a lower limit is set for programs that cannot deal with more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a limit that it does not give
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def room() -> int:
    """How many connections can be served at once, each with one to an upstream."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else max((files - SPARE_FILES) // 2, 1)


class Protocol(StrictProtocol):
    """uvicorn's `timeout_keep_alive_task` is the one timer of a connection that owes us a request. It cancels it with
    every byte that comes and sets it after each answer."""

    beside = 0  # bytes of headers, of trailers or beside the sizes of chunks, since anything else came
    in_head = False
    until: float | None = None  # by the loop's clock; kept while bytes drip in
    unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.limits = cast(App | Beside, self.app).limits
        most = min(self.limits.connections, room())
        if len(self.connections) > most:
            self._refuse(TooManyConnections(f"more than {most} connections are open", 1))
        else:
            self.timeout_keep_alive_task = self.loop.call_later(KEEP_ALIVE_SECONDS, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._forget_unread()

    def on_message_begin(self) -> None:
        self.beside = 0
        self.in_head = True
        self.until = None
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.beside = 0
        self.in_head = False
        self.until = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.beside = 0
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        self.beside += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.beside > self.limits.header_bytes:
            self._refuse(HeadersTooLarge(f"the headers take more than {self.limits.header_bytes} bytes"))
        elif self.in_head or self._owed:
            self._hurry()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.until = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.in_head and not self.transport.is_closing():
            self._hurry()
        self._see_it_read()

    def timeout_keep_alive_handler(self) -> None:
        if not self._owed:  # the answer to an earlier request is on its way; what follows it waits its turn
            return
        if self.in_head and not self.transport.is_closing():
            self._refuse(HeadersStalled(f"the headers were not complete after {self.limits.head_seconds:g} s"))
        super().timeout_keep_alive_handler()
        self._see_it_read()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._see_it_read()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_unread()

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(AmbiguousRequest("the request is not well-formed HTTP/1.1"))

    @property
    def _owed(self) -> bool:
        """Whether the client has all its answers, and the next step is its own."""
        return self.cycle is None or self.cycle.response_complete

    def _hurry(self) -> None:
        """What has been begun is to be complete soon, however many bytes come in between."""
        now = self.loop.time()
        if self.until is None:
            self.until = now + (self.limits.head_seconds if self.in_head else REST_SECONDS)
        self._unset_keepalive_if_required()
        at = self.until if self.in_head else min(self.until, now + KEEP_ALIVE_SECONDS)
        self.timeout_keep_alive_task = self.loop.call_at(at, self.timeout_keep_alive_handler)

    def _refuse(self, error: LaconicError) -> None:
        if self.finish_first():
            return
        body = error.body()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        head += b"".join(b"%b: %b\r\n" % header for header in error.headers())
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(STATUS_LINE[error.status] + head + b"\r\n" + body)
        self.transport.close()
        self._see_it_read()

    def _see_it_read(self) -> None:
        """What is written and not read yet must not stay so."""
        if self.unread is None and (size := self.transport.get_write_buffer_size()):
            self.unread = self.loop.call_later(self.limits.unread_seconds, self._still_unread, size)

    def _still_unread(self, before: int) -> None:
        self.unread = None
        if before <= self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self._see_it_read()

    def _forget_unread(self) -> None:
        if self.unread is not None:
            self.unread.cancel()
            self.unread = None
