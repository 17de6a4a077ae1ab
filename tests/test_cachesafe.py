"""Which steps are worth their price to somebody whose provider keeps prefixes, and that they stay decided."""

from dataclasses import replace

import pytest

from compressors.base import Budget, Rate, Threshold, Tokens
from policies.base import Kind, Plan, Segment, Step
from policies.budget import LOSSLESS
from policies.cachesafe import (
    COSTS,
    EARLIER,
    LIKELY,
    SHARED,
    SMALL,
    Form,
    Market,
    Sight,
    decided,
    expected,
    settle,
    worth,
)

GPT_5 = Market(usd=1.25e-6, cached=0.1)
GPT_41 = Market(usd=2e-6, cached=0.25)
GPT_4O = Market(usd=2.5e-6, cached=0.5)
GPT_56 = Market(usd=4e-6, cached=0.1, written=1.25)
LINES = (GPT_5, GPT_41, GPT_4O, GPT_56)
SEGMENT = Segment(0, 0, None, 0, 10, Kind.CONTEXT, "user", "ten points", tokens=1000, may_change=((0, 10),))
STEP = Step(0, 0, 10, (0,), "lexical", Rate(0.5), "why?", recognise=True)
PLAN = Plan((STEP,), ("planned",))


def said(sight: Sight, market: Market = GPT_5, step: Step = STEP) -> str:
    return settle(Plan((step,), ("",)), [SEGMENT], {step: sight}, market).reasons[0]


@pytest.mark.parametrize("market", LINES)
def test_what_comes_once_is_always_worth_it(market: Market) -> None:
    assert said(Sight(), market) == ""
    assert said(Sight(before=5000), market) == ""


@pytest.mark.parametrize(("market", "rate"), [(GPT_5, 0.1), (GPT_41, 0.25), (GPT_4O, 0.5), (GPT_56, 0.08)])
def test_what_a_provider_keeps_is_worth_it_only_below_its_discount(market: Market, rate: float) -> None:
    """Below a keep rate of the cached price, over the price of writing where there is one."""
    for change, reason in ((-0.01, ""), (0.01, SHARED)):
        assert said(Sight(cached=True, before=5000), market, replace(STEP, budget=Rate(rate + change))) == reason
    assert said(Sight(cached=True), market, replace(STEP, budget=Rate(0.9))) == ""  # too short to be kept


def test_the_more_often_texts_come_again_the_less_a_step_is_worth() -> None:
    values = [worth(1000, 500, Sight(others=others / 10, before=5000), GPT_5) for others in range(15)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 500
    assert values[10] == values[14] == pytest.approx(1000 * 0.1 - 500)


def test_later_turns_are_worth_what_they_cost_cached() -> None:
    assert worth(1000, 500, Sight(later=4, at_most=9, before=5000), GPT_5) == pytest.approx(500 + 4 * 0.1 * 500)


def test_a_form_too_short_to_be_cached_costs_its_discount_in_every_later_turn() -> None:
    sight = Sight(later=1, at_most=3, before=400)
    assert worth(1000, 500, sight, GPT_5) == pytest.approx(500 + 3 * (100 - 500 - 400 * 0.9))
    assert said(sight) == LIKELY
    assert said(replace(sight, later=0, at_most=0)) == ""


@pytest.mark.parametrize(("market", "tokens"), [(GPT_5, 102), (GPT_41, 256), (GPT_4O, 512)])
def test_a_conversation_that_grows_is_left_to_reach_the_smallest_prefix(market: Market, tokens: int) -> None:
    for budget in (LOSSLESS, Rate(0.5)):
        growing, step = Sight(growing=True), replace(STEP, budget=budget)
        sized = [[replace(SEGMENT, tokens=n)] for n in (tokens - 1, tokens + 1)]
        assert [decided(step, one, growing, market) for one in sized] == ["" if budget == LOSSLESS else None, SMALL]
        assert said(replace(growing, before=5000), market, step) == ""


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("market", LINES)
def test_what_was_decided_stays_decided(answered: bool, cached: bool, market: Market) -> None:
    dear = replace(market, usd_per_second=1000.0)
    assert said(Sight(Form.SHORT, answered, cached, 9.0, before=5000, seconds=1.0), dear) == ""
    assert said(Sight(Form.WHOLE, answered, cached, before=5000), market) == EARLIER


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
    assert said(Sight(cached=True, before=5000, seconds=1.0), dear, lossless) == ""
    assert said(Sight(Form.MISSED, answered=True), dear, lossless) == EARLIER


def test_new_steps_of_one_text_are_decided_together() -> None:
    """The first alone would be too short for any cache; but what follows would be lost to it."""
    first, second = replace(STEP, segments=(0,)), replace(STEP, start=20, end=30, segments=(1,))
    segments = [replace(SEGMENT, tokens=500), replace(SEGMENT, start=20, end=30, tokens=3000)]
    sights = {first: Sight(cached=True), second: Sight(cached=True, before=500)}
    assert settle(Plan((first,), ("", "")), segments, sights).steps == (first,)
    assert settle(Plan((first, second), ("", "")), segments, sights).reasons == (SHARED, SHARED)
    elsewhere = replace(second, field=1)
    both = settle(Plan((first, elsewhere), ("", "")), segments, {first: sights[first], elsewhere: sights[second]})
    assert both.steps == (first,)


def test_a_step_that_is_left_says_why() -> None:
    settled = settle(PLAN, [SEGMENT], {STEP: Sight(cached=True, before=5000)})
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
