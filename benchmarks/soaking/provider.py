"""The provider of a soak, a process of its own: it does what each request's `x-soak-act` says.

Every whole answer says what was received (checksum, length, outline of the messages) and carries a checksum of itself,
so that a caller can tell whether both directions came through. `completion_tokens` is the request's serial number: that
is how its record is found in the ledger. `GET /soak/state` tells how many connections are open and which serial
numbers came, to `collect`.
"""

import asyncio
import hashlib
import json
import random
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

import httptools
import uvloop

EVENTS = 12
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 60.0
TAIL = 40
BIG = 1_500_000


@dataclass
class Received:
    """One request as it came; `done` once it is whole."""

    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    done: bool = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.done = True


@dataclass
class State:
    """`seen`: serial numbers in the order in which requests were whole; one that is there twice was sent twice."""

    open: int = 0
    seen: list[int] = field(default_factory=list)


def outline(body: bytes) -> list[str]:
    """Roles in order, the first message, the end of the last; nothing where the body is no chat."""
    with suppress(ValueError, RecursionError, LookupError, TypeError):
        messages = json.loads(body)["messages"]
        first, last = ascii(messages[0]["content"]), ascii(messages[-1]["content"])
        return [",".join(m["role"] for m in messages), first if len(messages) > 1 else "", last[-TAIL:]]
    return []


def account(body: bytes, serial: int) -> dict[str, object]:
    """What an answer says of the request."""
    usage = {"prompt_tokens": 1000, "completion_tokens": serial, "total_tokens": 1000 + serial}
    checksum = hashlib.sha256(body).hexdigest()
    received = {"serial": serial, "sha256": checksum, "length": len(body), "outline": outline(body)}
    return {"object": "chat.completion", "model": "gpt-4o", "received": received, "usage": usage}


def sealed(document: dict[str, object], padding: int) -> bytes:
    """JSON that begins with the checksum of the rest of itself."""
    noise = random.Random(padding).randbytes(padding // 2).hex()
    rest = json.dumps({**document, "padding": noise})[1:].encode()
    return b'{"sum": "%b", %b' % (hashlib.sha256(rest).hexdigest().encode(), rest)


def events(document: dict[str, object]) -> list[bytes]:
    """A stream whose last event but `[DONE]` is the checksum of what stands before it."""
    delta = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "word "}}]}
    told = [f"data: {json.dumps(delta)}\n\n".encode()] * EVENTS
    told.append(f"data: {json.dumps({**document, 'choices': []})}\n\n".encode())
    total = hashlib.sha256(b"".join(told)).hexdigest()
    return [*told, f'data: {{"sum": "{total}"}}\n\n'.encode(), b"data: [DONE]\n\n"]


def head(status: int, *lines: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 %d Told" % status, b"x-request-id: soak", *lines, b"", b""))


def whole(status: int, body: bytes, *lines: bytes) -> bytes:
    return head(status, b"content-type: application/json", b"content-length: %d" % len(body), *lines) + body


class Server:
    def __init__(self) -> None:
        self.state = State()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.state.open += 1
        try:
            with suppress(ConnectionError, RuntimeError):  # uvloop's, for writing to a connection that has closed
                while (received := await receive(reader)) and await self.answer(received, reader, writer):
                    pass
        finally:
            self.state.open -= 1
            writer.close()

    async def answer(self, it: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        if it.target == b"/soak/state":
            told = {"open": self.state.open - 1, "seen": self.state.seen}
            writer.write(whole(200, json.dumps(told).encode()))
            return False
        serial = int(it.headers[b"x-soak"])
        self.state.seen.append(serial)
        document = account(b"".join(it.pieces), serial)
        act = it.headers.get(b"x-soak-act", b"ok").decode()
        if act in ("stream", "slow", "torn", "freeze"):
            return await stream(act, events(document), reader, writer)
        if act == "stall":
            await reader.read(1)
        if act in ("stall", "reset"):
            return reset(writer)
        status = {"fail": 500, "limited": 429}.get(act, 200)
        lines = (b"retry-after: 7",) if act == "limited" else ()
        writer.write(whole(status, sealed(document, BIG if act == "big" else 500 + serial % 3000), *lines))
        await writer.drain()
        return True


async def receive(reader: asyncio.StreamReader) -> Received | None:
    received = Received()
    parser = httptools.HttpRequestParser(received)
    while not received.done:
        data = await reader.read(2**16)
        if not data:
            return None
        parser.feed_data(data)
    return received


async def stream(act: str, told: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(head(200, b"content-type: text/event-stream", b"transfer-encoding: chunked"))
    for number, event in enumerate(told):
        if number == EVENTS // 2 and act == "torn":
            await writer.drain()
            await asyncio.sleep(PAUSE_SECONDS)
            return reset(writer)
        if number == EVENTS // 2 and act == "freeze":
            await reader.read(1)
            return reset(writer)
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(PAUSE_SECONDS if act == "slow" else 0)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def reset(writer: asyncio.StreamWriter) -> bool:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    return False


def collect(port: int) -> State:
    """The state of the provider on this port; waits a little for its connections to close."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /soak/state HTTP/1.1\r\nhost: soak\r\n\r\n")
            told = json.loads(b"".join(iter(lambda: sock.recv(2**16), b"")).partition(b"\r\n\r\n")[2])
        if told["open"] == 0 or time.monotonic() > until:
            return State(told["open"], told["seen"])
        time.sleep(0.5)


async def main(port: int) -> None:
    server = await asyncio.start_server(Server().serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
