"""The compressor for structured text: what may go is read off the syntax, so that the syntax survives.

Lossless first: white space that the format says means nothing. Where the budget asks for more, whole rows, records,
hunks, blocks, chosen by the question, with errors, outliers and edges outlasting the rest. Nothing is added. Text of
no known format loses what the whitespace compressor drops.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from compressors.base import Kept, Span, Task
from compressors.structured import diff, html, jsonrows, logs, table
from compressors.structured.choice import choose
from compressors.structured.units import Layout, stack
from compressors.whitespace import idle

Format = Callable[[str, int, int], Layout | None]

_MARKUP = (jsonrows.layout, html.layout)
_LINES = (diff.layout, table.delimited, table.pipes, logs.layout, table.aligned)
_MOST_LINES = 250_000  # more are hardly a text to be read, and would take seconds
_MOST_FENCES = 1000
_FENCE = re.compile(r"(?m)^(```+|~~~+)[^\n`]*\n")


class Structured:
    """JSON, JSON Lines, Python literals, CSV, TSV, pipe and aligned tables, logs, traces, diffs, HTML."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        """One `Kept` a task. A budget of Rate(1) makes only lossless changes; text never grows in tokens."""
        return [choose(task, layout(task.text)) for task in tasks]


def layout(text: str) -> Layout:
    """What may go from `text`, read as one format, else fence by fence; else only white space that says nothing."""
    formats = _MARKUP if text.count("\n") > _MOST_LINES else (*_MARKUP, *_LINES)
    if whole := _read(text, 0, len(text), formats):
        return whole
    fenced = (_read(text, start, end, formats) for start, end in islice(_fenced(text), _MOST_FENCES))
    inside = stack(found for found in fenced if found)
    return Layout([*inside.free, *idle(text)], inside.units)


def _read(text: str, start: int, end: int, formats: Iterable[Format]) -> Layout | None:
    return next((found for read in formats if (found := read(text, start, end)) is not None), None)


def _fenced(text: str) -> Iterator[Span]:
    """The insides of Markdown code fences."""
    at = 0
    while opening := _FENCE.search(text, at):
        close = text.find(f"\n{opening[1]}", opening.end() - 1)
        if close < 0:
            return
        yield opening.end(), close + 1
        at = close + 1 + len(opening[1])
