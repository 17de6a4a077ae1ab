"""How much stays, by size; and what a floor makes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.base import Budget, Rate, Threshold, Tokens
from policies.budget import LOSSLESS, Range, at_least, choose, lossy, overlap

RANGES = (Range(Rate(0.6), 300, 2000), Range(Tokens(900), 2000, None))


@pytest.mark.parametrize(
    ("tokens", "budget"),
    [(0, None), (299, None), (300, Rate(0.6)), (1999, Rate(0.6)), (2000, Tokens(900)), (10**6, Tokens(900))],
)
def test_a_range_holds_its_lower_end_and_not_its_upper(tokens: int, budget: Budget | None) -> None:
    assert choose(RANGES, tokens) == budget


def test_ranges_that_share_a_size_overlap() -> None:
    assert not overlap(RANGES)
    assert not overlap(RANGES[::-1])
    assert overlap((Range(LOSSLESS, 0, 301), *RANGES))
    assert overlap((Range(LOSSLESS), Range(LOSSLESS, 5)))
    assert not overlap(())


def test_only_a_full_rate_is_lossless() -> None:
    assert [lossy(b) for b in (LOSSLESS, Rate(0.99), Tokens(10**9), Threshold(0.0))] == [False, True, True, True]


@pytest.mark.parametrize(
    ("budget", "floor", "expected"),
    [
        (Rate(0.3), 0.5, Rate(0.5)),
        (Rate(0.7), 0.5, Rate(0.7)),
        (Tokens(100), 0.5, Rate(0.5)),
        (Tokens(600), 0.5, Tokens(600)),
        (Threshold(0.9), 0.1, LOSSLESS),
        (Rate(0.3), 1.0, LOSSLESS),
    ],
)
def test_a_floor_lifts_what_lies_below_it(budget: Budget, floor: float, expected: Budget) -> None:
    """Of a text of 1000 tokens."""
    assert at_least(budget, floor, 1000) == expected


def kept(budget: Budget, tokens: int) -> float:
    return budget.value * tokens if isinstance(budget, Rate) else min(budget.value, tokens)


budgets = st.floats(0.01, 1).map(Rate) | st.integers(1, 5000).map(Tokens)


@given(budgets, st.floats(0.01, 1), st.integers(1, 5000))
def test_a_floor_never_asks_for_more_compression(budget: Budget, floor: float, tokens: int) -> None:
    lifted = at_least(budget, floor, tokens)
    assert kept(lifted, tokens) >= kept(budget, tokens)
    assert kept(lifted, tokens) >= min(floor * tokens, tokens) - 1e-9
