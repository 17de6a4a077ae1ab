"""The guard's test: seldom wrong however often it is asked, and as quick as its arithmetic says."""

import random
from collections.abc import Callable
from itertools import accumulate
from math import inf, isinf

import pytest

from proxy.guard.answers import Answer
from proxy.guard.compare import word_f1, worse
from proxy.guard.sequential import Evidence, expected_samples, observed

MARGIN, CONFIDENCE = 0.05, 0.95
Draw = Callable[[random.Random], float]


def among_three(compressed: Callable[[random.Random], float], originals: Callable[[random.Random], float]) -> Draw:
    """Observations where each two of three answers agree as drawn."""

    def draw(chance: random.Random) -> float:
        return originals(chance) - (compressed(chance) + compressed(chance)) / 2

    return draw


def words(mean: float) -> Callable[[random.Random], float]:
    """Texts at some temperature: two of them share about this part of their words."""
    return lambda chance: min(1.0, max(0.0, chance.gauss(mean, 0.22)))


def same(rate: float) -> Callable[[random.Random], float]:
    """Tool calls, structured output: the same or not."""
    return lambda chance: float(chance.random() < rate)


TEXTS = ["yes it is", "it is so", "yes so it is", "nobody knows"]
F1 = {(one, other): word_f1(one, other) for one in TEXTS for other in TEXTS}


def answers(wrong: float) -> Draw:
    """Real answers: the originals' say one of three things, the compressed one's something else at this rate."""

    def draw(chance: random.Random) -> float:
        first, second, third = (Answer(chance.choice(TEXTS[:3])) for _ in range(3))
        if chance.random() < wrong:
            first = Answer(TEXTS[3])
        return worse(first, second, third, lambda one, other: F1[one.text, other.text])

    return draw


NO_EFFECT = {
    "words": among_three(words(0.6), words(0.6)),
    "calls": among_three(same(0.9), same(0.9)),
    "calls that vary": among_three(same(0.5), same(0.5)),
    "answers": answers(0),
    "nearly always the same": lambda chance: chance.choice([-1.0, 1.0]) if chance.random() < 0.02 else 0.0,
}
AT_THE_MARGIN = {
    "in steps": lambda chance: float(chance.random() < MARGIN),
    "all or nothing": lambda chance: 1.0 if chance.random() < (1 + MARGIN) / 2 else -1.0,
    "mostly nothing": lambda chance: chance.choices([0.0, 1.0, -1.0], [0.75, 0.15, 0.10])[0],
    "evenly": lambda chance: MARGIN + chance.uniform(-0.5, 0.5),
}


def stopped(draw: Draw, seed: int, most: int) -> int | None:
    """After how many observations the test rejects; None: not within `most`."""
    chance, evidence = random.Random(seed), Evidence()
    for n in range(1, most + 1):
        evidence = observed(evidence, draw(chance), MARGIN)
        if evidence.rejects(CONFIDENCE):
            return n
    return None


@pytest.mark.parametrize("kind", NO_EFFECT)
def test_of_routes_without_an_effect_at_most_one_in_twenty_steps_down(kind: str) -> None:
    """1,000 routes over all kinds, 300 observations each, the test asked after every one."""
    assert sum(stopped(NO_EFFECT[kind], seed, 300) is not None for seed in range(200)) <= 10


@pytest.mark.parametrize("kind", AT_THE_MARGIN)
def test_no_more_do_so_with_an_effect_of_the_margin_itself(kind: str) -> None:
    assert sum(stopped(AT_THE_MARGIN[kind], seed, 400) is not None for seed in range(250)) <= 12


def test_a_mean_that_grows_with_what_came_before_does_not_fool_it() -> None:
    """Observations depend on each other: long runs of one kind, none of whose means is above the margin."""

    def false_alarm(seed: int) -> bool:
        chance, evidence = random.Random(seed), Evidence()
        for _ in range(30):
            spread = chance.choice([0.1, 0.9])
            for _ in range(10):
                evidence = observed(evidence, MARGIN + chance.choice([-spread, spread]), MARGIN)
                if evidence.rejects(CONFIDENCE):
                    return True
        return False

    assert sum(false_alarm(seed) for seed in range(300)) <= 15


