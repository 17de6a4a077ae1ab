"""`whitespace`: white space that says nothing to a reader or a model goes; nothing else does, whatever the budget.

What goes: runs of spaces inside a line, spaces at its end, blank lines after the first, the indentation of prose.
What stays: all of it inside code (fences, diffs, paragraphs that look like code or data), in lines with tabs or
back-ticks, and columns that line up with the line above or below. In doubt it stays.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from compressors import spans
from compressors.base import Kept, Span, Task
from compressors.selection import whole
from compressors.tokenizers import counter

_FENCE = re.compile(r"\s*(```+|~~~+)")
_DIFF = re.compile(r"diff --git |@@ -\d|Index: \S|\+\+\+ \S")
_RUN = re.compile(r"(?<=\S) {2,}+(?=\S)")
_KEY = re.compile(r"\s*(- )?[\w.\"'-]{1,40}:(\s|$)")
_MARKUP = "{}[]()<>=;_$#@&*/\\|+\"'`^%"
_CODE = 0.1  # a larger share of such characters makes code or data of a paragraph
_WORDS = 5  # a line of prose has as many words, on average


@dataclass(frozen=True, slots=True)
class Line:
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph or a fenced block: lines `first..last` (exclusive)."""

    first: int
    last: int
    code: bool


class Whitespace:
    """Drops white space without a meaning: see the module's docstring."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        length = len(task.text)
        free = spans.complement(spans.clip(task.protected, length), length)
        gone = spans.intersect(spans.merge(idle(task.text)), free)
        if not gone:
            return whole(task)
        kept = Kept(spans.complement(gone, length))
        count = counter(task.encoding).count
        return kept if count(spans.join(task.text, kept.spans)) < count(task.text) else whole(task)


def idle(text: str) -> Iterator[Span]:
    """Spans of white space that may go."""
    lines = list(_lines(text))
    blocks = list(_blocks(lines))
    plain = not any(block.code and not _FENCE.match(lines[block.first].text) for block in blocks)
    for number, block in enumerate(blocks):
        if block.code:
            continue
        yield from _inside(lines[block.first : block.last])
        listed = number > 0 and _is_listed(lines[blocks[number - 1].first].text)
        if plain and not listed and _is_prose(lines[block.first : block.last]):
            yield from ((line.start, line.start + _indent(line.text)) for line in lines[block.first : block.last])
    if blocks:
        yield from _between(text, lines, blocks)


def _lines(text: str) -> Iterator[Line]:
    start = 0
    for line in text.split("\n"):
        yield Line(start, line)
        start += len(line) + 1


def _blocks(lines: Sequence[Line]) -> Iterator[Block]:
    """Paragraphs and fences; from the first header of a diff on, everything is code."""
    i, diff = 0, False
    while i < len(lines):
        first = i
        opened = _FENCE.match(lines[i].text)
        i += 1
        if opened:
            while i < len(lines) and lines[i].text.strip() != opened[1]:
                i += 1
            i = min(i + 1, len(lines))
            yield Block(first, i, code=True)
        elif lines[first].text.strip():
            while i < len(lines) and lines[i].text.strip() and not _FENCE.match(lines[i].text):
                i += 1
            diff = diff or any(_DIFF.match(line.text) for line in lines[first:i])
            yield Block(first, i, code=diff or _is_code([line.text for line in lines[first:i]]))


def _is_code(lines: Sequence[str]) -> bool:
    if len(lines) > 1 and 2 * sum(bool(_KEY.match(line)) for line in lines) > len(lines):
        return True
    if all(line.lstrip().startswith("|") for line in lines):
        return False  # a table in Markdown: its padding says nothing
    text = "\n".join(lines)
    signs = sum(text.count(sign) for sign in _MARKUP)  # one by one: a single pass of `re` would hold the interpreter
    return signs > _CODE * (len(text) - sum(text.count(blank) for blank in " \t\n"))


def _is_prose(lines: Sequence[Line]) -> bool:
    """Whether the indentation of a paragraph means nothing: whole sentences, all lines but the first indented alike."""
    texts = [line.text.strip() for line in lines]
    return (
        len({_indent(line.text) for line in lines[1:]}) <= 1
        and all(text[0].isalpha() for text in texts)
        and sum(len(text.split()) for text in texts) >= _WORDS * len(texts)
        and texts[-1][-1] in ".!?…。！？।؟"
    )


def _is_listed(line: str) -> bool:
    return not line.lstrip()[:1].isalpha()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _inside(lines: Sequence[Line]) -> Iterator[Span]:
    """Runs of spaces within a line and at its end."""
    runs = [[match.span() for match in _RUN.finditer(line.text)] for line in lines]
    ends = [set(), *({end for _, end in found} for found in runs), set()]
    for i, line in enumerate(lines):
        solid = len(line.text.rstrip())
        yield line.start + solid, line.start + len(line.text.rstrip("\r"))
        if "\t" in line.text or "`" in line.text:
            continue
        for start, end in runs[i]:
            if line.text.lstrip().startswith("|") or end not in ends[i] | ends[i + 2]:
                yield line.start + start + 1, line.start + end


def _between(text: str, lines: Sequence[Line], blocks: Sequence[Block]) -> Iterator[Span]:
    """Blank lines beyond one, unless they stand between two pieces of code."""
    edges = [Block(0, 0, False), *blocks, Block(len(lines), len(lines), False)]
    for above, below in pairwise(edges):
        if (above.code and below.code) or above.last == below.first:
            continue
        start = lines[above.last].start
        end = lines[below.first].start if below.first < len(lines) else len(text)
        for _ in range(1 if above.last else 2):  # at the very start one line break may close a line that is not ours
            kept = text.find("\n", start, end)
            if kept >= 0:
                yield start, kept
                start = kept + 1
        yield start, end
