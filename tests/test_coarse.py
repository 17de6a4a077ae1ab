"""The coarse stage: budgets, which documents stay, and how rates slant over them."""

import pytest

from compressors.coarse import room, slants, take


@pytest.mark.parametrize(
    ("rule", "expected"), [("+100", 300), ("*1.5", 300), ("+0", 200), ("*1", 200), ("+2.5", 202.5)]
)
def test_room_for_documents(rule: str, expected: float) -> None:
    assert room(rule, 200) == expected


@pytest.mark.parametrize("rule", ["", "100", "-100", "+1e9", "*1.", "+100 ", "__import__('os').getcwd()", "*1.5+1"])
def test_nothing_but_a_budget_is_understood(rule: str) -> None:
    """The published package evaluates the string as Python."""
    with pytest.raises(ValueError, match="context budget"):
        room(rule, 200)


def test_the_document_that_goes_over_the_budget_stays() -> None:
    assert take([2, 0, 1], [10, 10, 10], 15) == [2, 0]
    assert take([2, 0, 1], [10, 10, 10], 10) == [2, 0]
    assert take([2, 0, 1], [10, 10, 10], -1) == [2]
    assert take([2, 0, 1], [10, 10, 10], 1000) == [2, 0, 1]


def test_forced_documents_come_first_and_cost_when_their_turn_comes() -> None:
    assert take([2, 0, 1], [10, 10, 10], 5, forced=[1]) == [1, 2]
    assert take([2, 0, 1], [10, 10, 10], 15, forced=[2]) == [2, 0]


def test_rates_fall_in_even_steps_from_best_to_worst() -> None:
    assert slants(5, 0.4) == pytest.approx([0.4, 0.2, 0, -0.2, -0.4])
    assert slants(1, 0.4) == [0]
    assert slants(3, 0) == [0, 0, 0]
