"""What an answer says, read out of a chat completion or out of its stream of events. Pure; nothing of it is kept."""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy import sse
from proxy.asgi import Header
from proxy.headers import content_coding, is_event_stream
from proxy.savings import Usage

PACKED = frozenset((b"gzip", b"x-gzip", b"deflate"))
"""Codings that can be read."""
BOUND = sse.BOUND
"""Bytes of an answer, packed or not; larger ones are not looked at."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The first choice of an answer. `calls`: name and arguments of each tool called; `refused`: the model would not,
    or was not let; `usage`: what the answer says was billed."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    refused: bool = False
    usage: Usage | None = None

    @property
    def empty(self) -> bool:
        return self.refused or not (self.text.strip() or self.calls)


def read_answer(headers: Sequence[Header], body: bytes) -> Answer | None:
    """None where it is no chat completion, not complete, packed in an unknown way or too large."""
    plain = _unpacked(content_coding(headers), body)
    if plain is None:
        return None
    try:
        if is_event_stream(headers):
            choices = _events(plain.decode())
        else:
            choice = _first(json.loads(plain))
            choices = [] if choice is None else [(choice.get("message"), choice.get("finish_reason"))]
    except (ValueError, RecursionError):
        return None
    if not choices:
        return None
    reader = sse.reader([h for h in headers if h[0] != b"content-encoding"])
    reader.feed(plain)
    return _joined(choices, reader.usage())


def _unpacked(coding: bytes, body: bytes) -> bytes | None:
    if not coding:
        return body if len(body) <= BOUND else None
    if coding not in PACKED:
        return None
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = unpack.decompress(body, BOUND)
    except zlib.error:
        return None
    return plain if unpack.eof and not unpack.unconsumed_tail else None


_Part = tuple[object, object]  # a message or delta, and why it ended


def _events(text: str) -> list[_Part]:
    """Raises `ValueError` where an event is not JSON or the stream did not come to its end."""
    found: list[_Part] = []
    for line in _data(text):
        if line == "[DONE]":
            break
        data = json.loads(line)
        if isinstance(data, dict) and "error" in data:
            raise ValueError("an error in the stream")
        if choice := _first(data):
            found.append((choice.get("delta"), choice.get("finish_reason")))
    if not any(ended for _, ended in found):
        raise ValueError("the stream did not end")
    return found


def _data(text: str) -> Iterator[str]:
    """The data of each event (HTML standard: LF, CR and CRLF end a line, several data lines are joined)."""
    lines: list[str] = []
    for line in (*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""):
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []


def _first(data: object) -> dict[str, Any] | None:
    """The choice with index 0, if there is one."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list):
        return None
    return next((c for c in choices if isinstance(c, dict) and c.get("index", 0) == 0), None)


def _joined(parts: Iterable[_Part], usage: Usage | None) -> Answer:
    text: list[str] = []
    calls: dict[object, _Call] = {}  # by place, the newest there
    all_calls: list[_Call] = []
    refused = False
    for message, ended in parts:
        if isinstance(message, dict):
            text.append(_text(message.get("content")))
            for place, identity, function in _functions(message):
                other = identity and function.get("name") and calls.get(place, _Call()).identity not in ("", identity)
                if place not in calls or other:
                    calls[place] = _Call()
                    all_calls.append(calls[place])
                calls[place].add(identity, function)
            refused = refused or bool(message.get("refusal"))
        refused = refused or ended == "content_filter"
    return Answer("".join(text), tuple((call.name, "".join(call.arguments)) for call in all_calls), refused, usage)


@dataclass(slots=True)
class _Call:
    """One call as its parts come. Some servers give two calls one place, and tell them apart by their ids; some repeat
    the name, or send another id, with every part: only a name and another id together begin another call."""

    identity: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, identity: str, function: dict[str, Any]) -> None:
        self.identity = self.identity or identity
        name = _string(function.get("name"))
        self.name += name if name != self.name else ""
        self.arguments.append(_string(function.get("arguments")))


def _functions(message: dict[str, Any]) -> Iterator[tuple[object, str, dict[str, Any]]]:
    """The functions called, each with its place and its id: parts of one call have the same place, and the id only the
    first of them, as a rule."""
    calls = message.get("tool_calls")
    for n, call in enumerate(calls if isinstance(calls, list) else []):
        function = (call.get("function") or call.get("custom")) if isinstance(call, dict) else None
        if isinstance(function, dict):
            said = function.get("arguments", function.get("input"))
            yield str(call.get("index", n)), _string(call.get("id")), {**function, "arguments": said}
    if isinstance(message.get("function_call"), dict):
        yield "function_call", "", message["function_call"]


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(_string(part.get("text")) for part in content if isinstance(part, dict))
    return _string(content)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
