"""Walking over a JSON text: where its values begin and end, without making anything else of them.

Every value that nobody goes into is stepped over by the standard library's C scanner.
"""

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in typeshed
from typing import Any, ClassVar

_SPACE = re.compile(r"[ \t\n\r]*")


class UnknownShape(ValueError):
    """The text is not what we know how to read; the message says why."""


def literal(text: str, before: str) -> str:
    """JSON for `text`, escaped the way the literal that it replaces was. Lone surrogates only exist as escapes."""
    written = json.dumps(text, ensure_ascii=before.isascii())
    return written if before.isascii() or not any("\ud800" <= c <= "\udfff" for c in text) else json.dumps(text)


def _unread(_: str) -> int:
    return 0  # numbers are stepped over, never read: no limit on digits, no rounding


class Walk:
    """One pass over one text. Malformed JSON raises `UnknownShape` or `json.JSONDecodeError`.

    `once`: keys that must not stand twice in one object.
    """

    once: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, source: str) -> None:
        self._source = source
        self._decoder = json.JSONDecoder(parse_float=_unread, parse_int=_unread)
        self._end = 0

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
            if key in seen and key in self.once:
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
        try:
            value, self._end = self._decoder.scan_once(self._source, at)  # type: ignore[attr-defined]  # not in typeshed
        except StopIteration:  # which would become a RuntimeError on its way through a generator
            raise UnknownShape("the body is not JSON") from None
        return value

    def _space(self, at: int) -> int:
        if self._source[at : at + 1] > " ":  # as most often
            return at
        return _SPACE.match(self._source, at).end()  # type: ignore[union-attr]  # matches nothing at all, too
