"""From labelled texts to rows of pieces with labels, and rows to batches, the same ones for the same seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compressors.words import read
from training.classifier_sources import Floats, Labelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_POOL = 64  # batches that are sorted by length together, so that little is padding


@dataclass(frozen=True, slots=True)
class Row:
    """Pieces with the special ones around them; a target and a weight each; the number of the source."""

    ids: NDArray[np.int64]
    target: Floats
    weight: Floats
    source: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows side by side, padded: (rows, longest)."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    target: Floats
    weight: Floats
    sources: NDArray[np.int64]


def cut(found: Labelled, source: int, tokenizer: "Tokenizer", longest: int) -> Iterator[Row]:
    """The rows of a text, of at most `longest` pieces, each cut after the last mark that may end a sentence."""
    first, last = tokenizer.encode("").ids
    words = read(found.text, tokenizer)
    begins, ends = words.first, np.maximum(words.last, words.first + 1)
    target, weight = _mean(found.target, begins, ends), _mean(found.weight, begins, ends)
    stops = {i for i, at in enumerate(begins.tolist()) if found.text[at : at + 1] in (".", "?", "!")}
    edge = np.zeros(1, np.float32)
    for start, end in _windows(len(words.ids), stops, longest - 2):
        yield Row(
            np.concatenate([[first], words.ids[start:end], [last]]).astype(np.int64),
            np.concatenate([edge, target[start:end], edge]),
            np.concatenate([edge, weight[start:end], edge]),
            source,
        )


def _windows(count: int, stops: set[int], room: int) -> Iterator[tuple[int, int]]:
    start = 0
    while start < count:
        end = min(start + room, count)
        if end < count:
            end = next((at + 1 for at in range(end - 1, start + room // 2, -1) if at in stops), end)
        yield start, end
        start = end


def _mean(values: Floats, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> Floats:
    sums = np.append(0, np.cumsum(values, dtype=np.float64))
    ends = np.minimum(ends, len(values))
    begins = np.minimum(begins, ends)
    return np.asarray((sums[ends] - sums[begins]) / np.maximum(ends - begins, 1), np.float32)


def together(rows: Sequence[Row], room: int, rng: random.Random) -> list[Row]:
    """Some of the short rows end to end, as texts of several sentences: a model that has only seen single sentences
    does not know what to make of the others."""
    joined: list[Row] = []
    group: list[Row] = []
    wanted = 1
    for row in rng.sample(rows, len(rows)):
        if group and (len(group) >= wanted or sum(len(r.ids) for r in group) + len(row.ids) > room):
            joined.append(_end_to_end(group))
            group, wanted = [], rng.choice((1, 1, 1, 2, 3, 5))
        group.append(row)
    return [*joined, _end_to_end(group)] if group else joined


def _end_to_end(group: Sequence[Row]) -> Row:
    if len(group) == 1:
        return group[0]
    first, last = group[0].ids[:1], group[0].ids[-1:]
    edge = np.zeros(1, np.float32)
    return Row(
        np.concatenate([first, *(row.ids[1:-1] for row in group), last]),
        np.concatenate([edge, *(row.target[1:-1] for row in group), edge]),
        np.concatenate([edge, *(row.weight[1:-1] for row in group), edge]),
        group[0].source,
    )


def batches(rows: Sequence[Row], pieces: int, rng: random.Random) -> list[list[int]]:
    """Row numbers, in batches of at most `pieces` pieces with their padding (or one row), in random order."""
    order = rng.sample(range(len(rows)), len(rows))
    mean = max(1, sum(len(row.ids) for row in rows) // max(1, len(rows)))
    pool = max(1, _POOL * pieces // mean)
    found: list[list[int]] = []
    for start in range(0, len(order), pool):
        group: list[int] = []
        for number in sorted(order[start : start + pool], key=lambda i: len(rows[i].ids)):
            if group and (len(group) + 1) * len(rows[number].ids) > pieces:
                found.append(group)
                group = []
            group.append(number)
        found.append(group)
    rng.shuffle(found)
    return found


def batch(rows: Sequence[Row]) -> Batch:
    shape = len(rows), max(len(row.ids) for row in rows)
    found = Batch(
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.array([row.source for row in rows], np.int64),
    )
    for i, row in enumerate(rows):
        count = len(row.ids)
        found.ids[i, :count], found.mask[i, :count] = row.ids, 1
        found.target[i, :count], found.weight[i, :count] = row.target, row.weight
    return found
