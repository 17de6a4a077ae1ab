"""Rows of a token classifier: a text's pieces in stretches that the model can read at once, and nothing lost.

A row ends where a sentence does, as in LLMLingua-2, whose model was trained on such rows: there, the next row needs
no overlap. Where no sentence ends for a whole row, it has to be cut inside one; then the next row begins a little
earlier, and each piece has its score from the row in which more stands around it, 32 pieces at least: the rest of its
clause on either side, for about a seventh more work on such text, and none on any other.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from compressors.base import Span
from compressors.words import Flags, Words

_AROUND = 32  # pieces on either side of a cut inside a sentence


@dataclass(frozen=True, slots=True)
class Row:
    """Pieces `first..last` (exclusive) are read, and those from `start` to `end` have their score from it. The scored
    stretches of a text's rows follow each other and leave nothing out."""

    first: int
    last: int
    start: int
    end: int


def rows(words: Words, room: int, stops: Flags, documents: Sequence[Span] = ()) -> list[Row]:
    """The rows of a text, each of at most `room` pieces; a row holds pieces of one of `documents` only.

    `stops`: after which pieces a row may end, see `sentence_ends`.
    """
    opens = np.append(words.owners[:1] >= 0, np.diff(words.owners) != 0)  # pieces at which a word may begin
    # What stands between two documents is read with the second: it may be its heading.
    edges = np.searchsorted(words.first, np.array([end for _, end in documents], np.intp))
    borders = sorted({0, *edges.tolist(), len(words.ids)})
    found: list[Row] = []
    for start, end in pairwise(borders):
        found.extend(_cut(start, end, room, (stops, opens)))
    return found


def _cut(start: int, end: int, room: int, flags: tuple[Flags, Flags]) -> Iterator[Row]:
    stops, opens = flags
    around = min(_AROUND, room // 8)
    first = start
    while end - first > room:
        last = first + room
        own = np.flatnonzero(stops[max(start, first) + 1 : last])
        if len(own):  # never where it would take back what the row before has scored
            last = border = max(start, first) + 2 + int(own[-1])
            following = last
        else:
            border = last - around
            lowest = max(start, border - around // 2) + 1
            free = np.flatnonzero(opens[lowest : border + 1])
            border = lowest + int(free[-1]) if len(free) else border
            following = border - around
        yield Row(first, last, start, border)
        start, first = border, following
    if start < end:
        yield Row(first, end, start, end)


def sentence_ends(text: str, words: Words, ends: Sequence[str]) -> Flags:
    """After which pieces a sentence ends, with one of `ends`: white space, or a mark where neither a letter nor a digit
    follows at once."""
    stops = np.zeros(len(words.ids), bool)
    marks = "|".join(re.escape(mark) for mark in sorted(ends, key=len, reverse=True) if mark)
    blank, solid = [], []
    for match in re.finditer(marks, text) if marks else ():
        after = text[match.end() : match.end() + 1]
        if match.group().isspace():
            blank.append(match.start())
        elif not (after.isascii() and after.isalnum()):
            solid.append(match.end())
    seen = np.flatnonzero(words.last > words.first)
    lasts = np.append(-1, words.last[seen])
    before = np.searchsorted(lasts, np.array(blank, np.intp), "right") - 1
    at = np.searchsorted(lasts, np.array(solid, np.intp), "right") - 1
    at = at[lasts[at] == solid]
    found = np.concatenate((before, at))
    stops[seen[found[found > 0] - 1]] = True
    return stops
