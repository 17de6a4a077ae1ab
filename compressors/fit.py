"""The best units of a text, as many as the budget asks for: exactly, counted in the tokens of the target model.

Scores say which units are better; how many of them fit cannot be told from the scores, since a token may span units
and a dropped neighbour changes how a word is cut. So the number of units is searched for: a first guess from one
tokenisation of the whole text, a few counts of what would be kept, then single units near the threshold, each tried in
its surroundings alone. The last word is always a count of the text that is kept.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from compressors import spans
from compressors.base import Kept, Rate, Span, Task, Threshold
from compressors.selection import keeps_all, whole
from compressors.tokenizers import Counter, counter

_WORD = 40  # code points; a longer unit, or one with white space, gives up all but what is protected in it
_COUNTS = 8  # of the whole kept text; two or three are the rule
_NEAR = 24, 0.06  # tokens off, and as a share: from here on trying single units costs less than counting everything
_TRIES = 64  # units looked at on either side of the threshold for the last tokens
_AROUND = 6  # kept units on either side in which a change is counted
_BLANK = np.array([chr(i).isspace() for i in range(0x3002)])  # the last white space is U+3000

Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Units:
    """Units from `starts` to `ends`, in order; `held` stay whatever the score says. `breaks`: how much the white
    space before each unit divides, the later one being stronger among equals."""

    text: str
    protected: tuple[Span, ...]
    starts: Ints
    ends: Ints
    scores: NDArray[np.float64]
    held: Flags
    breaks: Ints


def fit(task: Task, units: Sequence[Span], scores: Sequence[float], forced: Collection[int] = ()) -> Kept:
    """The best-scored of `units` within the budget, with the spacing of the original.

    `units`: ordered, apart, not empty, without white space at their edges. `scores`: one a unit, the higher the
    better, the earlier among equals; NaN is worst. Units whose index is `forced`, protected spans, and all that is
    neither unit nor white space stay whatever the budget says. A word that is protected in part stays whole.
    `Rate` and `Tokens` are met to the token where the tokenisation has such a size; `Threshold` is compared with
    the scores themselves. Between two units that were apart, one gap stays: paragraph before line before space.
    A text is never emptied and never gets longer.
    """
    if keeps_all(task):
        return whole(task)
    parts = _prepare(task, units, scores, forced)
    free = np.flatnonzero(~parts.held)
    if not len(free):
        return whole(task)
    order = free[np.argsort(-parts.scores[free], kind="stable")]
    if isinstance(task.budget, Threshold):
        chosen = parts.held | (parts.scores >= task.budget.value)
        if not chosen.any():
            chosen[order[0]] = True
        return _kept(task, parts, chosen)
    tokens = counter(task.encoding)
    starts = tokens.starts(task.text)
    target = round(task.budget.value * len(starts)) if isinstance(task.budget, Rate) else task.budget.value
    if target >= len(starts):
        return whole(task)
    return _Search(parts, order, tokens, starts, target).run(task)


def _kept(task: Task, parts: Units, chosen: Flags) -> Kept:
    kept = _whole_spans(parts, chosen)
    count = counter(task.encoding).count
    return Kept(kept) if count(spans.join(task.text, kept)) <= count(task.text) else whole(task)


def _prepare(task: Task, units: Sequence[Span], scores: Sequence[float], forced: Collection[int]) -> Units:
    text, protected = task.text, spans.clip(task.protected, len(task.text))
    if len(units) != len(scores):
        raise ValueError(f"{len(units)} units, but {len(scores)} scores")
    borders = np.fromiter(chain.from_iterable(units), np.intp, 2 * len(units))
    values = np.array(scores, np.float64)
    held = np.zeros(len(units), bool)
    held[list(forced)] = True
    blank, broken = _white_space(text)
    outside = np.concatenate(([0], borders, [len(text)])).reshape(-1, 2)
    if protected or np.any(np.diff(blank[outside]) != np.diff(outside)):
        rows = list(_parts(text, protected, borders.tolist(), held.tolist()))
        borders = np.array([row[:2] for row in rows], np.intp).ravel()
        values = np.array([values[i] if i >= 0 else 0 for _, _, i, _ in rows])
        held = np.array([row[3] for row in rows], bool)
    starts, ends = borders[::2], borders[1::2]
    divides = np.minimum(broken[starts[1:]] - broken[ends[:-1]], 2) + (starts[1:] > ends[:-1])
    breaks = np.append(np.zeros(min(len(starts), 1), np.intp), divides) * (len(starts) + 1) + np.arange(len(starts))
    return Units(text, protected, starts, ends, values, held, breaks)


def _white_space(text: str) -> tuple[Ints, Ints]:
    """How many code points of white space, and how many line breaks, lie before each place of the text."""
    cells = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    blank = _BLANK[np.minimum(cells, len(_BLANK) - 1)]
    return np.append([0], np.cumsum(blank)), np.append([0], np.cumsum(cells == ord("\n")))


def _parts(
    text: str, protected: Sequence[Span], borders: Sequence[int], held: Sequence[bool]
) -> Iterator[tuple[int, int, int, bool]]:
    """The units, the larger ones cut where a part is protected, and what lies between them: start, end, unit, held."""
    at = 0
    for i, (start, end) in enumerate(zip(borders[::2], borders[1::2], strict=True)):
        yield from ((*part, -1, True) for part in _solid(text, at, start))
        at = end
        inside = spans.within(protected, start, end)
        if inside and not held[i] and (end - start > _WORD or len(text[start:end].split()) > 1):
            for part in sorted((*inside, *spans.complement(inside, end, start))):
                yield from ((*solid, i, part in inside) for solid in _solid(text, *part))
        else:
            yield start, end, i, held[i] or bool(inside)
    yield from ((*part, -1, True) for part in _solid(text, at, len(text)))


def _solid(text: str, start: int, end: int) -> tuple[Span, ...]:
    """The stretch without the white space at its edges, if anything is left."""
    inner = text[start:end].strip()
    if not inner:
        return ()
    first = text.index(inner[0], start, end)
    return ((first, first + len(inner)),)


def _spans(parts: Units, chosen: Ints) -> tuple[Ints, Ints]:
    """Starts and ends of what stays: these units (at least one) and the strongest gap between two."""
    starts, ends = np.empty((2, 2 * len(chosen) - 1), np.intp)
    starts[::2], ends[::2] = parts.starts[chosen], parts.ends[chosen]
    if len(chosen) > 1:
        gaps = np.maximum.reduceat(parts.breaks[: chosen[-1] + 1], chosen[:-1] + 1) % (len(parts.breaks) + 1)
        starts[1::2], ends[1::2] = parts.ends[gaps - 1], parts.starts[gaps]
    filled = starts < ends
    return starts[filled], ends[filled]


def _whole_spans(parts: Units, chosen: Flags) -> tuple[Span, ...]:
    """The same, with the white space around all, and what of the white space between is protected."""
    starts, ends = _spans(parts, np.flatnonzero(chosen))
    starts = np.concatenate(([0], starts, parts.ends[-1:]))
    ends = np.concatenate((parts.starts[:1], ends, [len(parts.text)]))
    filled = starts < ends
    starts, ends = starts[filled], ends[filled]
    apart = starts[1:] > ends[:-1]
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    kept = tuple(zip(starts.tolist(), ends.tolist(), strict=True))
    return spans.merge([*kept, *parts.protected]) if parts.protected else kept


class _Search:
    """How many of `order` to keep. Mutable: `chosen` is what would be kept now, `size` its tokens."""

    def __init__(self, parts: Units, order: Ints, tokens: Counter, starts: Ints, target: int) -> None:
        self._parts, self._order, self._tokens, self._target = parts, order, tokens, target
        costs = np.bincount(np.minimum(np.searchsorted(parts.ends, starts, "right"), len(parts.ends) - 1))
        costs = np.pad(costs, (0, len(parts.ends) - len(costs)))
        self._total = len(starts)
        self._guess = np.r_[0, np.cumsum(costs[order])] + costs[parts.held].sum()
        self._least = 0 if parts.held.any() else 1
        self._best: tuple[int, Flags] | None = None

    def run(self, task: Task) -> Kept:
        number, chosen, size = self._by_counts()
        for _ in range(3):
            if size == self._target:
                break
            chosen = self._by_single_units(number, chosen, size)
            size = self._count(chosen)
        size, chosen = self._best or (size, chosen)
        if size > self._total:
            return whole(task)
        return Kept(_whole_spans(self._parts, chosen))

    def _by_counts(self) -> tuple[int, Flags, int]:
        """A number of best units whose size is near the target."""
        low, high = self._least, len(self._order)
        sizes = {high: self._total}
        number = int(np.searchsorted(self._guess, self._target))
        for _ in range(_COUNTS):
            number = min(max(number, low), high)
            chosen = self._top(number)
            size = sizes[number] = self._count(chosen)
            off = self._target - size
            if abs(off) <= min(_NEAR[0], _NEAR[1] * size) or high - low <= 1:
                break
            low, high = (number, high) if off > 0 else (low, number)
            share = self._guess[number] / max(size, 1)
            number = int(np.searchsorted(self._guess, self._guess[number] + off * share))
            if not low < number < high:
                number = (low + high) // 2
        return number, chosen, size

    def _by_single_units(self, number: int, chosen: Flags, size: int) -> Flags:
        """Takes or leaves units near the threshold, nearest first, each where it brings the size nearer the target."""
        chosen = chosen.copy()
        off = self._target - size
        beyond = self._order[number : number + _TRIES].tolist()
        inside = self._order[max(number - _TRIES, 0) : number][::-1].tolist()
        for unit in [*beyond, *inside] if off > 0 else [*inside, *beyond]:
            if not off:
                break
            if chosen[unit] and np.count_nonzero(chosen) == 1:
                continue
            change = self._change(chosen, unit)
            if abs(off - change) < abs(off):
                chosen[unit] = not chosen[unit]
                off -= change
        return chosen

    def _top(self, number: int) -> Flags:
        chosen = self._parts.held.copy()
        chosen[self._order[:number]] = True
        return chosen

    def _count(self, chosen: Flags) -> int:
        size = self._tokens.count(spans.join(self._parts.text, _whole_spans(self._parts, chosen)))
        if self._best is None or abs(size - self._target) < abs(self._best[0] - self._target):
            self._best = size, chosen
        return size

    def _change(self, chosen: Flags, unit: int) -> int:
        """Tokens more or less once `unit` is flipped, counted among its neighbours."""
        around = np.flatnonzero(chosen)
        at = int(np.searchsorted(around, unit))
        around = around[max(at - _AROUND, 0) : at + _AROUND + 1]
        there = around[around != unit] if chosen[unit] else np.sort(np.append(around, unit))
        return self._size(there) - self._size(around)

    def _size(self, units: Ints) -> int:
        if not len(units):
            return 0
        starts, ends = _spans(self._parts, units)
        return self._tokens.count(spans.join(self._parts.text, zip(starts.tolist(), ends.tolist(), strict=True)))
