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
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in typeshed
from typing import Any

import msgspec

MAX_MESSAGES = 20_000
_SPACE = re.compile(r"[ \t\n\r]*")
_TEXT_PARTS = {"text": "text", "input_text": "text", "refusal": "refusal"}
_READ_ONCE = {"messages", "model", "stream", "tools", "role", "content", "type", "text", "refusal"}


_Text = tuple[int | None, str, int, int, str]  # part, text, start, end, key: a Field before its role is known


class UnknownShape(ValueError):
    """The body is not a chat request that we know how to read; the message says why."""


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
    """A chat completions body. `source` is the body decoded as UTF-8; `tools`: names of the tools offered."""

    source: str
    model: str
    stream: bool
    messages: tuple[Message, ...]
    fields: tuple[Field, ...]
    tools: tuple[str, ...] = ()


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
    except (json.JSONDecodeError, StopIteration):
        raise UnknownShape("the body is not JSON") from None
    except RecursionError:
        raise UnknownShape("the body is nested too deep") from None


def splice(request: ChatRequest, texts: Mapping[int, str]) -> bytes:
    """The body with the texts of some fields (by index) replaced. Without replacements: the bytes that came."""
    pieces: list[str] = []
    at = 0
    for index in sorted(texts):
        field = request.fields[index]
        pieces += request.source[at : field.start], _literal(texts[index], request.source[field.start : field.end])
        at = field.end
    return "".join([*pieces, request.source[at:]]).encode()


def _literal(text: str, before: str) -> str:
    """JSON for `text`, escaped the way the literal that it replaces was. Lone surrogates only exist as escapes."""
    literal = json.dumps(text, ensure_ascii=before.isascii())
    return literal if before.isascii() or not any("\ud800" <= c <= "\udfff" for c in text) else json.dumps(text)


def _unread(_: str) -> int:
    return 0  # numbers are stepped over, never read: no limit on digits, no rounding


class _Walk:
    """One pass over one body."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._decoder = json.JSONDecoder(parse_float=_unread, parse_int=_unread)
        self._fields: list[Field] = []
        self._end = 0

    def request(self) -> ChatRequest:
        body: dict[str, Any] = {}
        messages: tuple[Message, ...] | None = None
        for key, at in self._members(self._space(0)):
            if key == "messages":
                messages = tuple(self._message(n, start) for n, start in enumerate(self._elements(at)))
            else:
                body[key] = self._value(at)
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
        )

    def _message(self, index: int, at: int) -> Message:
        if index == MAX_MESSAGES:
            raise UnknownShape(f"there are more than {MAX_MESSAGES} messages")
        values: dict[str, Any] = {}
        texts: list[_Text | None] = []
        for key, start in self._members(at):
            if key == "content":
                texts = self._content(start)
            else:
                values[key] = self._value(start)
        role = values.get("role")
        if not isinstance(role, str):
            raise UnknownShape(f"message {index} has no role")
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

    def _content(self, at: int) -> list[_Text | None]:
        """The texts of one message's content; None for a part that is no text."""
        if self._source[at : at + 1] == "[":
            return [self._part(part, start) for part, start in enumerate(self._elements(at))]
        text = self._value(at)
        if isinstance(text, str):
            return [(None, text, at, self._end, "content")]
        if text is None:
            return []
        raise UnknownShape("the content of a message is neither text, parts nor null")

    def _part(self, part: int, at: int) -> _Text | None:
        kind: object = None
        texts: dict[str, _Text] = {}
        for key, start in self._members(at):
            value = self._value(start)
            if key == "type":
                kind = value
            elif isinstance(value, str):
                texts[key] = (part, value, start, self._end, key)
        if not isinstance(kind, str) or kind not in _TEXT_PARTS:
            return None
        if _TEXT_PARTS[kind] not in texts:
            raise UnknownShape(f"a part of type {kind!r} has no text")
        return texts[_TEXT_PARTS[kind]]

    # Members and elements. Each yields where a value starts; whoever reads the value leaves its end in `self._end`.

    def _members(self, at: int) -> Iterator[tuple[str, int]]:
        if self._source[at : at + 1] != "{":
            raise UnknownShape("expected a JSON object")
        seen: set[str] = set()
        at = self._space(at + 1)
        if self._source[at : at + 1] == "}":
            self._end = at + 1
            return
        while True:
            if self._source[at : at + 1] != '"':
                raise UnknownShape("the body is not JSON")
            key, at = scanstring(self._source, at + 1)
            if key in seen and key in _READ_ONCE:
                raise UnknownShape(f"the key {key!r} stands twice in one object")
            seen.add(key)
            yield key, self._after(at, ":")
            at = self._space(self._end)
            if self._source[at : at + 1] == "}":
                self._end = at + 1
                return
            at = self._after(at, ",")

    def _elements(self, at: int) -> Iterator[int]:
        if self._source[at : at + 1] != "[":
            raise UnknownShape("expected a JSON list")
        at = self._space(at + 1)
        if self._source[at : at + 1] == "]":
            self._end = at + 1
            return
        while True:
            yield at
            at = self._space(self._end)
            if self._source[at : at + 1] == "]":
                self._end = at + 1
                return
            at = self._after(at, ",")

    def _after(self, at: int, mark: str) -> int:
        at = self._space(at)
        if self._source[at : at + 1] != mark:
            raise UnknownShape("the body is not JSON")
        return self._space(at + 1)

    def _value(self, at: int) -> Any:
        value, self._end = self._decoder.scan_once(self._source, at)  # type: ignore[attr-defined]  # not in typeshed
        return value

    def _space(self, at: int) -> int:
        return _SPACE.match(self._source, at).end()  # type: ignore[union-attr]  # matches nothing at all, too


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _function_names(calls: object) -> tuple[str, ...]:
    """Names in `tools`, `functions` or `tool_calls`, whatever else may be wrong with them."""
    if not isinstance(calls, list):
        return ()
    found = [c.get("function", c) for c in calls if isinstance(c, dict)]
    return tuple(f["name"] for f in found if isinstance(f, dict) and isinstance(f.get("name"), str))
