"""HTTP/1.1 as one reader only can understand it: what uvicorn and its parser (llhttp) let pass, and should not.

Theory of operation. The parser is strict about line ends, folding and lengths. What is left: trailers that would count
as headers, an offer to switch protocols (which makes the parser drop the body and all that follows on the connection;
Java's own client makes one with its first request), codings and versions that it knows and we do not, and nonsense that
follows whole requests, whose answers must still go out.
"""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.asgi import Header, Scope
from proxy.errors import AmbiguousRequest, Refused
from proxy.headers import CREDENTIALS, connection_named

NOT_PASSED_ON = frozenset(("CONNECT", "TRACE"))
"""A tunnel; and a request that an upstream answers with itself, its own key included."""
FRAMING = frozenset((b"content-length", b"transfer-encoding"))
END_TO_END = CREDENTIALS | FRAMING | {b"host", b"cookie", b"content-type", b"content-encoding"}
"""Never for the next neighbour only. A client that says so could strip what somebody between it and us has set."""


def check(scope: Scope) -> None:
    """Raises `Refused` for a request that parsed well and still is none of HTTP/1.1 as everybody reads it."""
    if scope["method"] in NOT_PASSED_ON:
        raise Refused(f"requests of the method {scope['method']} are not passed on")
    if scope["http_version"] not in ("1.1", "1.0"):
        raise AmbiguousRequest("the HTTP version is neither 1.1 nor 1.0")
    headers: list[Header] = scope["headers"]
    for name, value in headers:
        if name == b"transfer-encoding" and (value.lower() != b"chunked" or scope["http_version"] == "1.0"):
            raise AmbiguousRequest("a transfer coding other than chunked, or any in HTTP/1.0")
        if name == b"connection" and connection_named([(name, value)]) & END_TO_END:
            raise AmbiguousRequest("the connection header names a header that is not the connection's")


class StrictProtocol(HttpToolsProtocol):
    """uvicorn's, without what only looks like a part of a request. `running`: the exchange that is being answered;
    others may wait behind it. Once something was `refused`, nothing more is read from the connection."""

    running: RequestResponseCycle | None = None
    refused = False
    _muted = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self.refused:
            return
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                self._decline()
                rest = rest[offer.args[0] :]
            else:
                return

    def _decline(self) -> None:
        """Reads on as if no other protocol had been offered (RFC 9110, 7.8): a fresh parser, told the framing alone."""
        framing = b"".join(b"%b: %b\r\n" % header for header in self.scope["headers"] if header[0] in FRAMING)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn: what follows is never run
        self._muted = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
        self._muted = False

    def finish_first(self) -> bool:
        """Whether a whole request is still to be answered. The connection then ends with that answer."""
        self.refused = True
        busy = self.running
        if busy is None or busy.response_complete or (busy is self.cycle and busy.more_body):
            return False
        self.pipeline.clear()
        busy.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # tells the last exchange, which may wait behind the one that runs
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    # What the parser tells

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        if not self.url.lower().startswith((b"/", b"http://", b"https://")):
            raise AmbiguousRequest("the target is not a path")  # answered with 400, like all that the parser refuses
        super().on_headers_complete()
        self.headers = []  # for trailers, which are no headers: nobody reads them

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():  # else its body is still to come
            super().on_message_complete()
