"""The breaker: opens after failures in a row, rests, tries again."""

import pytest

from compressors.base import Unavailable
from compressors.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_opens_after_failures_in_a_row_and_says_for_how_long(clock: Clock) -> None:
    breaker = Breaker("device x", failures=2, cooldown=30, clock=clock)
    breaker.failed()
    breaker.check()
    breaker.failed()
    clock.now += 10
    with pytest.raises(Unavailable, match="device x has failed 2 times in a row; tried again in 20 s"):
        breaker.check()
    assert breaker.rests == 20


def test_a_success_between_failures_starts_the_count_anew(clock: Clock) -> None:
    breaker = Breaker("x", failures=2, clock=clock)
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    breaker.failed()
    breaker.check()


@pytest.mark.parametrize("good", [True, False])
def test_after_the_rest_the_first_result_decides(clock: Clock, good: bool) -> None:
    breaker = Breaker("x", failures=3, cooldown=30, clock=clock)
    for _ in range(3):
        breaker.failed()
    clock.now += 30
    breaker.check()
    (breaker.succeeded if good else breaker.failed)()
    assert breaker.rests == (0 if good else 30)
    breaker.succeeded()
    breaker.failed()
    breaker.check()