@pytest.mark.parametrize("points", [15, 25, 50])
@pytest.mark.parametrize("kind", ["words", "calls", "answers"])
def test_an_effect_is_found_within_the_expected_number_of_samples(kind: str, points: int) -> None:
    effect = points / 100
    draw = {
        "words": among_three(words(0.6 - effect), words(0.6)),
        "calls": among_three(same(0.9 - effect), same(0.9)),
        "answers": answers(effect * 1.2),
    }[kind]
    usual = [draw(chance) for chance in [random.Random(-1)] for _ in range(4000)]
    expected = expected_samples(usual, MARGIN, CONFIDENCE)
    found = [stopped(draw, seed, 2000) or inf for seed in range(100)]
    mean = sum(found) / len(found)
    assert 0.4 * expected < mean < 1.1 * expected
    assert mean < 300


def test_harm_that_begins_late_is_found_nearly_as_soon() -> None:
    """After 2,000 good samples it takes a few times as long as from the start; the gamblers of the start alone would
    need 20 times as long."""
    good, bad = among_three(words(0.6), words(0.6)), among_three(words(0.35), words(0.6))
    found = []
    for seed in range(8):
        chance, evidence, late = random.Random(seed), Evidence(), 0
        for _ in range(2000):
            evidence = observed(evidence, good(chance), MARGIN)
        while not evidence.rejects(CONFIDENCE):
            evidence, late = observed(evidence, bad(chance), MARGIN), late + 1
        found.append(late)
    assert sum(found) / len(found) < 160


def test_new_gamblers_never_make_more_of_the_stake_than_there_was() -> None:
    """Where every bet is a draw the wealth stays 1, through all restarts."""
    evidence = Evidence()
    for _ in range(1000):
        evidence = observed(evidence, MARGIN, MARGIN)
        assert evidence.log_wealth == pytest.approx(0, abs=1e-9)


def test_late_starts_raise_no_false_alarm() -> None:
    """Long series, of an effect of the margin itself: 1,500 observations, the test asked after every one."""
    draw = AT_THE_MARGIN["mostly nothing"]
    assert sum(stopped(draw, seed, 1500) is not None for seed in range(200)) <= 10


def test_without_an_effect_no_number_of_samples_is_enough() -> None:
    assert isinf(expected_samples([0.05, -0.05, 0.1, 0.0], MARGIN, CONFIDENCE))
    assert expected_samples([0.5], MARGIN, 0.99) > expected_samples([0.5], MARGIN, 0.95)


def test_the_interval_holds_the_mean_at_every_moment() -> None:
    """In at least 95 % of the series; at the end it has become narrow."""
    missed, widths = 0, []
    for seed in range(300):
        chance = random.Random(seed)
        draws = [0.1 + chance.choice([-0.3, 0.0, 0.3]) for _ in range(300)]
        intervals = [e.interval() for e in accumulate(draws, lambda e, d: observed(e, d, MARGIN), initial=Evidence())]
        missed += not all(low <= 0.1 <= high for low, high in intervals)
        widths.append(intervals[-1][1] - intervals[-1][0])
    assert missed <= 15
    assert max(widths) < 0.2


def test_nothing_is_known_before_the_first_observation() -> None:
    assert (Evidence().mean, Evidence().interval(), Evidence().log_wealth) == (None, (-1.0, 1.0), 0.0)
    assert not Evidence().rejects(0.5)


@pytest.mark.parametrize("d", [1.01, -1.01, float("nan"), inf])
def test_an_observation_out_of_range_is_refused(d: float) -> None:
    with pytest.raises(ValueError, match="allowed: -1 to 1"):
        observed(Evidence(), d, MARGIN)
