"""The trial's estimates against a truth that is known, and intervals that hold it as often as they say."""

import numpy as np
import pytest

from proxy.trial import ENOUGH, Arm, Stratum, compare, student

SAVED, SHORTER = 0.4, 0.1  # share of the bill for input and of the output tokens that compression takes off


def arm(rng: np.random.Generator, conversations: int, input_price: float = 2.5, output: float = 300.0) -> Arm:
    """Conversations of several turns and very different lengths, half of their input cached or less."""
    requests = rng.geometric(0.4, conversations).astype(float)
    tokens = requests * rng.lognormal(7.5, 0.8, conversations)
    answered = requests * rng.lognormal(np.log(output), 0.5, conversations)
    usd = (tokens * input_price * rng.uniform(0.5, 1.0, conversations) + answered * 10) / 1e6
    return Arm(np.stack([requests, tokens, usd, answered], axis=1))


def stratum(rng: np.random.Generator, treated: int, bypass: int) -> Stratum:
    return Stratum(arm(rng, treated, 2.5 * (1 - SAVED), 300 * (1 - SHORTER)), arm(rng, bypass))


def truth() -> tuple[float, float]:
    """Saved USD for 1,000 text tokens, and the change of an answer's tokens, from the means of the laws above."""
    length, answer = np.exp(7.5 + 0.8**2 / 2), 300 * np.exp(0.5**2 / 2)
    return (2.5 * 0.75 * SAVED + 10 * answer * SHORTER / length) / 1000, -answer * SHORTER


@pytest.mark.parametrize(("bypass", "at_least"), [(ENOUGH, 0.90), (150, 0.92)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(bypass: int, at_least: float) -> None:
    """Lengths are as skewed as in real traffic, so that small arms fall a little short of 95 %."""
    rng = np.random.default_rng(7)
    trials = [compare([stratum(rng, 1500, bypass)]) for _ in range(800)]
    saved, longer = truth()
    costs = [trial.cost.change for trial in trials]
    answers = [trial.answer.change for trial in trials]
    for estimates, true in ((costs, -saved), (answers, longer)):
        held = [e.low <= true <= e.high for e in estimates if e is not None]
        assert len(held) == 800
        assert at_least <= np.mean(held) <= 0.98
        assert np.mean([e.value for e in estimates if e is not None]) == pytest.approx(true, rel=0.05)


def test_two_arms_that_do_not_differ_are_told_apart_in_one_of_twenty() -> None:
    rng = np.random.default_rng(11)
    trials = [compare([Stratum(arm(rng, 1000), arm(rng, 60))]) for _ in range(600)]
    wrong = [not e.low <= 0 <= e.high for e in (trial.cost.change for trial in trials) if e is not None]
    assert len(wrong) == 600
    assert np.mean(wrong) < 0.09


def test_turns_of_one_conversation_do_not_count_as_so_many_observations() -> None:
    """Ten times the turns with the same price each make the interval no narrower."""
    rng = np.random.default_rng(3)
    few = stratum(rng, 500, 60)
    many = Stratum(Arm(few.treated.totals * 10), Arm(few.bypass.totals * 10))
    for one, other in zip((compare([few]).cost.change,), (compare([many]).cost.change,), strict=True):
        assert one is not None
        assert other is not None
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_too_few_conversations_give_no_interval_but_counts_and_ratios() -> None:
    rng = np.random.default_rng(5)
    trial = compare([stratum(rng, 5000, ENOUGH - 1)])
    assert (trial.treated, trial.bypass) == (5000, ENOUGH - 1)
    assert (trial.cost.change, trial.cost.total, trial.answer.change) == (None, None, None)
    assert trial.cost.treated
    assert trial.cost.bypass


def test_an_empty_arm_and_no_trial_are_no_error() -> None:
    nobody = Arm(np.zeros((0, 4)), unknown=3)
    rng = np.random.default_rng(5)
    trial = compare([Stratum(arm(rng, 50), nobody)])
    assert (trial.treated, trial.bypass, trial.bypass_unknown) == (50, 0, 3)
    assert (trial.cost.treated, trial.cost.bypass, trial.cost.change) == (None, None, None)
    assert compare([]).cost.total is None


def test_strata_weigh_what_was_treated_in_them_and_those_with_too_few_are_left_out() -> None:
    """Two models at very different prices, each with another share of the bypass: pooled, they would deceive."""
    rng = np.random.default_rng(2)
    cheap, dear = Stratum(arm(rng, 400, 0.1), arm(rng, 200, 0.2)), Stratum(arm(rng, 300, 10.0), arm(rng, 40, 20.0))
    tiny = stratum(rng, 10, 2)
    alone = [compare([s]).cost.total for s in (cheap, dear)]
    both = compare([cheap, dear, tiny])
    assert both.cost.total is not None
    assert both.cost.total.value == pytest.approx(sum(e.value for e in alone if e is not None))
    assert both.cost.change is not None
    assert both.cost.treated is not None
    assert both.cost.bypass is not None
    assert both.cost.change.value == pytest.approx(both.cost.treated - both.cost.bypass)
    assert both.treated == 710


def test_arms_without_any_spread_have_an_interval_of_one_point() -> None:
    same = np.tile([1.0, 1000.0, 0.002, 50.0], (40, 1))
    change = compare([Stratum(Arm(same * [1, 1, 0.5, 1]), Arm(same))]).cost.change
    assert change is not None
    assert (change.low, change.value, change.high) == pytest.approx((-0.001, -0.001, -0.001))


@pytest.mark.parametrize(
    ("degrees", "reach"), [(3, 3.182), (5, 2.571), (10, 2.228), (29, 2.045), (float("inf"), 1.960)]
)
def test_students_t_is_that_of_the_tables(degrees: float, reach: float) -> None:
    assert student(0.95, degrees) == pytest.approx(reach, rel=0.01)
