"""Requests made by a grammar with twists, sent as bytes: each is refused, or becomes exactly one well-formed request.

The oracle is `honest.requests`. What it takes for nonsense must reach nobody as a whole request; what it reads must
arrive as it reads it, or be refused. The number of cases is set by LACONIC_HTTP_CASES, the seed by LACONIC_HTTP_SEED.
"""

import asyncio
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from conftest import Service, Told
from honest import End, Message, requests
from raw import connected

from proxy.settings import Limits

CASES = int(os.environ.get("LACONIC_HTTP_CASES", "2500"))
SEED = int(os.environ.get("LACONIC_HTTP_SEED", "6"))
REFUSED = {400, 404, 405, 408, 411, 413, 414, 431, 501, 505}
CHAT, FILES, MODELS = b"/v1/chat/completions", b"/v1/files", b"/v1/models"
JSON = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'
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


# The grammar


@dataclass
class Draft:
    """A request in parts, as lines of bytes, before it is written."""

    method: bytes
    target: bytes
    body: bytes
    version: bytes = b"HTTP/1.1"
    headers: list[bytes] = field(default_factory=list)  # whole lines without their end
    framing: str = "length"  # "length", "chunked", "none"
    end: bytes = b"\r\n"

    def written(self, chance: random.Random) -> bytes:
        lines = [b"%b %b %b" % (self.method, self.target, self.version), *self.headers]
        body = self.body
        if self.framing == "length":
            lines.append(b"Content-Length: %d" % len(body))
        elif self.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            body = chunked(body, chance)
        return self.end.join(lines) + self.end + self.end + body


def chunked(body: bytes, chance: random.Random) -> bytes:
    if not body:
        return b"0\r\n\r\n"
    at = chance.randint(1, len(body))
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (body[:at], body[at:]) if p) + b"0\r\n\r\n"


def plain(chance: random.Random) -> Draft:
    framing = chance.choice(["length", "chunked"])
    drafts = [
        Draft(b"GET", MODELS + b"?after=a%2Fb", b"", framing="none"),
        Draft(b"POST", CHAT, JSON, framing=framing),
        Draft(b"POST", FILES, bytes(range(256)), framing=framing),
        Draft(b"POST", FILES, b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n", framing=framing),
        Draft(b"DELETE", FILES + b"/file-1", b"", framing="none"),
        Draft(b"HEAD", MODELS, b"", framing="none"),
        Draft(b"PUT", b"/other?x=1", b"12345", framing=framing),
    ]
    draft = chance.choice(drafts)
    draft.headers = [b"Host: test", b"Authorization: Bearer sk-1", b"X-Mine: a, b"]
    if draft.body == JSON:
        draft.headers.append(b"Content-Type: application/json")
    return draft


METHODS = b"PATCH|OPTIONS|TRACE|CONNECT|PRI|get|G|GE T|GET\t|M-SEARCH|BREW|\x00GET|POST,|\xc3\x89|SOURCE|PROPFIND|".split(b"|")
TARGETS = [
    b"*", b"http://evil.example/v1/models", b"https://evil.example:1/v1/models?x=1", b"http://evil.example", b"HTTP://A/v1",
    b"//evil.example/v1/models", b"evil.example:443", b"evil.example/v1/models", b"/v1/mo dels", b"/v1/mo\tdels", b"/v1/\x01",
    b"/v1/\x7f", b"/v1/\xff", b"/v1/models#x", b"/v1/../v1/models", b"/v1/%2e%2e/models", b"/v1/models\\..", b"?x=1", b"",
    b"/v1/models?a b", b"/v1/%00", b"/v1/%zz", b"/" + b"a" * 9000, b"http://user:pw@evil.example/v1/models", b"file:///etc/passwd",
    b"/v1/models?http://evil.example/", b"http:///v1/models", b"http://[::1]/v1/models", b"/v1/models;x=1", b"/v1//models", b"http://a@b/v1",
    b"http://evil.example?x=1", b"ftp://evil.example/v1/models", b"/v1/{models}|^`\"<>", b"@evil.example/v1", b"/v1/models?x#y?z",
]  # fmt: skip
VERSIONS = b"HTTP/1.0|HTTP/1.2|HTTP/2.0|HTTP/0.9|HTTP/3|HTTP/1.10|HTTP/11|http/1.1|HTTP/ 1.1|HTTP/1.1 |HTTP/+1.1|HTTP/1,1|HTTPS/1.1|ICE/1.0|RTSP/1.0|".split(b"|")
LENGTHS = b"+5|-5|0x5|5, 5|5,6|5 5|5;|005|5\t|\x0b5|1e1|99999999999999999999|18446744073709551616|18446744073709551621|4294967301|||5.0|five|\xd9\xa5".split(b"|")
CODINGS = [
    b"chunked, identity", b"identity", b"xchunked", b"chunked, chunked", b"gzip, chunked", b"gzip", b"Chunked", b" chunked ", b"chunked;q=1",
    b"\tchunked", b"\x0bchunked", b"chunked\x00", b"chunke", b"", b",chunked", b"chunked,", b'"chunked"', b"identity, chunked", b"trailers", b"chunked chunked",
]  # fmt: skip
LINES = [
    b"X : a", b"X\t: a", b": a", b" : a", b"X", b"X a", b"X:", b"X: a\rb", b"X: a\nb", b"X: a\x00b", b"X: \x7f", b"X: \xff\xfe", b"X: a\x0bb",
    b"X: a\r\n folded", b"X: a\r\n\tfolded", b" X: a", b"\tX: a", b"X\xc3\xa9: a", b"X(: a", b"X[]: a", b"X\x00: a", b"X\r: a", b"\r", b"X: " + b"a" * 9000,
    b"Host: other", b"Authorization: Bearer sk-2", b"authorization : Bearer sk-2", b"Content-Length: 5", b"content-length : 5", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked", b"Content_Length: 5", b"X_Laconic: off", b"Content-Length\x00: 5", b"Content-Length\x0b: 5",
    b"Connection: close", b"Connection: keep-alive, authorization", b"Connection: content-length", b"Connection: host", b"Connection: x-mine", b"Connection: transfer-encoding",
    b"Connection: content-type", b"Connection: content-encoding\r\nContent-Encoding: gzip", b"Connection: x-laconic\r\nX-Laconic: off", b"Connection: ,,", b"Connection: cookie\r\nCookie: a",
    b"Connection: Upgrade\r\nUpgrade: websocket", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"Upgrade: h2c",
    b"Expect: 100-continue", b"Expect: 200-ok", b"TE: trailers", b"Trailer: X-Sum", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic eA==",
    b"X-Forwarded-Host: evil.example", b"X-HTTP-Method-Override: DELETE", b"Content-Encoding: gzip", b"Cookie: a\r\nCookie: b", b"X-Laconic: off", b"Max-Forwards: 0",
]  # fmt: skip
CHUNKS = [
    b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n",
    b"5\r\nhello0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5;a\r\nhello\r\n0;last\r\n\r\n", b'5;a="b;c"\r\nhello\r\n0\r\n\r\n', b"5;a=\nb\r\nhello\r\n0\r\n\r\n",
    b"5;\x00\r\nhello\r\n0\r\n\r\n", b"5;;\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n", b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n", b"5\r\nhello\r\n0\r\n X: a\r\n\r\n",
    b"5\r\nhello\r\n0\r\nHost: evil\r\nAuthorization: Bearer sk-9\r\n\r\n", b"5\r\nhello\r\n0\n\n", b"5\r\nhello\r\n\r\n0\r\n\r\n", b"5\r\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n", b"5_0\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n00000\r\n\r\n", b"5\r\nhello\r\n-0\r\n\r\n", b"A\r\nhellohello\r\n0\r\n\r\n", b"5,5\r\nhello\r\n0\r\n\r\n",
]  # fmt: skip
SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
BYTES = [b"\x00", b"\t", b"\n", b"\r", b"\r\n", b" ", b":", b",", b";", b"\x0b", b"\x7f", b"\x85", b"\xa0", b"\xff", b"a", b"0"]


def twist_method(draft: Draft, chance: random.Random) -> None:
    draft.method = chance.choice(METHODS)


def twist_target(draft: Draft, chance: random.Random) -> None:
    draft.target = chance.choice(TARGETS)


def twist_version(draft: Draft, chance: random.Random) -> None:
    draft.version = chance.choice(VERSIONS)


def twist_line_end(draft: Draft, chance: random.Random) -> None:
    draft.end = chance.choice([b"\n", b"\r", b"\n\r", b"\r\r\n", b" \r\n"])


def twist_lines(draft: Draft, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 3)):
        draft.headers.insert(chance.randint(0, len(draft.headers)), chance.choice(LINES))


