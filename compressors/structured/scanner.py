"""Offsets of every value of a JSON text, or of the literal that Python's `repr` writes, without recursion.

The grammar is checked on the way: what `scan` accepts, `json.loads` (or `ast.literal_eval`) accepts. Values mean
nothing here: numbers, duplicate keys and escapes are just text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from compressors.base import Span

_JSON_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_PYTHON_STRING = r"'[^'\\\n\r]*+(?:\\(?:[\\'\"abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4})[^'\\\n\r]*+)*+'"
_DEEPEST = 500  # levels
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"


@dataclass(frozen=True, slots=True)
class Grammar:
    """`item`: a key or none, then a scalar and the sign after it, or an opening bracket. `after`: that sign alone."""

    item: re.Pattern[str]
    after: re.Pattern[str]
    space: re.Pattern[str]


def _grammar(strings: str, words: str) -> Grammar:
    white = r"[ \t\n\r]*+"
    after = rf"{white}([,\]}}])"
    scalar = rf"{_NUMBER}|{strings}|{words}"
    return Grammar(
        item=re.compile(rf"{white}((?:{strings}){white}:{white})?+(?:((?:{scalar})){after}|([\[{{]))"),
        after=re.compile(after),
        space=re.compile(rf"(?:{strings})|([ \t\n\r]++)"),
    )


JSON = _grammar(_JSON_STRING, "true|false|null|NaN|-?Infinity")
PYTHON = _grammar(f"{_PYTHON_STRING}|{_PYTHON_STRING.replace(chr(39), chr(34))}", "True|False|None")


@dataclass(slots=True)
class Item:
    """A value with its key: `start..end`; the value begins at `value`. `items` is None but for lists and objects."""

    start: int
    value: int
    end: int
    items: "list[Item] | None" = None

    def key(self, text: str) -> str:
        return text[self.start : self.value].rstrip(": \t\n\r").strip("\"'")


def scan(text: str, start: int, end: int, grammar: Grammar = JSON) -> Item | None:
    """The list or object that begins at or after `start` and closes by `end`.

    None where the text is no such thing, or is nested more deeply than `_DEEPEST` (as `json.loads` gives up, too).
    """
    inside: list[Item] = []  # lists and objects that are open here, the outermost first
    pos = start
    while True:
        match = grammar.item.match(text, pos, end)
        if match is None:
            if not inside or inside[-1].items:  # only an empty list or object may close here
                return None
        else:
            (_, (key, _), (scalar, scalar_end), (after, _), (bracket, _)) = match.regs
            if (key >= 0) != (bool(inside) and text[inside[-1].value] == "{"):
                return None
            value = max(scalar, bracket)
            item = Item(value if key < 0 else key, value, scalar_end)
            if inside:
                inside[-1].items.append(item)  # type: ignore[union-attr]
            if bracket >= 0:
                item.items = []
                inside.append(item)
                pos = match.end()
                if len(inside) > _DEEPEST:
                    return None
                continue
            if not inside:
                return None
            if text[after] == ",":
                pos = match.end()
                continue
            pos = after
        while True:
            match = grammar.after.match(text, pos, end)
            if match is None:
                return None
            pos = match.end()
            if match[1] == ",":
                if not inside[-1].items:
                    return None
                break
            closed = inside.pop()
            if (text[closed.value] == "{") != (match[1] == "}"):
                return None
            closed.end = pos
            if not inside:
                return closed


def spaces(text: str, item: Item, grammar: Grammar) -> Iterator[Span]:
    """White space outside strings."""
    return (m.span() for m in grammar.space.finditer(text, item.value, item.end) if m[1])


@dataclass(frozen=True, slots=True)
class Found:
    """Values one after the other in a text, all of one grammar."""

    items: list[Item]
    grammar: Grammar = field(default=JSON)


def scan_all(text: str, start: int, end: int) -> Found | None:
    """One value, or several that follow each other on lines of their own (JSON Lines); None if the first fails."""
    for grammar in (JSON, PYTHON) if text.find("'", start, end) >= 0 else (JSON,):
        items: list[Item] = []
        pos = start
        while (item := scan(text, pos, end, grammar)) is not None:
            line_end = text.find("\n", item.end, end)
            line_end = end if line_end < 0 else line_end
            if text[item.end : line_end].strip():
                break
            items.append(item)
            pos = line_end
        if items:
            return Found(items, grammar)
    return None
