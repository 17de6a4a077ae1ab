"""What may go from a structured text, and the choice of what goes.

A format module reads a text into a `Layout`: `free` spans that carry nothing (dropping them is lossless) and `Unit`s,
stretches that stay or go whole. Whatever lies in no unit is the skeleton (headers, brackets, prose around) and stays.
Units nest; a unit stays only with the units around it. Nothing here knows a format.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from compressors.base import Span
from compressors.spans import complement, intersect

NOISE = -1.0  # markup that no reader sees: the first to go
DULL = -0.3  # navigation, repeated lines, passed tests
EDGE = 0.3  # the first and last rows show what the table is
ODD = 0.5  # outliers, rare shapes, warnings
ERROR = 0.8  # errors yield only to what matches nearly the whole question
"""Priors of units, on the scale of the relevance, which runs from 0 to 1."""

_GIANT = 0.4  # a unit above this share of the tokens is the text itself: dropping it would leave a shell


@dataclass(frozen=True, slots=True)
class Unit:
    """The stretch `start..end`, which stays or goes whole.

    `parent` is the index of the unit around it (-1: none; parents stand before their children). `start..head` names
    what is inside (a key, a file name) and counts as said by every unit inside. In lists with separators `lead` is
    the end of the item before, `tail` the start of the item after (-1: no separators here), and `anchored` says that
    an item that is no unit stands somewhere before it in the list. `number` counts rows from 1 (0: not a row).
    A unit that is not `alone` stays only if something inside it stays.
    """

    start: int
    end: int
    parent: int = -1
    prior: float = 0.0
    head: int = 0
    lead: int = -1
    tail: int = -1
    anchored: bool = False
    number: int = 0
    alone: bool = True

    @property
    def extent(self) -> Span:
        """The stretch with the separator after it."""
        return self.start, max(self.end, self.tail)


@dataclass(frozen=True, slots=True)
class Layout:
    free: Sequence[Span] = ()
    units: Sequence[Unit] = field(default=())


def stack(layouts: Iterable[Layout]) -> Layout:
    """Layouts of successive stretches of one text as one."""
    free: list[Span] = []
    units: list[Unit] = []
    for layout in layouts:
        base = len(units)
        free.extend(layout.free)
        units.extend(replace(u, parent=u.parent + base) if base and u.parent >= 0 else u for u in layout.units)
    return Layout(free, units)


def own_texts(text: str, layout: Layout, free: Sequence[Span]) -> list[str]:
    """What each unit holds beside the units inside it and the free spans; last the skeleton."""
    parts: list[list[str]] = [[] for _ in range(len(layout.units) + 1)]
    at = 0
    for owner, start, end in _pieces(layout.units, len(text)):
        while at < len(free) and free[at][1] <= start:
            at += 1
        while at < len(free) and free[at][0] < end:
            parts[owner].append(text[start : max(start, free[at][0])])
            start = min(end, free[at][1])
            if free[at][1] > end:
                break
            at += 1
        parts[owner].append(text[start:end])
    return ["".join(part) for part in parts]


def _pieces(units: Sequence[Unit], length: int) -> Iterator[tuple[int, int, int]]:
    """Owner, start and end of stretches that cover the text in order; each belongs to the innermost unit."""
    inside: list[int] = [-1]
    at = 0
    for index, unit in enumerate(units):
        while inside[-1] != unit.parent:
            end = units[inside[-1]].extent[1]
            yield inside.pop(), at, end
            at = end
        yield unit.parent, at, unit.start
        at = unit.start
        inside.append(index)
    while inside:
        end = units[inside[-1]].extent[1] if inside[-1] >= 0 else length
        yield inside.pop(), at, end
        at = end


def pinned(units: Sequence[Unit], protected: Sequence[Span]) -> set[int]:
    """Units that a protected span touches, the separators beside them included."""
    found: set[int] = set()
    at = 0
    for index, unit in enumerate(units):
        start, end = (unit.lead if unit.lead >= 0 else unit.start), unit.extent[1]
        while at < len(protected) and protected[at][1] <= start:
            at += 1
        if at == len(protected):
            break
        if protected[at][0] < end:
            found.add(index)
    return found


def fit(units: Sequence[Unit], costs: Sequence[int], scores: Sequence[float], target: int, keep: set[int]) -> set[int]:
    """The best units, each with those around it, that fit `target` tokens; `keep` stays whatever it costs.

    `costs` holds one number a unit and last the skeleton's. Units are taken best first, ties in the order of the
    text; one that doesn't fit is passed over. A unit that is most of the text is never dropped for size alone.
    """
    large = _GIANT * sum(costs)
    giants = {i for i, unit in enumerate(units) if unit.prior >= 0 and costs[i] > large}
    kept = with_parents(units, keep | giants)
    spent = costs[-1] + sum(costs[i] for i in kept)
    for index in sorted((i for i, unit in enumerate(units) if unit.alone), key=lambda i: (-scores[i], i)):
        new = _chain(units, index, kept)
        cost = sum(costs[i] for i in new)
        if spent + cost <= target:
            kept.update(new)
            spent += cost
    return kept


def with_parents(units: Sequence[Unit], chosen: Iterable[int]) -> set[int]:
    kept: set[int] = set()
    for index in chosen:
        kept.update(_chain(units, index, kept))
    return kept


def _chain(units: Sequence[Unit], index: int, kept: set[int]) -> list[int]:
    """The unit and those around it that are not kept yet."""
    chain: list[int] = []
    while index >= 0 and index not in kept:
        chain.append(index)
        index = units[index].parent
    return chain


def cuts(units: Sequence[Unit], kept: set[int]) -> list[Span]:
    """What to delete so that only kept units stay; a dropped item of a list takes one separator with it."""
    gone: list[Span] = []
    begun: set[int] = set()  # lists (by the unit around them) in which an item was kept
    for index, unit in enumerate(units):
        if index in kept:
            begun.add(unit.parent)
        elif unit.parent < 0 or unit.parent in kept:
            follows = unit.lead >= 0 and (unit.anchored or unit.parent in begun)
            gone.append((unit.lead, unit.end) if follows else unit.extent)
    return gone


def outside(spans: Sequence[Span], protected: Sequence[Span], length: int) -> tuple[Span, ...]:
    """The parts of merged `spans` that no protected span holds."""
    return intersect(spans, complement(protected, length)) if protected else tuple(spans)
