"""HTML: what no reader sees first, then navigation, then blocks.

Lossless: white space beside block tags, and runs of it elsewhere but for one character (outside pre, textarea, script
and style). The first lossy step: comments, scripts, styles, icons, and attributes other than links and values. Then
navigation and other boilerplate, then blocks (paragraphs, list items, rows) whole, ranked by the question. A unit is
an element from its own open tag to its own end tag, so the text stays as well nested as it was.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from compressors.base import Span
from compressors.structured.units import DULL, EDGE, NOISE, Layout, Unit

_START = re.compile(r"(?i)\s*<(?:!doctype html|html[\s>])")
_PIECE = re.compile(r"(?i)\s*<(?:head|body|div|table|ul|ol|article|section|main)[\s>]")
_TAG = re.compile(r"""<(/?)([a-zA-Z][\w:-]{0,40})((?:[^<>"']++|"[^"]*+"|'[^']*+')*+)>""")
_ATTRIBUTE = re.compile(r"""\s++([\w:@.*-]++)(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'>]++))?+""")
_SPACE = re.compile(r"\s++")
_RAW = {name: re.compile(rf"(?i)</{name}[^<>]*>") for name in ("script", "style", "textarea", "title")}
_NAMED = re.compile(
    r"""(?i)\b(?:id|class|role)\s?=\s?["'][^"'<>]{0,200}\b(?:nav(?:bar|igation|box)?|menu|footer|sidebar|breadcrumbs?"""
    r"""|cookies?|consent|share|social|advert(?:isement)?|ads?|banner|newsletter|skip-link|jump-to-nav)\b"""
)
_HIDDEN = frozenset(["script", "style", "svg", "noscript", "template", "iframe", "link", "meta", "base", "canvas"])
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
_BOILERPLATE = frozenset(["nav", "footer", "aside", "form", "button", "select", "menu", "dialog"])
_HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_LEAVES = _HEADINGS | frozenset(["p", "li", "tr", "dt", "dd", "blockquote", "pre", "figure"])
_LISTS = frozenset(["table", "thead", "tbody", "ul", "ol", "dl"])
_GROUPS = frozenset(["div", "section", "article"])
_BLOCKS = (
    _HIDDEN
    | _LEAVES
    | _LISTS
    | _GROUPS
    | frozenset(
        [
            "html",
            "head",
            "body",
            "title",
            "br",
            "hr",
            "tfoot",
            "td",
            "th",
            "caption",
            "header",
            "main",
            "nav",
            "footer",
            "aside",
            "form",
            "option",
        ]
    )
)
_KEPT_ATTRIBUTES = frozenset(
    ["href", "src", "alt", "title", "value", "name", "content", "datetime", "colspan", "rowspan"]
)
_MANY_STRAYS = 1000  # `<` that open nothing: then the text is no HTML
_DEEP = 50
_PAGE = 0.3  # "navigation" with a larger share of the text is the page itself


def layout(text: str, start: int, end: int) -> Layout | None:
    """None unless the stretch begins as a page does, or begins and ends as a piece of one, and has a few end tags."""
    piece = _PIECE.match(text, start, end) and text[max(start, end - 200) : end].rstrip().endswith(">")
    if not (piece or _START.match(text, start, end)) or text.count("</", start, end) < 3:
        return None
    reader = _Reader(text, start, end)
    return Layout(reader.free, list(_nested(reader.parts))) if reader.read() else None


@dataclass(frozen=True, slots=True)
class _Part:
    """An element (open or closed), a comment or an attribute."""

    start: int
    head: int
    name: str
    end: int
    prior: float


class _Reader:
    """One pass over the markup: `parts` that may go, and `free` white space."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.free: list[Span] = []
        self.parts: list[_Part] = []
        self._text, self._start, self._end = text, start, end
        self._stack: list[_Part] = []
        self._open: Counter[str] = Counter()

    def read(self) -> bool:
        text, end = self._text, self._end
        at = begun = self._start  # `begun`: where the text before the next tag begins
        block, strays = True, 0
        while (at := text.find("<", at, end)) >= 0:
            if text.startswith("<!--", at):
                past = text.find("-->", at, end) + 3
                if past < 3:
                    return False
                self._white(begun, at, block, False)
                self.parts.append(_Part(at, at, "", past, NOISE))
                block = False
            elif tag := _TAG.match(text, at, end):
                is_block = tag[2].lower() in _BLOCKS
                self._white(begun, at, block, is_block)
                past = self._close(tag) if tag[1] else self._begin(tag)
                block = is_block
            else:
                strays += 1
                at += 1
                if strays > _MANY_STRAYS:
                    return False
                continue
            at = begun = past
        self._white(begun, end, block, True)
        return True

    def _begin(self, tag: re.Match[str]) -> int:
        """Takes in an open tag; returns where reading goes on."""
        name, past = tag[2].lower(), tag.end()
        self._attributes(tag)
        if raw := _RAW.get(name):
            close = raw.search(self._text, past, self._end)
            past = close.end() if close else self._end
            if close and name in _HIDDEN:
                self._record(_Part(tag.start(), tag.end(), name, past, NOISE))
        elif name in _VOID or tag[3].endswith("/"):
            if name in _HIDDEN:
                self._record(_Part(tag.start(), past, name, past, NOISE))
        else:
            self._open[name] += 1
            self._stack.append(_Part(tag.start(), past, name, past, 0.0))
        return past

    def _close(self, tag: re.Match[str]) -> int:
        """Takes in an end tag: the element it ends, and those inside it that were never ended, are done."""
        name = tag[2].lower()
        while self._open[name]:
            part = self._stack.pop()
            self._open[part.name] -= 1
            if part.name == name:
                prior = self._prior(part, tag.end())
                if prior is not None:
                    self._record(_Part(part.start, part.head, name, tag.end(), prior))
                break
        return tag.end()

    def _prior(self, part: _Part, end: int) -> float | None:
        if part.name in _HIDDEN:
            return NOISE
        small = end - part.start <= _PAGE * (self._end - self._start)
        if small and (
            part.name in _BOILERPLATE or _NAMED.search(self._text, part.start, min(part.head, part.start + 1000))
        ):
            return DULL
        if part.name in _LEAVES | _LISTS | _GROUPS:
            return EDGE if part.name in _HEADINGS else 0.0
        return None

    def _record(self, part: _Part) -> None:
        if part.prior < 0:  # goes whole: what was found inside doesn't matter
            while self.parts and self.parts[-1].start > part.start:
                self.parts.pop()
        self.parts.append(part)

    def _attributes(self, tag: re.Match[str]) -> None:
        for found in _ATTRIBUTE.finditer(self._text, *tag.span(3)):
            if found[1].lower() not in _KEPT_ATTRIBUTES and found[1] != "/":
                self.parts.append(_Part(found.start(), found.start(), "", found.end(), NOISE))

    def _white(self, start: int, end: int, after_block: bool, before_block: bool) -> None:
        """Frees white space of the text between two tags: all of it beside a block tag, else all but one character."""
        if start >= end or self._open["pre"]:
            return
        for run in _SPACE.finditer(self._text, start, end):
            beside = (run.start() == start and after_block) or (run.end() == end and before_block)
            self.free.append((run.start() + (not beside), run.end()))


def _nested(parts: list[_Part]) -> Iterator[Unit]:
    """Units in the order of the text, each with the one around it."""
    parts = _shallow(sorted(parts, key=lambda part: (part.start, -part.end)))
    holds = _holders(parts)
    around: list[int] = []
    for index, part in enumerate(parts):
        while around and parts[around[-1]].end <= part.start:
            around.pop()
        prior = part.prior - 0.01 if part.name in _GROUPS and index in holds else part.prior
        alone = not (part.name in _LISTS and index in holds)
        yield Unit(part.start, part.end, around[-1] if around else -1, prior, alone=alone)
        around.append(index)


def _shallow(parts: list[_Part]) -> list[_Part]:
    """Without those in more than `_DEEP` others: they stay or go with what is around them."""
    found: list[_Part] = []
    ends: list[int] = []
    for part in parts:
        while ends and ends[-1] <= part.start:
            ends.pop()
        if len(ends) < _DEEP:
            found.append(part)
        ends.append(part.end)
    return found


def _holders(parts: list[_Part]) -> set[int]:
    """Parts with an element inside."""
    found: set[int] = set()
    around: list[int] = []
    for index, part in enumerate(parts):
        while around and parts[around[-1]].end <= part.start:
            around.pop()
        if around and part.name:
            found.add(around[-1])
        around.append(index)
    return found
