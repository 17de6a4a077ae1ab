"""Means and shares with 95 % intervals, by drawing the records again (Efron's percentile bootstrap), always alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

import numpy as np
import numpy.typing as npt

from judge.measure import Measured
from judge.methods import BLIND, ORIGINAL, SENTENCE
from judge.metrics import Value

DRAWS = 1000
FIFTHS = 5
Floats = npt.NDArray[np.float64]
Drawn = tuple[float, Floats]
Estimate = tuple[float, float, float]
"""The value and both ends of its interval."""
GAINS = ("answers", "evidence", "f1", "topics", "slots", "keep_f1")


@dataclass(frozen=True, slots=True)
class Row:
    """A method on a set at a size. `fifths`: by where the gold document stands, None where none stands. `gains`: over
    `lexical` (where nothing is asked, over `word rarity`), on the same records drawn together. `read`: a reader's F1 as
    a share of that on the original."""

    set: str
    method: str
    size: str
    records: int
    ms: float
    metrics: dict[str, Estimate]
    fifths: dict[str, list[Estimate | None]] = field(default_factory=dict)
    gains: dict[str, Estimate] = field(default_factory=dict)
    read: Estimate | None = None


@lru_cache(maxsize=8)
def _draws(records: int) -> Floats:
    rng = np.random.default_rng(records)
    return rng.multinomial(records, np.full(records, 1 / records), DRAWS).astype(np.float64)


def estimate(values: Sequence[Value]) -> Estimate | None:
    """None where nothing was measured."""
    drawn = _drawn(values)
    return None if drawn is None else _with_interval(*drawn)


def difference(values: Sequence[Value], others: Sequence[Value]) -> Estimate | None:
    """How much the first is above the second, on the records that both have."""
    pair = _pair(values, others)
    return pair and _with_interval(pair[0][0] - pair[1][0], pair[0][1] - pair[1][1])


def ratio(values: Sequence[Value], others: Sequence[Value]) -> Estimate | None:
    """What share of the second the first is, on the records that both have."""
    pair = _pair(values, others)
    if pair is None or not pair[1][0]:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return _with_interval(pair[0][0] / pair[1][0], pair[0][1] / pair[1][1])


def _pair(values: Sequence[Value], others: Sequence[Value]) -> tuple[Drawn, Drawn] | None:
    both = min(len(values), len(others))
    left, right = _drawn(values[:both]), _drawn(others[:both])
    return None if left is None or right is None else (left, right)


def _drawn(values: Sequence[Value]) -> Drawn | None:
    found = np.array(values, np.float64).reshape(-1, 2)
    parts, wholes = found[:, 0], found[:, 1]
    if not wholes.sum():
        return None
    draws = _draws(len(found))
    drawn_wholes = draws @ wholes
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(parts.sum() / wholes.sum()), (draws @ parts) / drawn_wholes


def _with_interval(value: float, draws: Floats) -> Estimate:
    low, high = np.nanpercentile(draws, [2.5, 97.5]).tolist()
    return round(value, 4), round(low, 4), round(high, 4)


def rows(kind: str, found: Sequence[Measured]) -> list[Row]:
    """All rows of a set."""
    over = "word rarity" if kind in (BLIND, SENTENCE) else "lexical"
    by_name = {one.method: one for one in found}
    base, original = by_name.get(over), by_name.get(ORIGINAL)
    whole = original.values["1"].get("f1", ()) if original else ()
    return [
        _row(one, size, base.values.get(size, {}) if base and one is not base else {}, whole)
        for one in found
        for size in one.values
    ]


def _row(one: Measured, size: str, against: dict[str, list[Value]], whole: Sequence[Value]) -> Row:
    values = one.values[size]
    gains = {name: difference(values[name], against[name]) for name in GAINS if name in values and name in against}
    placed: dict[str, list[Estimate | None]] = {
        name: _fifths(values[name], one.positions) for name in ("answers", "evidence") if name in values
    }
    known = {name: estimate(own) for name, own in values.items()}
    return Row(
        set=one.set,
        method=one.method,
        size=size,
        records=len(one.positions),
        ms=round(median(one.ms), 2) if one.ms else 0.0,
        metrics={name: own for name, own in known.items() if own},
        fifths=placed if any(place is not None for place in one.positions) else {},
        gains={name: own for name, own in gains.items() if own},
        read=ratio(values.get("f1", ()), whole),
    )


def _fifths(values: Sequence[Value], positions: Sequence[float | None]) -> list[Estimate | None]:
    groups: list[list[Value]] = [[] for _ in range(FIFTHS)]
    for value, place in zip(values, positions, strict=True):
        if place is not None:
            groups[min(int(place * FIFTHS), FIFTHS - 1)].append(value)
    return [estimate(group) if group else None for group in groups]
