"""Bytes <-> text fields of a chat request, and back without disturbing anything else.

Theory of operation. The body is decoded once (UTF-8 is lossless both ways) and walked once. The walk goes down into the
four places that matter: the body, `messages`, a message, a content part. Every other value is stepped over by the
standard library's C scanner, which tells where the value ends. A text becomes a `Field` with the span of its JSON
literal; `splice` puts new literals into those spans and every other character stays where it was: number literals, key
order, duplicate keys, escapes, unknown fields, white space.

What is not certain to mean the same to us and to the provider (a key that we read stands twice, content of an unknown
type, bytes that are not UTF-8) raises `UnknownShape`: such a body goes upstream as it came.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy.json_walk import UnknownShape as UnknownShape
from proxy.json_walk import Walk, literal

MAX_MESSAGES = 20_000
_PROSE: Mapping[str, tuple[object, ...]] = {
    "response_format": (None, {"type": "text"}),
    "logprobs": (None, False),
    "web_search_options": (None,),
    "modalities": (None, ["text"]),
}
_TEXT_PARTS = {"text": "text", "input_text": "text", "refusal": "refusal"}


_Text = tuple[int | None, str, int, int, str]  # part, text, start, end, key: a Field before its role is known


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a message. `start`, `end`: its JSON literal, quotes included, in `ChatRequest.source`."""

    message: int
    part: int | None
    role: str
    text: str
    start: int
    end: int
    key: str = "content"  # "content", "text" or "refusal": where in the message the text stood


@dataclass(frozen=True, slots=True)
class Message:
    """What the rules need to know of a message besides its texts. `fields` are indexes into `ChatRequest.fields`."""

    role: str
    fields: tuple[int, ...]
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[str, ...] = ()  # names of the functions called
    has_media: bool = False  # an image, audio or file part


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completions body. `source` is the body decoded as UTF-8; `tools`: names of the tools offered; `prose`:
    nothing in it asks for answers whose text must not be touched (a schema, probabilities of tokens, citations).
    `marked`: how many messages stand up to the last one with a `cache_control` mark, on it or in it; `cache_key`: the
    `prompt_cache_key`."""

    source: str
    model: str
    stream: bool
    messages: tuple[Message, ...]
    fields: tuple[Field, ...]
    tools: tuple[str, ...] = ()
    prose: bool = True
    marked: int = 0
    cache_key: str = ""


class Peek(msgspec.Struct):
    """The two things that are read of every chat body, whatever its policy."""

    model: str = ""
    stream: bool | None = False


def peek(body: bytes) -> Peek:
    """Model and stream flag without walking the messages; empty where the body cannot be read."""
    try:
        return msgspec.json.decode(body, type=Peek)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Peek()


def parse(body: bytes) -> ChatRequest:
    """Reads a body. Raises `UnknownShape` for anything but a chat request that is understood to the last bracket."""
    try:
        return _Walk(body.decode()).request()
    except UnicodeDecodeError:
        raise UnknownShape("the body is not UTF-8") from None
    except json.JSONDecodeError:
        raise UnknownShape("the body is not JSON") from None
    except RecursionError:
        raise UnknownShape("the body is nested too deep") from None


def splice(request: ChatRequest, texts: Mapping[int, str]) -> bytes:
    """The body with the texts of some fields (by index) replaced. Without replacements: the bytes that came."""
    pieces: list[str] = []
    at = 0
    for index in sorted(texts):
        field = request.fields[index]
        pieces += request.source[at : field.start], literal(texts[index], request.source[field.start : field.end])
        at = field.end
    return "".join([*pieces, request.source[at:]]).encode()


class _Walk(Walk):
    """One pass over one body."""

    once = frozenset(("messages", "model", "stream", "tools", "role", "content", "type", "text", "refusal"))

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._fields: list[Field] = []
        self._marked = 0

    def request(self) -> ChatRequest:
        body: dict[str, Any] = {}
        prose = True
        messages: tuple[Message, ...] | None = None
        for key, at in self._members(self._space(0)):
            if key == "messages":
                messages = tuple(self._message(n, start) for n, start in enumerate(self._elements(at)))
            else:
                body[key] = self._value(at)
                prose = prose and body[key] in _PROSE.get(key, (body[key],))
        if self._space(self._end) != len(self._source):
            raise UnknownShape("something follows the body")
        if messages is None:
            raise UnknownShape("there are no messages")
        model = body.get("model")
        return ChatRequest(
            source=self._source,
            model=model if isinstance(model, str) else "",
            stream=body.get("stream") is True,
            messages=messages,
            fields=tuple(self._fields),
            tools=_function_names(body.get("tools")) or _function_names(body.get("functions")),
            prose=prose,
            marked=self._marked,
            cache_key=_text(body.get("prompt_cache_key")) or "",
        )

    def _message(self, index: int, at: int) -> Message:
        if index == MAX_MESSAGES:
            raise UnknownShape(f"there are more than {MAX_MESSAGES} messages")
        values: dict[str, Any] = {}
        texts: list[_Text | None] = []
        for key, start in self._members(at):
            if key == "content":
                texts = self._content(start, index)
            else:
                values[key] = self._value(start)
        role = values.get("role")
        if not isinstance(role, str):
            raise UnknownShape(f"message {index} has no role")
        if values.get("cache_control") is not None:
            self._marked = index + 1
        first = len(self._fields)
        self._fields += [Field(index, t[0], role, *t[1:]) for t in texts if t]
        return Message(
            role=role,
            fields=tuple(range(first, len(self._fields))),
            name=_text(values.get("name")),
            tool_call_id=_text(values.get("tool_call_id")),
            tool_calls=_function_names(values.get("tool_calls")),
            has_media=None in texts,
        )

    def _content(self, at: int, message: int) -> list[_Text | None]:
        """The texts of one message's content; None for a part that is no text."""
        if self._source[at : at + 1] == "[":
            return [self._part(part, start, message) for part, start in enumerate(self._elements(at))]
        text = self._value(at)
        if isinstance(text, str):
            return [(None, text, at, self._end, "content")]
        if text is None:
            return []
        raise UnknownShape("the content of a message is neither text, parts nor null")

    def _part(self, part: int, at: int, message: int) -> _Text | None:
        kind: object = None
        texts: dict[str, _Text] = {}
        for key, start in self._members(at):
            value = self._value(start)
            if key == "type":
                kind = value
            elif key == "cache_control" and value is not None:
                self._marked = message + 1
            elif isinstance(value, str):
                texts[key] = (part, value, start, self._end, key)
        if not isinstance(kind, str) or kind not in _TEXT_PARTS:
            return None
        if _TEXT_PARTS[kind] not in texts:
            raise UnknownShape(f"a part of type {kind!r} has no text")
        return texts[_TEXT_PARTS[kind]]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _function_names(calls: object) -> tuple[str, ...]:
    """Names in `tools`, `functions` or `tool_calls`, whatever else may be wrong with them."""
    if not isinstance(calls, list):
        return ()
    found = [c.get("function", c) for c in calls if isinstance(c, dict)]
    return tuple(f["name"] for f in found if isinstance(f, dict) and isinstance(f.get("name"), str))
