"""A load client on raw sockets: it sends the same requests again and again and takes the time of every answer."""

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast

import uvloop
from soaking.bodies import ENDINGS, OBJECTS, SUBJECTS, VERBS

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
COMPRESSION = re.compile(rb"x-laconic-ms: *([\d.]+)")
SHORTENED = b"x-laconic-outcome: compressed"
STAMP = re.compile(rb'"at":(\d+)')
WARM_UP_SECONDS = 0.3
PATIENCE_SECONDS = 60.0
VARIANTS = 32


@dataclass(frozen=True)
class Pace:
    """`pause_seconds` between an answer and the next request on the same connection."""

    concurrency: int
    seconds: float
    pause_seconds: float = 0.0


@dataclass
class Times:
    """Milliseconds. `latency` from the request's last byte written to the answer's last read; `compression` what the
    answers said of themselves; `first` to the first event of a stream; `events` from sending an event to reading it."""

    latency: list[float] = field(default_factory=list)
    compression: list[float] = field(default_factory=list)
    shortened: int = 0  # answers to requests that were
    first: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Caller(asyncio.Protocol):
    """One connection that is never idle before `until`; what began before `since` is not counted."""

    def __init__(self, requests: Iterator[bytes], pace: Pace, times: Times) -> None:
        self.requests = requests
        self.since = time.perf_counter() + WARM_UP_SECONDS
        self.until = self.since + pace.seconds
        self.pause = pace.pause_seconds
        self.times = times
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is none
        self.call()

    def call(self) -> None:
        self.data = b""
        self.end = 0
        self.began = time.perf_counter_ns()
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        self.data = self.data + data if self.data else data
        if not self.end and not self.read_head():
            return
        if self.end < 0:
            self.read_events(data, now)
            if not self.data.endswith(b"0\r\n\r\n"):
                return
        elif len(self.data) < self.end:
            return
        if self.began / 1e9 >= self.since:
            self.times.latency.append((now - self.began) / 1e6)
        if now / 1e9 < self.until:
            if self.pause:
                asyncio.get_running_loop().call_later(self.pause, self.call)
            else:
                self.call()
        elif not self.done.done():
            self.done.set_result(None)

    def read_head(self) -> bool:
        at = self.data.find(b"\r\n\r\n")
        if at < 0:
            return False
        head = self.data[:at]
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(head.decode("latin-1")))
            return False
        length = LENGTH.search(head)
        self.end = at + 4 + int(length[1]) if length else -1
        if (told := COMPRESSION.search(head)) and self.began / 1e9 >= self.since:
            self.times.compression.append(float(told[1]))
            self.times.shortened += SHORTENED in head
        return True

    def read_events(self, data: bytes, now: int) -> None:
        stamps = STAMP.findall(data)
        if stamps and self.data.count(b'"at":') == len(stamps):
            self.times.first.append((now - self.began) / 1e6)
        self.times.events += [(now - int(stamp)) / 1e6 for stamp in stamps]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the connection was closed"))


def bodies(kilobytes: int, stream: bool) -> list[bytes]:
    """Chat requests of about that size, each with passages of its own."""
    return [_body(kilobytes, stream, random.Random(seed)) for seed in range(VARIANTS)]


def _body(kilobytes: int, stream: bool, chance: random.Random) -> bytes:
    passages: list[str] = []
    while sum(map(len, passages)) < kilobytes * 1024 - 900:
        sentences = [
            f"{chance.choice(SUBJECTS)} {chance.choice(VERBS)} {chance.choice(OBJECTS)} on day "
            f"{chance.randrange(1, 365)} {chance.choice(ENDINGS)}."
            for _ in range(8)
        ]
        passages.append(f"[{len(passages) + 1}] " + " ".join(sentences))
    question = f"Who {chance.choice(VERBS)} {chance.choice(OBJECTS)}, and on which day?"
    content = "Context:\n\n" + "\n\n".join(passages) + f"\n\nQuestion: {question}"
    messages = [
        {"role": "system", "content": "Answer from the context only. Name the passage that you used."},
        {"role": "user", "content": content},
    ]
    document = {"model": "gpt-4o", "messages": messages, "temperature": 0, "stream": stream}
    return json.dumps(document, separators=(",", ":")).encode()


def request(host: str, body: bytes) -> bytes:
    """A chat request as an OpenAI client would send it."""
    lines = (
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: " + host.encode(),
        b"accept-encoding: gzip, deflate",
        b"connection: keep-alive",
        b"accept: application/json",
        b"content-type: application/json",
        b"user-agent: OpenAI/Python 3.0.0",
        b"x-stainless-lang: python",
        b"x-stainless-package-version: 3.0.0",
        b"x-stainless-os: Linux",
        b"x-stainless-arch: x64",
        b"x-stainless-runtime: CPython",
        b"x-stainless-async: false",
        b"authorization: Bearer sk-not-a-key",
        b"content-length: %d" % len(body),
    )
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def run(port: int, bodies: Sequence[bytes], pace: Pace) -> Times:
    """Loads one port for a while with these bodies in turn, after a short warm-up. Raises unless answers are 200."""
    requests = [request(f"127.0.0.1:{port}", body) for body in bodies]
    return uvloop.run(_run(port, cycle(requests), pace))


async def _run(port: int, requests: Iterator[bytes], pace: Pace) -> Times:
    loop = asyncio.get_running_loop()
    times = Times(seconds=pace.seconds)
    callers = [Caller(requests, pace, times) for _ in range(pace.concurrency)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(pace.seconds + PATIENCE_SECONDS):
        await asyncio.gather(*(caller.done for caller in callers))
    for caller in callers:
        caller.transport.close()
    return times
