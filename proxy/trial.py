"""What compression changed, by comparing the conversations that were shortened with those that were drawn to bypass it.

Conversations were drawn, not requests, so conversations are what is independent. In each arm a ratio of totals is
estimated (USD for each text token before compression; output tokens for each request), its variance by leaving out one
conversation after the other: the jackknife of a ratio (Cochran, Sampling Techniques, 3rd ed., section 6.17). Intervals
are Welch's, with Student's t and degrees of freedom after Satterthwaite (1946). An arm counts as many conversations as
equally long ones would weigh (Kish, 1965; for clusters: Carter, Schnepel and Steigerwald, 2017): few long ones are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

ENOUGH = 30
"""Conversations that each arm must have: with fewer, one that is unlike the others makes what interval it likes."""
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval of 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Arm:
    """The conversations of one arm: a row each of requests, text tokens before compression, USD billed (with what
    compressing cost) and output tokens. `unknown`: requests that are in no row, since their bill or size is unknown."""

    totals: NDArray[np.float64]
    unknown: int = 0

    def __len__(self) -> int:
        return len(self.totals)

    def sum(self, column: int) -> float:
        return float(self.totals[:, column].sum())


REQUESTS, TOKENS, USD, OUTPUT = range(4)  # columns of `Arm.totals`


@dataclass(frozen=True, slots=True)
class Stratum:
    """Requests that may be compared with each other: those of one route and model."""

    treated: Arm
    bypass: Arm

    @property
    def enough(self) -> bool:
        return min(len(self.treated), len(self.bypass)) >= ENOUGH


@dataclass(frozen=True, slots=True)
class Compared:
    """A ratio in both arms, None where an arm is empty; and `change`, treated less bypass, alone and times all that was
    treated (`total`), None where there are too few conversations."""

    treated: float | None
    bypass: float | None
    change: Estimate | None
    total: Estimate | None


@dataclass(frozen=True, slots=True)
class Trial:
    """`treated`, `bypass`: conversations; `..._unknown`: requests left out. `cost` is in USD for 1,000 text tokens
    before compression, its total in USD; `answer` in output tokens for a request, its total in tokens."""

    treated: int
    bypass: int
    treated_unknown: int
    bypass_unknown: int
    cost: Compared
    answer: Compared


def compare(strata: Sequence[Stratum]) -> Trial:
    """Several strata count as much as was treated in each. Where some have enough conversations in both arms, the
    ratios are of those alone."""
    return Trial(
        treated=sum(len(s.treated) for s in strata),
        bypass=sum(len(s.bypass) for s in strata),
        treated_unknown=sum(s.treated.unknown for s in strata),
        bypass_unknown=sum(s.bypass.unknown for s in strata),
        cost=_compared(strata, USD, TOKENS, 1000),
        answer=_compared(strata, OUTPUT, REQUESTS),
    )


def student(level: float, degrees: float) -> float:
    """How many standard errors reach `level` of Student's t to both sides. The expansion of Abramowitz and Stegun,
    26.7.5: right to one percent from 3 degrees of freedom on, too small below."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


@dataclass(frozen=True, slots=True)
class _Value:
    """What is estimated; `variances`: of its independent parts, each with its degrees of freedom."""

    value: float
    variances: tuple[tuple[float, float], ...] = ()

    def times(self, factor: float) -> "_Value":
        return _Value(self.value * factor, tuple((v * factor**2, degrees) for v, degrees in self.variances))

    def plus(self, other: "_Value") -> "_Value":
        return _Value(self.value + other.value, self.variances + other.variances)

    def estimate(self) -> Estimate:
        variance = sum(v for v, _ in self.variances)
        squares = sum(v**2 / degrees for v, degrees in self.variances)
        reach = student(LEVEL, variance**2 / squares if squares else inf) * sqrt(variance)
        return Estimate(self.value, self.value - reach, self.value + reach)


def _compared(strata: Sequence[Stratum], above: int, below: int, per: float = 1) -> Compared:
    able = [s for s in strata if s.enough]
    used = able or strata
    sizes = [s.treated.sum(below) for s in used]
    if not used or not all(len(s.treated) and len(s.bypass) for s in used):
        return Compared(None, None, None, None)
    ratio = _ratio if able else _plain
    treated, bypass = _Value(0), _Value(0)  # what was treated, as it was, and as it would have been
    for size, s in zip(sizes, used, strict=True):
        treated = treated.plus(ratio(s.treated, above, below).times(size))
        bypass = bypass.plus(ratio(s.bypass, above, below).times(size))
    one = per / sum(sizes)
    total = treated.plus(bypass.times(-1))
    change = (total.times(one).estimate(), total.estimate()) if able else (None, None)
    return Compared(treated.value * one, bypass.value * one, *change)


def _plain(arm: Arm, above: int, below: int) -> _Value:
    return _Value(arm.sum(above) / arm.sum(below))


def _ratio(arm: Arm, above: int, below: int) -> _Value:
    a, b = arm.totals[:, above], arm.totals[:, below]
    without = (a.sum() - a) / (b.sum() - b)
    n = len(arm)
    value = n * a.sum() / b.sum() - (n - 1) * without.mean()  # a plain ratio is biased by 1 / n
    variance = (n - 1) / n * np.square(without - without.mean()).sum()
    as_many = b.sum() ** 2 / np.square(b).sum()
    return _Value(float(value), ((float(variance), max(float(as_many) - 1, 1)),))
