"""Which steps are worth their price to somebody whose provider keeps prefixes, and that they stay decided."""

from dataclasses import replace

import pytest

from compressors.base import Budget, Rate, Threshold, Tokens
from policies.base import Kind, Plan, Segment, Step
from policies.budget import LOSSLESS
from policies.cachesafe import COSTS, EARLIER, SHARED, Form, Market, Sight, expected, settle, verdict, worth

GPT_5 = Market(usd=1.25e-6, cached=0.1)
GPT_41 = Market(usd=2e-6, cached=0.25)
GPT_4O = Market(usd=2.5e-6, cached=0.5)
GPT_56 = Market(usd=4e-6, cached=0.1, written=1.25)
LINES = (GPT_5, GPT_41, GPT_4O, GPT_56)
SEGMENT = Segment(0, 0, None, 0, 10, Kind.CONTEXT, "user", "ten points", tokens=1000, may_change=((0, 10),))
STEP = Step(0, 0, 10, (0,), "lexical", Rate(0.5), "why?", recognise=True)
PLAN = Plan((STEP,), ("planned",))


def said(sight: Sight, market: Market = GPT_5, step: Step = STEP) -> str:
    return verdict(step, [SEGMENT], sight, market)


@pytest.mark.parametrize("market", LINES)
def test_what_nobody_has_seen_is_always_worth_it(market: Market) -> None:
    assert said(Sight(), market) == ""


@pytest.mark.parametrize(("market", "rate"), [(GPT_5, 0.1), (GPT_41, 0.25), (GPT_4O, 0.5), (GPT_56, 0.08)])
def test_what_a_provider_keeps_is_worth_it_only_below_its_discount(market: Market, rate: float) -> None:
    """Below a keep rate of the cached price, over the price of writing where there is one."""
    for change, reason in ((-0.01, ""), (0.01, SHARED)):
        assert said(Sight(again=1.0), market, replace(STEP, budget=Rate(rate + change))) == reason


def test_the_more_often_texts_come_again_the_less_a_step_is_worth() -> None:
    values = [worth(1000, 500, again / 10, GPT_5) for again in range(11)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 500
    assert values[10] == pytest.approx(1000 * 0.1 - 500)


def test_steps_that_are_not_to_be_recognised_are_taken_all_the_same() -> None:
    assert said(Sight(again=1.0), step=replace(STEP, recognise=False)) == ""


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("again", [0.0, 1.0])
@pytest.mark.parametrize("market", LINES)
def test_what_was_decided_stays_decided(answered: bool, again: float, market: Market) -> None:
    dear = replace(market, usd_per_second=1000.0)
    assert said(Sight(Form.SHORT, answered, again, 1.0), dear) == ""
    assert said(Sight(Form.WHOLE, answered, again), market) == EARLIER


def test_what_left_whole_by_accident_is_shortened_until_it_is_answered() -> None:
    assert said(Sight(Form.MISSED)) == ""
    assert said(Sight(Form.MISSED, answered=True)) == EARLIER


def test_a_step_that_costs_more_seconds_than_tokens_is_left() -> None:
    market = replace(GPT_5, usd_per_second=0.001)  # 500 tokens are 0.000625 USD
    assert said(Sight(seconds=0.6), market) == ""
    assert said(Sight(seconds=0.7), market) == COSTS
    assert said(Sight(seconds=0.7), replace(market, usd=None)) == ""


def test_tokens_of_earlier_turns_are_worth_what_the_route_is_billed_for_them() -> None:
    market = replace(GPT_5, usd_per_second=0.001)
    late = Sight(answered=True, seconds=0.5)
    assert said(late, market) == ""
    assert said(late, replace(market, cached_share=0.9)) == COSTS


def test_lossless_steps_are_left_only_where_they_were_missed() -> None:
    lossless, dear = replace(STEP, budget=LOSSLESS), replace(GPT_5, usd_per_second=1000.0)
    assert said(Sight(again=1.0, seconds=1.0), dear, lossless) == ""
    assert said(Sight(Form.MISSED, answered=True), dear, lossless) == EARLIER


def test_a_step_that_is_left_says_why() -> None:
    settled = settle(PLAN, [SEGMENT], {STEP: Sight(again=1.0)})
    assert (settled.steps, settled.reasons) == ((), (SHARED,))
    assert settle(PLAN, [SEGMENT], {}) == PLAN


@pytest.mark.parametrize("form", [None, *Form])
def test_a_pinned_step_is_taken_only_where_it_was_taken_before(form: Form | None) -> None:
    settled = settle(Plan((), ("cache-pinned",), (STEP,)), [SEGMENT], {STEP: Sight(form)})
    assert settled.steps == ((STEP,) if form is Form.SHORT else ())
    assert settled.reasons == ("planned" if form is Form.SHORT else "cache-pinned",)


@pytest.mark.parametrize(
    ("budget", "kept"), [(Rate(0.3), 30), (Tokens(70), 70), (Tokens(200), 100), (Threshold(0.5), 50)]
)
def test_what_a_budget_is_expected_to_keep(budget: Budget, kept: int) -> None:
    assert expected(budget, 100) == kept
