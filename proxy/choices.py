"""The choices of an answer, or of one event of an answer, and where in the JSON their texts stand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.json_walk import UnknownShape, Walk, literal

_POINTING = ("logprobs", "content_filter_offsets")
"""Tell of places in the text, or of its tokens."""
_INDEX = re.compile(r"\d{1,6}")


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a choice, and where its literal stands, quotes included."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Choice:
    """`ours`: whether nothing beside its text depends on the text, as probabilities and citations do."""

    index: int
    text: Text | None
    finished: str | None
    ours: bool


class Choices(Walk):
    """Finds the choices of an answer or of an event of one. `where`: "message" or "delta"."""

    once = frozenset(("choices", "message", "delta", "content", "index", "finish_reason"))

    def __init__(self, source: str, where: str) -> None:
        super().__init__(source)
        self.source = source
        self._where = where

    def choices(self) -> list[Choice]:
        found: list[Choice] = []
        for key, at in self._members(self._space(0)):
            if key == "choices" and self.source[at : at + 1] == "[":
                found = [self._choice(start) for start in self._elements(at)]
            else:
                self._value(at)
        if self._space(self._end) != len(self.source):
            raise UnknownShape("something follows the answer")
        indexes = [choice.index for choice in found]
        if len(set(indexes)) < len(indexes):
            raise UnknownShape("two choices have one index")
        return sorted(found, key=lambda choice: choice.text.start if choice.text else 0)

    def _choice(self, at: int) -> Choice:
        index, text, finished, ours = 0, None, None, True
        for key, start in self._members(at):
            if key == self._where and self.source[start : start + 1] == "{":
                text, ours_inside = self._inside(start)
                ours = ours and ours_inside
                continue
            got = self._value(start) if key != "index" else self._integer(start)
            if key == "index":
                index = got
            elif key == "finish_reason" and isinstance(got, str):
                finished = got
            elif key in _POINTING and got is not None:
                ours = False
        return Choice(index, text, finished, ours)

    def _inside(self, at: int) -> tuple[Text | None, bool]:
        text, ours = None, True
        for key, start in self._members(at):
            got = self._value(start)
            if key == "content" and isinstance(got, str):
                text = Text(got, start, self._end)
            elif key in ("annotations", "audio") and got:
                ours = False
        return text, ours

    def _integer(self, at: int) -> int:
        found = _INDEX.match(self.source, at)
        self._value(at)
        if found is None or found.end() != self._end:
            raise UnknownShape("the index of a choice is no number")
        return int(found.group())


def spliced(source: str, texts: Sequence[tuple[Text, str]]) -> str:
    """`source` with other texts in the places of some, in order."""
    pieces: list[str] = []
    at = 0
    for text, new in texts:
        pieces += source[at : text.start], literal(new, source[text.start : text.end])
        at = text.end
    return "".join([*pieces, source[at:]])
