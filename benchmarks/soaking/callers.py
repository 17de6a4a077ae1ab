"""A caller of the soak: sends requests of any kind over raw sockets and judges each answer."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import httptools

from soaking import config
from soaking.kinds import Kind, Pace
from soaking.provider import outline

PATIENCE_SECONDS = 30.0
"""More than any limit of the soak's configuration: who waits longer hangs."""
PIECE = 2**14
WORDS_SEAL = b'{"sum": "'
STREAM_SEAL = b'data: {"sum": "'


@dataclass
class Answer:
    """What came back; `whole` where it came to its end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    whole: bool = False
    hung: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.whole = True

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange, judged. `wrong` is empty where all was right; `routed`: the answer names a route."""

    kind: str
    serial: int
    status: int
    outcome: str
    policy: str
    wrong: str = ""
    routed: bool = False
    billed: bool = False


class Caller:
    """One caller, which keeps its connection as long as it can."""

    def __init__(self, port: int, chance: Random) -> None:
        self._port = port
        self._chance = chance
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, kind: Kind, serial: int) -> Seen:
        body = kind.body(self._chance)
        answer = Answer()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._exchange(kind, request(kind, serial, len(body)), body, answer)
        except TimeoutError:
            answer.hung = True
        except OSError as error:
            if not answer.status and not kind.pace.leaves:
                await self.close()
                wrong = "" if 0 in kind.statuses else f"no answer: {type(error).__name__}"
                return Seen(kind.name, serial, 0, "", "", wrong)
        if kind.pace.leaves or not answer.whole or answer.headers.get("connection") == "close":
            await self.close()
        told = answer.headers
        return Seen(
            kind.name,
            serial,
            answer.status,
            told.get("x-laconic-outcome", ""),
            told.get("x-laconic-policy", ""),
            "" if kind.pace.leaves else fault(kind, body, serial, answer),
            "x-laconic-route" in told,
            kind.billed and answer.whole and answer.status == 200,
        )

    async def close(self) -> None:
        if self._writer is not None:
            if self._chance.random() < 0.3:
                self._writer.transport.abort()
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self._writer = None

    async def _exchange(self, kind: Kind, head: bytes, body: bytes, answer: Answer) -> None:
        if self._writer is None or self._writer.is_closing() or (self._reader is not None and self._reader.at_eof()):
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE)
        assert self._reader is not None
        sending = asyncio.ensure_future(self._send(kind, head, body, self._writer))
        try:
            if kind.pace in (Pace.LEAVES_HEAD, Pace.LEAVES_BODY):
                await sending
            elif kind.pace is Pace.LEAVES_WAITING:
                await sending
                await asyncio.sleep(self._chance.random() * 0.3)
            else:
                await self._read(kind, self._reader, answer)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await sending

    async def _send(self, kind: Kind, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind.pace is Pace.LEAVES_HEAD:
            writer.write(head[: self._chance.randrange(1, len(head))])
            return
        if kind.pace in (Pace.LEAVES_BODY, Pace.STOPS):
            body = body[: self._chance.randrange(0, len(body))]
        writer.write(head)
        step = max(len(body) // 8, 1) if kind.pace is Pace.WRITES_SLOWLY else PIECE * 4
        for piece in _pieces(body, step):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if kind.chunked else piece)
            await writer.drain()
            if kind.pace is Pace.WRITES_SLOWLY:
                await asyncio.sleep(0.1)
        if kind.chunked and kind.pace is not Pace.LEAVES_BODY:
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _read(self, kind: Kind, reader: asyncio.StreamReader, answer: Answer) -> None:
        parser = httptools.HttpResponseParser(answer)
        while not answer.whole:
            data = await reader.read(PIECE)
            if not data:
                return
            parser.feed_data(data)
            answer.status = parser.get_status_code() or answer.status
            if kind.pace is Pace.LEAVES_ANSWER and self._chance.random() < 0.5:
                return
            if kind.pace is Pace.READS_SLOWLY:
                await asyncio.sleep(0.01)


def _pieces(body: bytes, step: int) -> Iterator[bytes]:
    for start in range(0, len(body), step):
        yield body[start : start + step]


def request(kind: Kind, serial: int, length: int) -> bytes:
    """The head of a request."""
    lines = [
        b"%b /%b%b HTTP/1.1" % (kind.method.encode(), config.path(kind.name).encode(), kind.path.encode()),
        b"host: soak",
        b"x-soak: %d" % serial,
        b"x-soak-act: %b" % kind.act.encode(),
        *(b"%b: %b" % header for header in kind.headers),
    ]
    if kind.chunked:
        lines.append(b"transfer-encoding: chunked")
    elif kind.method == "POST" and not any(name == b"content-length" for name, _ in kind.headers):
        lines.append(b"content-length: %d" % length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def fault(kind: Kind, body: bytes, serial: int, answer: Answer) -> str:
    """What is wrong with an answer, in words; empty where nothing is."""
    if answer.hung:
        return f"no end within {PATIENCE_SECONDS:g} s"
    if not answer.status and 0 not in kind.statuses:
        return "closed without an answer"
    if answer.status not in kind.statuses:
        return f"status {answer.status}"
    if kind.cut:
        return "a broken stream looks whole" if answer.whole or b"[DONE]" in answer.body else ""
    if answer.status and not answer.whole:
        return "the answer broke off"
    if kind.act == "limited" and answer.headers.get("retry-after") != "7":
        return "retry-after is lost"
    if not answer.status:
        return ""
    if answer.status in (400, 408, 413, 502, 504):
        return "" if b'"laconic_error"' in answer.body else "the error is not of our shape"
    document = opened(answer.body)
    if document is None:
        return "the answer's checksum does not hold"
    received = document["received"]
    if received["serial"] != serial:
        return "the answer to another request"
    return altered(body, received, answer.headers.get("x-laconic-outcome", ""))


def opened(body: bytes) -> dict[str, dict[str, object]] | None:
    """The provider's account, where its checksum holds."""
    if body.startswith(WORDS_SEAL):
        start = len(WORDS_SEAL) + 64
        seal, rest = body[len(WORDS_SEAL) : start], body[start + 3 :]
        found: dict[str, dict[str, object]] = json.loads(b"{" + rest)
        return found if hashlib.sha256(rest).hexdigest().encode() == seal else None
    events, _, last = body.partition(STREAM_SEAL)
    if last[:64] != hashlib.sha256(events).hexdigest().encode() or not last.endswith(b"data: [DONE]\n\n"):
        return None
    account: dict[str, dict[str, object]] = json.loads(events.rstrip().rpartition(b"data: ")[2])
    return account


def altered(body: bytes, received: dict[str, object], outcome: str) -> str:
    """What a request lost on its way, beyond what its outcome allows."""
    if outcome != "compressed":
        whole = received["sha256"] == hashlib.sha256(body).hexdigest()
        return "" if whole else f"the body was altered though it is {outcome or 'passed'}"
    if not isinstance(size := received["length"], int) or size >= len(body):
        return "the compressed body is not smaller"
    return "" if received["outline"] == outline(body) else "roles, instruction or question were altered"
