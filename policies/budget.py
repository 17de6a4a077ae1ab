"""How much of a text stays: a rate, a number of tokens or a threshold, by the size of the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from compressors.base import Budget, Rate, Tokens

LOSSLESS = Rate(1.0)


@dataclass(frozen=True, slots=True)
class Range:
    """Texts of at least `low` and fewer than `high` tokens (None: no upper end) get this budget."""

    budget: Budget
    low: int = 0
    high: int | None = None

    def holds(self, tokens: int) -> bool:
        return self.low <= tokens and (self.high is None or tokens < self.high)


def choose(ranges: Sequence[Range], tokens: int) -> Budget | None:
    """The budget for a text of this many tokens; None where no range holds it."""
    return next((r.budget for r in ranges if r.holds(tokens)), None)


def overlap(ranges: Sequence[Range]) -> bool:
    """Whether some size lies in two of the ranges."""
    ordered = sorted(ranges, key=lambda r: r.low)
    return any(one.high is None or one.high > two.low for one, two in pairwise(ordered))


def lossy(budget: Budget) -> bool:
    """Whether this budget lets a compressor drop what the text says. Below, only insignificant characters may go."""
    return not (isinstance(budget, Rate) and budget.value >= 1)


def at_least(budget: Budget, floor: float, tokens: int) -> Budget:
    """This budget, or one that keeps about `floor` (a share) of a text of `tokens` where it would keep less.

    It never asks for more compression than `budget` does. Nobody knows beforehand what a threshold keeps, so any floor
    turns it into a lossless budget.
    """
    if isinstance(budget, Rate):
        return Rate(max(budget.value, floor))
    if isinstance(budget, Tokens):
        return Rate(floor) if budget.value < floor * tokens else budget
    return LOSSLESS
