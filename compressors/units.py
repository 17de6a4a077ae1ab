"""From what a model says of each piece to what it says of each unit: a compound of words that stays or goes as one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressors import codepoints
from compressors.base import Span
from compressors.chunks import Row
from compressors.words import Flags, Ints, Words

_KNOWN = (
    16,
    200,
)  # characters: in scripts without spaces no vocabulary has longer pieces, in others no text longer words
_PARTS = 4, 100  # characters

Numbers = NDArray[np.float64]
Subword = Literal["mean", "first"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, its words and pieces, and the rows in which the model reads these."""

    text: str
    words: Words
    rows: list[Row]

    def pieces(self) -> Iterator[list[int]]:
        """The ids of each row, without special tokens."""
        return (self.words.ids[row.first : row.last].tolist() for row in self.rows)


@dataclass(frozen=True, slots=True)
class Units:
    """Units from `starts` to `ends`, in order, apart; how likely each is kept, and the row with its first piece."""

    starts: Ints
    ends: Ints
    keep: Numbers
    rows: Ints

    def spans(self) -> list[Span]:
        return list(zip(self.starts.tolist(), self.ends.tolist(), strict=True))

    def touched(self, spans: Sequence[Span]) -> Flags:
        """The units that have a character in one of these ordered spans."""
        first = np.searchsorted(self.ends, [start for start, _ in spans], "right")
        last = np.searchsorted(self.starts, [end for _, end in spans])
        depth = np.zeros(len(self.starts) + 1, np.intp)
        np.add.at(depth, first, 1)
        np.add.at(depth, last, -1)
        return np.asarray(np.cumsum(depth)[:-1] > 0)

    def with_digits(self, text: str) -> Flags:
        before = np.append(0, np.cumsum(codepoints.digits(codepoints.cells(text))))
        return np.asarray(before[self.ends] > before[self.starts])

    def costs(self, tokens: Ints) -> Ints:
        """How many of the tokens that start at these characters each unit has, with the white space before it."""
        owners = np.searchsorted(self.ends, tokens, "right")
        return np.bincount(owners, minlength=len(self.ends))[: len(self.ends)]


def units(reading: Reading, scores: Sequence[NDArray[np.float32]], groups: Ints, subword: Subword = "mean") -> Units:
    """The units of a text, from the probability of each piece of each row. A unit without any piece has 0.

    `groups`: the number of the unit of each word, from 0 on, in order.
    """
    words = reading.words
    keep = np.zeros(len(words.ids))
    for row, score in zip(reading.rows, scores, strict=True):
        keep[row.start : row.end] = score[row.start - row.first : row.end - row.first]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    ends = np.append(starts[1:], len(groups))[: len(starts)] - 1
    pieces = np.flatnonzero(words.owners >= 0)
    owners = groups[words.owners[pieces]]
    counts = np.bincount(owners, minlength=len(starts))
    first = np.full(len(starts), -1)
    first[owners[::-1]] = pieces[::-1]
    if subword == "mean":
        share = np.bincount(owners, keep[pieces], len(starts)) / np.maximum(counts, 1)
    else:
        share = np.where(first >= 0, np.append(keep, 0.0)[first], 0.0)
    borders = np.array([row.end for row in reading.rows], np.intp)
    return Units(words.starts[starts], words.ends[ends], share, np.searchsorted(borders, first, "right"))


def finer(text: str, found: Units) -> Units:
    """The same with what is too long for one unit in parts of the same score: clauses of a script without spaces, and
    endless runs of letters, that the tokenizer does not know. As one, they would be more than the size allows."""
    cells = codepoints.cells(text)
    lengths = found.ends - found.starts
    long = np.flatnonzero(lengths > _KNOWN[0])
    dense = codepoints.dense(cells[(found.starts[long] + found.ends[long]) // 2])
    long, dense = long[dense | (lengths[long] > _KNOWN[1])], dense[dense | (lengths[long] > _KNOWN[1])]
    if not len(long):
        return found
    free = ~codepoints.bound(cells)
    inner = [
        place
        for start, end, part in zip(found.starts[long], found.ends[long], np.where(dense, *_PARTS), strict=True)
        for place in range(int(start + part), int(end - part), int(part))
        if free[place]
    ]
    starts = np.sort(np.append(found.starts, np.array(inner, np.intp)))
    owners = np.searchsorted(found.starts, starts, "right") - 1
    ends = np.minimum(np.append(starts[1:], len(text)), found.ends[owners])
    return Units(starts, ends, found.keep[owners], found.rows[owners])


def shares(keep: Numbers, costs: Ints, rows: Ints) -> Numbers:
    """For each unit, how many of its row's tokens are in worse units, as a share from 0 to 1.

    Those above 1 - rate are what the published package keeps of each row: it compares with a percentile, counted in
    tokens.
    """
    order = np.lexsort((keep, rows))
    spent = np.append(0, np.cumsum(costs[order]))[:-1]
    leads = np.append(True, (np.diff(rows[order]) > 0) | (np.diff(keep[order]) > 0))[: len(order)]
    opens = np.append(True, np.diff(rows[order]) > 0)[: len(order)]
    worse = (spent[leads][np.cumsum(leads) - 1]) - spent[opens][np.cumsum(opens) - 1]
    total = np.bincount(rows, costs)[rows[order]]
    found = np.empty(len(keep))
    found[order] = worse / np.maximum(total - 1, 1)
    return found
