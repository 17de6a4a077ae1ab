"""A test of one mean that may be looked at after every observation, and stopped whenever one likes.

Observations d lie in [-1, 1]: how much worse a compressed answer agrees with the original's than two original answers
agree with each other. The hypothesis is that the mean of d, given all that came before, is never above a margin m. A
gambler who stakes a share b of what she has on each d wins 1 + b (d - m); under the hypothesis no such gambler gets
richer on average, so by Ville's inequality her wealth reaches 1 / alpha with a probability of at most alpha, ever.
Several gamblers, each with a fixed share, hold an equal part of the stake: small shares find small effects under much
noise, large ones find large effects soon (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 2023; a mixture of the bets of its section 4).

Harm may begin late, when the first gamblers have long lost their money to good answers. Half of the stake is therefore
kept back: at observation 64 k new gamblers get 1 / (2 k (k + 1)) of it, which adds up to the half. Money that lies idle
neither grows nor shrinks, so that all of it together is still no richer on average, and the bound holds (the weighted
sum of restarted tests of Shiryaev, 1963, whose weights sum to one). Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log, log1p, sqrt

BETS = (0.04, 0.09, 0.18, 0.32, 0.55, 0.95)
"""Stakes, as shares of the largest that cannot lose everything, 1 / (1 + m)."""
RESTART = 64
"""Observations after which new gamblers begin."""
_FIRST = 0.5  # of the stake is in play from the first observation on
_LEVEL = 0.05  # of the interval
_MOST = 0.5  # a stake of the interval


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is kept of the observations so far: their number, sum and sum of squares, the logarithm of what each
    stake has become that was put on each share, and three running sums of the interval (stakes, staked observations,
    doubt)."""

    samples: int = 0
    total: float = 0.0
    squares: float = 0.0
    wealth: tuple[float, ...] = (log(_FIRST),) * len(BETS)
    stakes: float = 0.0
    staked: float = 0.0
    doubt: float = 0.0

    @property
    def mean(self) -> float | None:
        return self.total / self.samples if self.samples else None

    @property
    def log_wealth(self) -> float:
        """Logarithm of what all gamblers have together, where they began with 1."""
        idle = (1 - _FIRST) / (self.samples // RESTART + 1)
        most = max(self.wealth)
        return most + log(sum(exp(w - most) for w in self.wealth) / len(self.wealth) + idle * exp(-most))

    def rejects(self, confidence: float) -> bool:
        """Whether the mean is above the margin. Wrong with a probability of at most 1 - `confidence`, however often
        one asks."""
        return self.log_wealth >= -log(1 - confidence)

    def interval(self) -> tuple[float, float]:
        """The mean lies in it with 95 %, after every observation at once (empirical Bernstein, theorem 2 of the
        paper). Wider than the test is sharp."""
        if not self.stakes:
            return -1.0, 1.0
        middle, half = self.staked / self.stakes, (log(2 / _LEVEL) + self.doubt) / self.stakes
        return max(-1.0, 2 * (middle - half) - 1), min(1.0, 2 * (middle + half) - 1)


def observed(before: Evidence, d: float, margin: float) -> Evidence:
    """The evidence with one more observation. Raises `ValueError` where it is not in [-1, 1]."""
    if not (isfinite(d) and -1 <= d <= 1):
        raise ValueError(f"an observation of {d}; allowed: -1 to 1")
    x, n = (d + 1) / 2, before.samples
    mean = (0.5 + n / 2 + before.total / 2) / (n + 1)  # of the x before this one, and one of 1/2
    spread = max(1e-6, (1 + before.squares - before.total**2 / max(1, n)) / 4 / (n + 1))
    stake = min(_MOST, sqrt(2 * log(2 / _LEVEL) / (spread * (n + 1) * log(n + 2))))
    return Evidence(
        samples=n + 1,
        total=before.total + d,
        squares=before.squares + d * d,
        wealth=tuple(
            _staked(w + log1p(b * (d - margin)), n + 1) for w, b in zip(before.wealth, bets(margin), strict=True)
        ),
        stakes=before.stakes + stake,
        staked=before.staked + stake * x,
        doubt=before.doubt + (x - mean) ** 2 * (-log1p(-stake) - stake),
    )


def _staked(wealth: float, samples: int) -> float:
    """The logarithm of wealth with what is newly put in after so many observations."""
    k, rest = divmod(samples, RESTART)
    return wealth if rest else log(exp(wealth) + (1 - _FIRST) / (k * (k + 1)))


def bets(margin: float) -> tuple[float, ...]:
    return tuple(share / (1 + margin) for share in BETS)


def expected_samples(usual: Sequence[float], margin: float, confidence: float) -> float:
    """At most about so many observations until the test rejects, on average, where observations are drawn from `usual`;
    infinite where their mean is not above the margin.

    The gambler whose wealth grows fastest needs, alone, as many as it takes to get from its part of the stake to
    1 / alpha (Wald); the others only add to it."""
    rate, jump = max(
        (sum(log1p(b * (d - margin)) for d in usual) / len(usual), log1p(b * (max(usual) - margin)))
        for b in bets(margin)
    )
    return (log(len(BETS) / _FIRST / (1 - confidence)) + jump) / rate if rate > 0 else inf
