"""Bytes <-> text fields of a chat request, and back without disturbing anything else.

The body is read once. Every text that a message carries becomes a `Field` with the span of its JSON literal; `splice`
puts new literals into those spans and leaves every other byte as it was.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a message. `start`, `end`: its JSON literal, quotes included, in `ChatRequest.source`."""

    message: int
    part: int | None
    role: str
    text: str
    start: int
    end: int
    key: str = "text"  # "content", "text" or "refusal": where in the message the text stood


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
    has_response_format: bool = False
