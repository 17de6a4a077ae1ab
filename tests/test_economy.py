"""What input costs on a route: list prices, and the share that was billed as cached of late."""

from dataclasses import replace

import pytest

from policies.cachesafe import Market
from policies.presets import PRESETS
from proxy.economy import Economy
from proxy.savings import Measured, Outcome, Savings, Usage
from proxy.settings import Compression, Settings

SETTINGS = Settings({}, (), PRESETS)


def told(route: str, model: str, usage: Usage | None) -> Savings:
    measured = Measured(Outcome.COMPRESSED, model=model)
    return Savings("1", 0.0, route, "balanced", "openai", False, measured, 200, usage)


def test_prices_are_multiples_of_uncached_input() -> None:
    economy = Economy(lambda: replace(SETTINGS, compression=Compression(usd_per_second=0.5)))
    assert economy.market("default", "gpt-5") == Market(1.25e-6, 0.1, 1.0, 0.0, 0.5)
    assert economy.market("default", "gpt-5.6").written == 1.25


def test_prices_of_the_configuration_come_first() -> None:
    own = {"gpt-5": {"input": 10.0, "cached": 4.0}}
    assert Economy(lambda: replace(SETTINGS, prices=own)).market("default", "gpt-5") == Market(1e-5, 0.4)


def test_a_model_without_a_price_has_the_steepest_discount_that_is_known() -> None:
    assert Economy(lambda: SETTINGS).market("default", "mine") == Market()


def test_the_cached_share_is_that_of_the_route_and_the_model() -> None:
    economy = Economy(lambda: SETTINGS)
    economy.record(told("a", "gpt-5", Usage(1000, 10, 600)))
    economy.record(told("a", "gpt-5", Usage(1000, 10, 0)))
    economy.record(told("b", "gpt-5", Usage(1000, 10, 1000)))
    for unknown in (None, Usage(1000), Usage(cached=5)):
        economy.record(told("a", "gpt-5", unknown))
    shares = [economy.market(*place).cached_share for place in (("a", "gpt-5"), ("b", "gpt-5"), ("a", "gpt-4o"))]
    assert shares == [0.3, 1.0, 0.0]


def test_what_was_billed_of_late_counts_more() -> None:
    economy = Economy(lambda: SETTINGS)
    economy.record(told("a", "gpt-5", Usage(5_000_000, 10, 0)))
    for _ in range(3):
        economy.record(told("a", "gpt-5", Usage(2_000_000, 10, 2_000_000)))
    assert economy.market("a", "gpt-5").cached_share == pytest.approx(0.85, abs=0.05)


def test_models_that_nobody_prices_are_counted_as_one() -> None:
    economy = Economy(lambda: SETTINGS)
    for n in range(100):
        economy.record(told("a", f"invented-{n}", Usage(100, 1, 50)))
    assert economy.market("a", "another").cached_share == 0.5
