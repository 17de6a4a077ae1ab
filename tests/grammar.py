"""Requests over HTTP/1.1, written by a grammar with twists: what clients, attackers and broken software send."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

CHAT, FILES, MODELS = b"/v1/chat/completions", b"/v1/files", b"/v1/models"
JSON = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'


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


METHODS = (
    b"PATCH|OPTIONS|TRACE|CONNECT|PRI|get|G|GE T|GET\t|M-SEARCH|BREW|\x00GET|POST,|\xc3\x89|SOURCE|PROPFIND|"
).split(b"|")
TARGETS = [
    b"*", b"http://evil.example/v1/models", b"https://evil.example:1/v1/models?x=1", b"http://evil.example",
    b"HTTP://A/v1", b"//evil.example/v1/models", b"evil.example:443", b"evil.example/v1/models", b"/v1/mo dels",
    b"/v1/mo\tdels", b"/v1/\x01", b"/v1/\x7f", b"/v1/\xff", b"/v1/models#x", b"/v1/../v1/models",
    b"/v1/%2e%2e/models", b"/v1/models\\..", b"?x=1", b"", b"/v1/models?a b", b"/v1/%00", b"/v1/%zz",
    b"/" + b"a" * 9000, b"http://user:pw@evil.example/v1/models", b"file:///etc/passwd",
    b"/v1/models?http://evil.example/", b"http:///v1/models", b"http://[::1]/v1/models", b"/v1/models;x=1",
    b"/v1//models", b"http://a@b/v1", b"http://evil.example?x=1", b"ftp://evil.example/v1/models",
    b'/v1/{models}|^`"<>', b"@evil.example/v1", b"/v1/models?x#y?z",
]  # fmt: skip
VERSIONS = (
    b"HTTP/1.0|HTTP/1.2|HTTP/2.0|HTTP/0.9|HTTP/3|HTTP/1.10|HTTP/11|http/1.1|HTTP/ 1.1|HTTP/1.1 |HTTP/+1.1|"
    b"HTTP/1,1|HTTPS/1.1|ICE/1.0|RTSP/1.0|"
).split(b"|")
LENGTHS = (
    b"+5|-5|0x5|5, 5|5,6|5 5|5;|005|5\t|\x0b5|1e1|99999999999999999999|18446744073709551616|"
    b"18446744073709551621|4294967301|||5.0|five|\xd9\xa5"
).split(b"|")
CODINGS = [
    b"chunked, identity", b"identity", b"xchunked", b"chunked, chunked", b"gzip, chunked", b"gzip", b"Chunked",
    b" chunked ", b"chunked;q=1", b"\tchunked", b"\x0bchunked", b"chunked\x00", b"chunke", b"", b",chunked",
    b"chunked,", b'"chunked"', b"identity, chunked", b"trailers", b"chunked chunked",
]  # fmt: skip
LINES = [
    b"X : a", b"X\t: a", b": a", b" : a", b"X", b"X a", b"X:", b"X: a\rb", b"X: a\nb", b"X: a\x00b", b"X: \x7f",
    b"X: \xff\xfe", b"X: a\x0bb", b"X: a\r\n folded", b"X: a\r\n\tfolded", b" X: a", b"\tX: a", b"X\xc3\xa9: a",
    b"X(: a", b"X[]: a", b"X\x00: a", b"X\r: a", b"\r", b"X: " + b"a" * 9000, b"Host: other",
    b"Authorization: Bearer sk-2", b"authorization : Bearer sk-2", b"Content-Length: 5", b"content-length : 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked",
    b"Content_Length: 5", b"X_Laconic: off", b"Content-Length\x00: 5", b"Content-Length\x0b: 5", b"Connection: close",
    b"Connection: keep-alive, authorization", b"Connection: content-length", b"Connection: host",
    b"Connection: x-mine", b"Connection: transfer-encoding", b"Connection: content-type",
    b"Connection: content-encoding\r\nContent-Encoding: gzip", b"Connection: x-laconic\r\nX-Laconic: off",
    b"Connection: ,,", b"Connection: cookie\r\nCookie: a", b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: 200-ok", b"TE: trailers", b"Trailer: X-Sum",
    b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authorization: Basic eA==",
    b"X-Forwarded-Host: evil.example", b"X-HTTP-Method-Override: DELETE", b"Content-Encoding: gzip",
    b"Cookie: a\r\nCookie: b", b"X-Laconic: off", b"Max-Forwards: 0",
]  # fmt: skip
CHUNKS = [  # ~ stands for CRLF
    body.replace(b"~", b"\r\n")
    for body in (
        b"+5~hello~0~~|-5~hello~0~~|0x5~hello~0~~| 5~hello~0~~|5 ~hello~0~~|5\nhello\n0\n\n|5~hello0~~|"
        b'5~helloX~0~~|5;a=b~hello~0~~|5;a~hello~0;last~~|5;a="b;c"~hello~0~~|5;a=\nb~hello~0~~|'
        b"5;\x00~hello~0~~|5;;~hello~0~~|10000000000000005~hello~0~~|fffffffffffffffff~hello~0~~|"
        b"00000000000000005~hello~0~~|5~hello~0~X-Sum: 1~~|5~hello~0~Content-Length: 3~~|"
        b"5~hello~0~bad trailer~~|5~hello~0~X: a\nY: b~~|5~hello~0~ X: a~~|"
        b"5~hello~0~Host: evil~Authorization: Bearer sk-9~~|5~hello~0\n\n|5~hello~~0~~|5\r\rhello~0~~|"
        b"5~hello\n0~~|~5~hello~0~~|g~hello~0~~|5_0~hello~0~~|5~hello~00000~~|5~hello~-0~~|A~hellohello~0~~|"
        b"5,5~hello~0~~"
    ).split(b"|")
]
SMUGGLED = b"GET /v1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
BYTES = [
    b"\x00",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\x7f",
    b"\x85",
    b"\xa0",
    b"\xff",
    b"a",
    b"0",
]


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
        draft.headers.insert(
            chance.randint(0, 3), b"Content-Length: " + chance.choice([b"0", b"5", b"%d" % len(draft.body)])
        )


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
