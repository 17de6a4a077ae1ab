"""Reads what the upstream billed, from a stream or from a whole answer, without touching or delaying a byte.

A reader is fed a copy of the bytes in whatever pieces they come. Its memory is bounded; where the bounds, the coding
or the shape are not what it knows, the usage stays unknown (None), never 0. The decoder of server-sent events follows
the HTML standard: lines end in LF, CR or CRLF, an empty line ends an event, the data lines of one event are joined.
"""

import zlib
from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec

from proxy.asgi import Header
from proxy.headers import content_coding, is_event_stream, is_json
from proxy.savings import Usage

BOUND = 1024 * 1024
"""Bytes of one answer, one event, or of what one piece may unpack to."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # more would fit into no sum


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None


class _Usage(msgspec.Struct):
    """OpenAI's names, and those that compatible servers put in their place."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None

    def value(self, model: str) -> Usage:
        details = self.prompt_tokens_details or _Details()
        cached = _first(details.cached_tokens, self.prompt_cache_hit_tokens, self.cache_read_input_tokens)
        write = _first(details.cache_write_tokens, details.cache_creation_tokens, self.cache_creation_input_tokens)
        return Usage(self.prompt_tokens, self.completion_tokens, cached, write, model)


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    model: object = None  # of any shape: an odd name is no reason to lose the counts


_decode = msgspec.json.Decoder(_Answer).decode


class Reader(Protocol):
    """Fed a copy of every piece of an answer; then asked once."""

    def feed(self, data: bytes) -> None: ...

    def usage(self) -> Usage | None: ...


class EventReader:
    """For `text/event-stream`: the last usage that an event carries."""

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._line: list[bytes] = []  # pieces of a line that has not ended
        self._size = 0  # of those pieces and of the event's data
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> None:
        if b"\n" not in data and b"\r" not in data:
            self._keep(data)
            return
        lines = b"".join((*self._line, data)).splitlines(keepends=True)
        self._line.clear()
        # a CR at the very end may be half of a CRLF
        rest = lines.pop() if not lines[-1].endswith(b"\n") else b""
        for line in lines:
            self._end_line(line.rstrip(b"\r\n"))
        self._size = sum(map(len, self._data))
        self._keep(rest)

    def usage(self) -> Usage | None:
        self._end_line(b"".join(self._line).rstrip(b"\r"))
        self._end_event()
        return self._usage

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > BOUND:  # too long to be a usage; what remains of it is not JSON and will be passed over
            self._line.clear()
            self._data.clear()
            self._size = 0
        elif piece:
            self._line.append(piece)

    def _end_line(self, line: bytes) -> None:
        if not line:
            self._end_event()
        elif line.startswith(b"data:"):
            self._data.append(line[5:])

    def _end_event(self) -> None:
        data = b"\n".join(self._data)
        self._data.clear()
        if b'"usage"' in data:
            self._usage = _read(data) or self._usage


class AnswerReader:
    """For an answer in one JSON document."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > BOUND:
            self._pieces.clear()
        else:
            self._pieces.append(data)

    def usage(self) -> Usage | None:
        return _read(b"".join(self._pieces))


class Unpacked:
    """Unpacks gzip or deflate for another reader, until a piece swells beyond the bound."""

    def __init__(self, inner: Reader) -> None:
        self._inner = inner
        self._unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # by its header, gzip or zlib
        self._lost = False

    def feed(self, data: bytes) -> None:
        if self._lost:
            return
        try:
            self._inner.feed(self._unpack.decompress(data, BOUND))
        except zlib.error:
            self._lost = True
        else:
            self._lost = bool(self._unpack.unconsumed_tail)

    def usage(self) -> Usage | None:
        return None if self._lost else self._inner.usage()


class Blind:
    """For what cannot be read."""

    def feed(self, data: bytes) -> None: ...

    def usage(self) -> Usage | None:
        return None


def reader(headers: Sequence[Header]) -> Reader:
    """The reader for an answer with these headers."""
    inner: Reader
    if is_event_stream(headers):
        inner = EventReader()
    elif is_json(headers):
        inner = AnswerReader()
    else:
        return Blind()
    coding = content_coding(headers)
    if not coding:
        return inner
    return Unpacked(inner) if coding in (b"gzip", b"x-gzip", b"deflate") else Blind()


def _read(data: bytes) -> Usage | None:
    try:
        answer = _decode(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, nested too deep
        return None
    model = answer.model if isinstance(answer.model, str) else ""
    return answer.usage.value(model) if answer.usage is not None else None


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
