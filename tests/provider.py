"""A provider on a local port that answers from a script, byte by byte, and remembers every request as it came.

Without a script it answers like an OpenAI-compatible server: see `canned`.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Header = tuple[bytes, bytes]


class Act(Enum):
    """What a script does besides sending bytes."""

    STALL = "wait until the other side closes"
    RESET = "close with a TCP reset"
    CLOSE = "close in an orderly way"


Step = bytes | float | threading.Event | Act
"""Bytes are sent, a number is a pause in seconds, an event is waited for."""
Script = tuple[Step, ...]


@dataclass(frozen=True)
class Request:
    """A request as it came over the wire; header names in the client's spelling."""

    method: str
    target: str
    headers: list[Header]
    body: bytes

    def header(self, name: str) -> list[bytes]:
        """All values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower().encode()]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Provider:
    """`requests` in the order in which they were complete, `connections` accepted so far, `gone`: set when the other
    side has closed while a script was still going on."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    scripts: deque[Script] = field(default_factory=deque)
    answer: Callable[[Request], Script] = field(default_factory=lambda: canned)  # to requests without a script
    read_bodies: bool = True  # else each request ends with its headers, and its body is left in the socket

    def script(self, *steps: Step) -> None:
        """What to do for the next request that has no script yet."""
        self.scripts.append(steps)

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def wait_for(self, open: int) -> None:
        """Until so many connections are open; fails after five seconds."""
        deadline = time.monotonic() + 5
        while self.open != open:
            assert time.monotonic() < deadline, f"{self.open} connections are open, not {open}"
            time.sleep(0.005)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while request := await self._receive(reader):
                self.requests.append(request)
                self.arrived.set()
                script = self.scripts.popleft() if self.scripts else self.answer(request)
                if await self._play(script, reader, writer):
                    break
        self.open -= 1
        writer.close()

    async def _receive(self, reader: asyncio.StreamReader) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        start, *lines = head[:-4].split(b"\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        method, target, _ = start.decode().split(" ")
        framing = {name.lower(): value for name, value in headers}
        body = b""
        if not self.read_bodies:
            pass
        elif framing.get(b"transfer-encoding") == b"chunked":
            while size := int((await reader.readuntil(b"\n")).strip(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.readexactly(int(framing.get(b"content-length", b"0")))
        return Request(method, target, headers, body)

    async def _play(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is over."""
        watch = asyncio.ensure_future(self._watch(reader))
        try:
            for step in script:
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                elif isinstance(step, float | int):
                    await asyncio.wait({watch}, timeout=step)
                elif isinstance(step, threading.Event):
                    while not step.is_set() and not watch.done():  # noqa: ASYNC110  # set by another thread
                        await asyncio.sleep(0.005)
                elif step is Act.STALL:
                    await watch
                else:
                    if step is Act.RESET:
                        _linger_none(writer)
                    writer.close()
                    return True
                if watch.done():
                    return True
        finally:
            watch.cancel()
        return False

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        """Ends when the other side closes: it says nothing while it waits for its answer."""
        while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110  # reading would eat a byte
            await asyncio.sleep(0.005)
        self.gone.set()


def _linger_none(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def provider(ssl: Any = None) -> Iterator[Provider]:
    """Runs one in a thread while the block lasts."""
    it = Provider()
    with in_thread(asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=ssl)) as server:
        it.url = f"http{'s' if ssl else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield it


@contextmanager
def in_thread(start: Coroutine[Any, Any, asyncio.Server]) -> Iterator[asyncio.Server]:
    """Runs a server on a loop of its own while the block lasts."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(start)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


# Answers


def whole(body: bytes, *headers: Header, status: int = 200) -> bytes:
    """An answer with a content length; JSON unless a header says otherwise."""
    if not any(name.lower() == b"content-type" for name, _ in headers):
        headers = ((b"content-type", b"application/json"), *headers)
    return head(status, (b"content-length", b"%d" % len(body)), *headers) + body


def head(status: int, *headers: Header) -> bytes:
    return b"HTTP/1.1 %d Told\r\n%b\r\n" % (status, b"".join(b"%b: %b\r\n" % header for header in headers))


def stream_head(*headers: Header) -> bytes:
    """The head of a chunked stream of server-sent events."""
    kind = (b"content-type", b"text/event-stream; charset=utf-8")
    return head(200, kind, CHUNKED, *headers)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


END = b"0\r\n\r\n"
CHUNKED = (b"transfer-encoding", b"chunked")
LENGTH_5 = (b"content-length", b"5")


def event(data: object) -> bytes:
    """One server-sent event, as a chunk."""
    return chunk(b"data: " + json.dumps(data).encode() + b"\n\n")


DONE = chunk(b"data: [DONE]\n\n")
USAGE = {"prompt_tokens": 40, "completion_tokens": 3, "total_tokens": 43, "prompt_tokens_details": {"cached_tokens": 8}}


def delta(content: str | None = None, **more: object) -> dict[str, Any]:
    """A chunk of a chat completion."""
    choice = {"index": 0, "delta": {"content": content} if content is not None else more, "finish_reason": None}
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    return {**base, "choices": [choice]}


def completion(**message: object) -> dict[str, Any]:
    """A whole chat completion with this message."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    base = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    return {**base, "choices": [choice], "usage": USAGE}


def canned(request: Request) -> Script:
    """What an OpenAI-compatible server would say, in short: `hello there`, a call of every tool that is offered, an
    object that fits nothing but is JSON, a vector, one model, one file, one transcript."""
    path = request.target.partition("?")[0]
    if path.endswith("/chat/completions"):
        return _chat(request.json())
    answers: dict[str, object] = {
        "/models": {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "us"}]},
        "/embeddings": {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
        },
        "/files": {
            "id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.jsonl",
            "purpose": "batch", "status": "processed",
        },
        "/transcriptions": {"text": "hello there"},
        "/responses": {
            "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4o", "status": "completed",
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "output": [
                {
                    "id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": "hello there", "annotations": []}],
                }
            ],
        },
    }  # fmt: skip
    for ending, answer in answers.items():
        if path.endswith(ending):
            return (whole(json.dumps(answer).encode()),)
    if path.endswith("/speech"):
        return (whole(b"ID3\x00\xff\xfe", (b"content-type", b"audio/mpeg")),)
    return (whole(b'{"path": "%b"}' % path.encode()),)


def _chat(body: dict[str, Any]) -> Script:
    calls = [
        {
            "index": i,
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": t["function"]["name"], "arguments": "{}"},
        }
        for i, t in enumerate(body.get("tools", []))
    ]
    if body.get("stream"):
        parts = [delta(role="assistant", tool_calls=calls)] if calls else [delta("hello "), delta("there")]
        parts[-1]["choices"][0]["finish_reason"] = "tool_calls" if calls else "stop"
        if body.get("stream_options", {}).get("include_usage"):
            parts.append({**delta(), "choices": [], "usage": USAGE})
        return (stream_head() + b"".join(map(event, parts)) + DONE + END,)
    if calls:
        return (whole(json.dumps(completion(content=None, tool_calls=calls)).encode()),)
    content = '{"city": "Paris"}' if body.get("response_format") else "hello there"
    return (whole(json.dumps(completion(content=content)).encode()),)
