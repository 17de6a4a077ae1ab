"""Requests made by a grammar with twists, sent as bytes: each is refused, or becomes exactly one well-formed request.

The oracle is `honest.requests`. What it takes for nonsense must reach nobody as a whole request; what it reads must
arrive as it reads it, or be refused. The number of cases is set by LACONIC_HTTP_CASES, the seed by LACONIC_HTTP_SEED.
"""

import asyncio
import os
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from conftest import Service, Told
from grammar import case, plain
from honest import End, Message, requests
from raw import connected

from proxy.settings import Limits

CASES = int(os.environ.get("LACONIC_HTTP_CASES", "2500"))
SEED = int(os.environ.get("LACONIC_HTTP_SEED", "6"))
REFUSED = {400, 404, 405, 408, 411, 413, 414, 431, 501, 505}
MADE_ANEW = {b"host", b"content-length", b"transfer-encoding"}
NOT_PASSED_ON = MADE_ANEW | set(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer upgrade expect".split()
)


# The upstream: keeps the bytes as they come, answers each whole request


@dataclass
class Upstream:
    """`whole` requests in order; `cut`: connections that ended within one; `nonsense`: bytes that are no request."""

    whole: list[Message] = field(default_factory=list)
    cut: int = 0
    nonsense: list[bytes] = field(default_factory=list)
    url: str = ""


class Listening(asyncio.Protocol):
    def __init__(self, it: Upstream) -> None:
        self.it, self.data = it, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        found, end, _ = requests(self.data)
        if end is End.MALFORMED:
            self.it.nonsense.append(self.data)
        if found and end is End.CLEAN:
            self.it.whole += found
            self.data = b""
            for message in found:
                length = b"0" if message.method == b"HEAD" else b"2"
                body = b"" if message.method == b"HEAD" else b"{}"
                kind = b"content-type: application/json\r\n"
                self.transport.write(b"HTTP/1.1 200 OK\r\n" + kind + b"content-length: " + length + b"\r\n\r\n" + body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.it.cut += bool(self.data)


@contextmanager
def upstream() -> Iterator[Upstream]:
    it = Upstream()
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Listening(it), "127.0.0.1", 0))
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Upstream, str]]:
    limits = Limits(body_bytes=100_000, header_bytes=8_000, headers=60, body_idle_seconds=1)
    with ExitStack() as stack:
        it = stack.enter_context(upstream())
        yield it, Service(Told(), stack).start(it.url, "balanced", limits=limits)


# The oracle


@dataclass
class Answers:
    statuses: list[int]
    closed: bool


def answers(url: str, data: bytes, expected: list[Message], end: End) -> Answers:
    """What the server says: to every request that an honest reader sees, and then until it closes where it has to."""
    with connected(url) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(5)
        came, closed = b"", False
        try:
            sock.sendall(data)
            while not _enough(came, expected, end):
                if end is End.INCOMPLETE and len(_statuses(came, expected)) >= len(expected):
                    sock.settimeout(0.02)  # it may wait for the rest as long as it likes
                piece = sock.recv(65536)
                closed = closed or not piece
                if closed:
                    break
                came += piece
        except ConnectionError:
            closed = True
        except TimeoutError:
            assert end is End.INCOMPLETE, "the server neither answers nor closes"
    return Answers(_statuses(came, expected), closed)


def _enough(came: bytes, expected: list[Message], end: End) -> bool:
    return end is End.CLEAN and len(_statuses(came, expected)) == len(expected)


def _statuses(came: bytes, expected: list[Message]) -> list[int]:
    """Of the whole answers in these bytes. All have a length, and those to HEAD no body."""
    found: list[int] = []
    while b"\r\n\r\n" in came:
        head, _, came = came.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            continue
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        bare = len(found) < len(expected) and expected[len(found)].method == b"HEAD"
        length = 0 if bare else int(fields[b"content-length"])
        if len(came) < length:
            break
        came = came[length:]
        found.append(status)
    return found


def check(it: Upstream, url: str, data: bytes) -> str:
    """Sends one case and holds the oracle against it. Gives what became of its first request."""
    before = len(it.whole)
    expected, end, rest = requests(data)
    if end is End.MALFORMED and b"\n\r\n" not in rest:
        end = End.INCOMPLETE  # the server may find out only when the headers are complete
    told = answers(url, data, expected, end)
    arrived = it.whole[before:]
    assert not it.nonsense, "bytes that are no request went upstream"
    passed = [status for status in told.statuses if status == 200]
    assert told.statuses == passed + told.statuses[len(passed) :]
    refusals = told.statuses[len(passed) :]
    assert len(refusals) <= 1, "the connection goes on after a refusal"
    assert set(refusals) <= REFUSED, f"answered with {refusals}"
    assert len(arrived) <= len(expected), "more requests arrived than an honest reader sees"
    assert len(arrived) == len(passed), "what was answered is not what arrived"
    assert refusals or end is not End.MALFORMED or told.closed
    for sent, got in zip(expected, arrived, strict=False):
        assert (got.method, got.target, got.body) == (sent.method, sent.target, sent.body)
        assert len(got.values(b"host")) == 1
        assert len(got.values(b"authorization")) <= 1
        dropped = NOT_PASSED_ON | {t.strip().lower() for v in sent.values(b"connection") for t in v.split(b",")}
        kept = [h for h in sent.headers if h[0] not in dropped and not h[0].startswith(b"x-laconic")]
        assert [h for h in got.headers if h[0] not in MADE_ANEW] == kept
    return "passed" if passed else "refused" if refusals else "waits"


def test_a_request_is_refused_or_becomes_the_one_that_an_honest_reader_sees(service: tuple[Upstream, str]) -> None:
    chance = random.Random(SEED)
    became = {"passed": 0, "refused": 0, "waits": 0}
    for n in range(CASES):
        data = case(chance)
        try:
            became[check(*service, data)] += 1
        except AssertionError as error:
            raise AssertionError(f"case {n} of seed {SEED}: {error}\n{data!r}") from None
    assert min(became["passed"], became["refused"]) > CASES / 5, became


def test_every_request_without_a_twist_passes(service: tuple[Upstream, str]) -> None:
    """Else the test above would hold for a proxy that refuses what it should not."""
    chance = random.Random(SEED)
    for _ in range(50):
        assert check(*service, plain(chance).written(chance)) == "passed"