def twist_many_lines(draft: Draft, chance: random.Random) -> None:
    draft.headers += [b"X-%d: a" % n for n in range(chance.randint(50, 70))]


def twist_length(draft: Draft, chance: random.Random) -> None:
    draft.framing, draft.body = "none", chance.choice([b"hello", b"hello" + SMUGGLED])
    names = [b"Content-Length", b"CONTENT-LENGTH", b"content-length"]
    for _ in range(chance.choice([1, 1, 2])):
        draft.headers.append(chance.choice(names) + b": " + chance.choice([*LENGTHS, b"5"]))


def twist_coding(draft: Draft, chance: random.Random) -> None:
    draft.framing, draft.body = "none", chance.choice([chunked(b"hello", chance), b"0\r\n\r\n" + SMUGGLED])
    draft.headers.append(b"Transfer-Encoding: " + chance.choice(CODINGS))
    if chance.random() < 0.3:
        draft.headers.insert(chance.randint(0, 3), b"Content-Length: " + chance.choice([b"0", b"5", b"%d" % len(draft.body)]))


def twist_chunks(draft: Draft, chance: random.Random) -> None:
    draft.framing, draft.body = "none", chance.choice(CHUNKS)
    draft.headers.append(b"Transfer-Encoding: chunked")


TWISTS: list[Callable[[Draft, random.Random], None]] = [
    twist_method, twist_target, twist_version, twist_line_end, twist_lines, twist_lines, twist_lines, twist_many_lines,
    twist_length, twist_length, twist_coding, twist_coding, twist_chunks, twist_chunks,
]  # fmt: skip


def case(chance: random.Random) -> bytes:
    """One to three requests on one connection, none to two twists in each, now and then a byte changed."""
    data = b""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        draft = plain(chance)
        for twist in chance.sample(TWISTS, chance.choice([0, 1, 1, 1, 2])):
            twist(draft, chance)
        data += draft.written(chance)
    if chance.random() < 0.25:
        at = chance.randrange(len(data))
        data = data[:at] + chance.choice(BYTES) + data[at + chance.randint(0, 2) :]
    if chance.random() < 0.05:
        data = data[: chance.randrange(len(data))]
    if chance.random() < 0.05:
        data = chance.choice([b"\r\n", b"\n", b"\r\n\r\n", b"\x00", b"\xef\xbb\xbf", b" "]) + data
    return data


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
