"""What is fuzzed: functions of bytes that must hold for all of them, and seeds to begin with.

A target returns where the bytes were taken or refused as they should, and raises anything at all where not.
"""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from honest import End, Message, requests
from uvicorn.server import ServerState

from compressors import Span
from compressors.spans import clip, complement, intersect, join, merge, within
from proxy import upstream, wire
from proxy.asgi import Receive, Scope, Send, respond
from proxy.config import ConfigError, load
from proxy.errors import ClientLeft, Refused
from proxy.in_flight import InFlight
from proxy.intake import Client, check
from proxy.protocol import Protocol
from proxy.settings import Limits
from proxy.sse import reader
from proxy.strict import check as strict
from proxy.transport import head


@dataclass(frozen=True)
class Target:
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


# A chat body: refused, or spliced so that nothing else moves


def splice(data: bytes) -> None:
    wire.peek(data)
    try:
        request = wire.parse(data)
    except wire.UnknownShape:
        return
    assert wire.splice(request, {}) == data
    again = wire.parse(wire.splice(request, {n: f.text[::-1] for n, f in enumerate(request.fields)}))
    assert [f.text[::-1] for f in again.fields] == [f.text for f in request.fields]
    assert _outside(again) == _outside(request)
    assert again.messages == request.messages


def _outside(request: wire.ChatRequest) -> str:
    ends = [0, *(edge for f in request.fields for edge in (f.start, f.end)), len(request.source)]
    return '""'.join(request.source[a:b] for a, b in zip(ends[::2], ends[1::2], strict=True))


BODIES = (
    b'{"model":"m","messages":[{"role":"user","content":"hi \\u00e9 \\ud800"}],"x":[1e400,NaN,{"a":1,"a":2}]}',
    b'{"messages":[{"role":"tool","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{}}]}]}',
    b'{"\\u006dessages":[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f"}}]}],"stream":true}',
)


# An answer: read the same in whatever pieces it comes, and never an error

KINDS = (b"text/event-stream", b"application/json")
CODINGS = (b"", b"gzip", b"deflate")


def answer(data: bytes) -> None:
    """The first byte chooses kind and coding, the second where the answer is cut."""
    if len(data) < 2:
        return
    kind, coding, rest = KINDS[data[0] % 2], CODINGS[data[0] // 2 % 3], data[2:]
    headers = [(b"content-type", kind), (b"content-encoding", coding)]
    whole, pieces = reader(headers), reader(headers)
    whole.feed(rest)
    for at in range(0, len(rest), data[1] + 1):
        pieces.feed(rest[at : at + data[1] + 1])
    assert whole.usage() == pieces.usage()


USAGE = b'{"usage":{"prompt_tokens":40,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8}},"model":"m"}'
ANSWERS = (
    b"\0\3data: " + USAGE + b"\n\ndata: [DONE]\n\n",
    b"\0\0event: x\r\ndata: {\r\ndata: }\r\r\n: comment\n\n",
    b"\1\7" + USAGE,
    b"\3\1\x1f\x8b\x08\0\0\0\0\0\0\x03",
)


# A configuration: settings, or `ConfigError`


def config(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        with suppress(ConfigError):
            load(file.name, {})


CONFIGS = (
    (Path(__file__).parent.parent / "laconic.example.toml").read_bytes(),
    b'[upstream.a]\nurl = "http://a/v1"\n[[route]]\nname = "x"\nupstream = "a"\npolicy = "balanced"\n',
    b'[policy.p]\nbase = "safe"\n[policy.p.context]\ncompressor = "lexical"\nrate = 0.5\n[limits]\nheaders = 3\n',
)


# Spans: their arithmetic against sets of characters


def spans(data: bytes) -> None:
    """The first byte is the length of a text, each further pair a span, signed."""
    if not data:
        return
    length = data[0] % 64
    text = "".join(chr(0x61 + n % 26) for n in range(length))
    numbers = [byte - 64 if byte >= 192 else byte % 70 for byte in data[1:]]
    given = list(zip(numbers[::2], numbers[1::2], strict=False))
    merged, clipped = merge(given), clip(given, length)
    assert _apart(merged)
    assert _apart(clipped)
    inside = _characters(clipped)
    assert inside == {n for n in _characters(given) if 0 <= n < length}
    rest = complement(clipped, length)
    assert _characters(rest) == set(range(length)) - inside
    assert join(text, clipped) == "".join(text[n] for n in sorted(inside))
    half = clip(given[::2], length)
    assert _characters(intersect(clipped, half)) == inside & _characters(half)
    assert _characters(within(clipped, length // 4, length // 2)) == inside & set(range(length // 4, length // 2))


def _characters(given: "list[Span] | tuple[Span, ...]") -> set[int]:
    return {n for start, end in given for n in range(start, end)}


def _apart(merged: tuple[Span, ...]) -> bool:
    edges = [edge for span in merged for edge in span]
    return edges == sorted(set(edges))


SPANS = (b"\x20\x01\x05\x04\x09", b"\x08\xff\x10\x03\x03\x05\x02", b"\x00\x00\x01")


# The bytes of a connection: what is passed on is what an honest reader reads, and well-formed

LIMITS = Limits(body_bytes=10_000, header_bytes=4_000, headers=40)
WHERE = upstream.base("http://upstream/v1")


class Wire:
    """A transport that goes nowhere."""

    closing = False

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> str | None:
        return {"peername": None}.get(name)


class Passing:
    """An app that does with a request what the gateway does, up to the bytes that would go upstream."""

    limits = LIMITS

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = Client(receive, LIMITS, InFlight())
        try:
            strict(scope)
            length = check(scope["headers"], scope["raw_path"], LIMITS)
            body = await client.start()
            body = await client.whole() if body is None else body
        except Refused as error:
            await respond(send, error.status, error.body(), [(b"connection", b"close")])
            return
        except ClientLeft:
            return
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        known = len(body) if body or length is not None else None
        call = upstream.Call(scope["method"], target, scope["headers"], body, known)
        headers = upstream.request_headers(call, WHERE, None)
        self.sent.append(head(scope["method"], upstream.target(WHERE, target), headers) + body)
        client.stop()
        await respond(send, 200, b"{}", [])


def connection(data: bytes) -> None:
    """The first byte says in pieces of which size the rest comes."""
    passed = passed_on(data)
    expected, _, _ = requests(data[1:])
    assert len(passed) <= len(expected), f"{len(passed)} requests where an honest reader sees {len(expected)}"
    for sent, asked in zip(passed, expected, strict=False):
        (got,), rest, _ = requests(sent)
        assert rest is End.CLEAN, "what is sent is not one request"
        _same(got, asked)


def passed_on(data: bytes) -> list[bytes]:
    """The requests that would go upstream."""
    passing = Passing()
    asyncio.run(_connection(passing, data[1:], data[0] + 1 if data else 1))
    return passing.sent


async def _connection(passing: Passing, data: bytes, size: int) -> None:
    config = uvicorn.Config(passing, http=Protocol, log_config=None, lifespan="off", ws="none", proxy_headers=False)
    config.load()
    protocol: Any = Protocol(config, ServerState(), {})
    line = Wire()
    protocol.connection_made(line)
    for at in range(0, len(data), size):
        if not line.closing:
            protocol.data_received(data[at : at + size])
    for _ in range(12):  # every step of an exchange, and of those that wait behind it
        await asyncio.sleep(0)
    protocol.connection_lost(None)


def _same(got: Message, asked: Message) -> None:
    assert (got.method, got.target, got.body) == (asked.method, asked.target, asked.body)
    assert len(got.values(b"host")) == 1
    assert len(got.values(b"authorization")) <= 1


CONNECTIONS = (
    b"\xffPOST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /v1/b?x#y HTTP/1.0\r\n\r\n",
    b"\x07POST http://e/v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx:\r\n\r\n",
    b"\xffPOST /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\n1PUT / HTTP/1.0\r\n\r\n",
)

TARGETS = {
    "splice": Target(splice, BODIES),
    "answer": Target(answer, ANSWERS),
    "config": Target(config, CONFIGS),
    "spans": Target(spans, SPANS),
    "connection": Target(connection, CONNECTIONS),
}
