"""Prices by model, what they make of usage, and overrides from the configuration."""

from datetime import date

import pytest

from policies.tables import Complaint
from proxy.pricing import Price, known, name, parse_overrides, price, saved_usd
from proxy.savings import Measured, Outcome, Usage

PRICE = Price(input=4.0, cached=0.4, cache_write=5.0, output=20.0)


def test_every_entry_says_where_and_when_it_was_read() -> None:
    for model, entry in known().items():
        assert entry.source, model
        assert date(2026, 1, 1) < date.fromisoformat(entry.date), model
        assert entry.input > 0, model
        assert entry.output is not None, model
        assert entry.cached is None or entry.cached < entry.input, model
        assert entry.cache_write is None or entry.cache_write > entry.input, model


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("openrouter/openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("gpt-4o-mini-audio", None),
        ("ft:gpt-4o:acme::AbC1", None),
        ("", None),
    ],
)
def test_a_model_is_priced_by_its_name_without_date_and_provider(model: str, listed: str | None) -> None:
    assert name(model, {}) == listed
    assert price(model, {}) == (known()[listed] if listed else None)


def test_the_configuration_goes_before_our_list_but_not_before_a_nearer_name() -> None:
    own = Price(1.0)
    assert price("gpt-4o", {"gpt-4o": own}) is own
    assert price("gpt-4o-2024-11-20", {"gpt-4o": own}) is own
    assert price("gpt-4o-2024-05-13", {"gpt-4o": own}) == known()["gpt-4o-2024-05-13"]
    assert price("azure/gpt-4o", {"azure/gpt-4o": own}) is own
    assert price("llama-3", {"gpt-4o": own}) is None


def test_a_free_model_is_priced() -> None:
    own = Price(0.0)
    assert price("local", {"local": own}) is own
    assert saved_usd(Measured(Outcome.COMPRESSED, model="local", tokens_before=9, tokens_after=1), {"local": own}) == 0


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(1_000_000, 0, 0, 0), 4.0),
        (Usage(1_000_000, 500_000, 0, 0), 14.0),
        (Usage(1_000_000, 0, 1_000_000, 0), 0.4),
        (Usage(1_000_000, 0, 600_000, 400_000), 2.24),
        (Usage(None, 5, 0, 0), None),
        (Usage(5, None, 0, 0), None),
        (Usage(5, 5, None, 0), None),
        (Usage(5, 5, 0, None), None),
    ],
)
def test_the_cost_counts_cached_and_written_tokens_at_their_own_price(usage: Usage, usd: float | None) -> None:
    assert PRICE.cost(usage) == (usd if usd is None else pytest.approx(usd))


def test_where_caching_is_not_priced_apart_its_counts_do_not_matter() -> None:
    assert Price(2.0, output=8.0).cost(Usage(1_000_000, 1_000_000, None, None)) == 10.0
    assert Price(2.0, output=8.0).cost(Usage(1_000_000, 1_000_000, 900_000, None)) == 10.0
    assert Price(2.0).cost(Usage(1, 1, 0, 0)) is None


def test_saved_is_what_was_removed_at_the_price_of_uncached_input() -> None:
    measured = Measured(Outcome.COMPRESSED, model="gpt-5.6", tokens_before=1_500_000, tokens_after=500_000)
    assert saved_usd(measured, {}) == 4.0
    assert saved_usd(measured, {"gpt-5.6": Price(1.0)}) == 1.0


@pytest.mark.parametrize(
    ("measured", "usd"),
    [
        (Measured(Outcome.COMPRESSED, model="nobody-knows", tokens_before=10, tokens_after=5), None),
        (Measured(Outcome.COMPRESSED, model="gpt-4o"), None),
        (Measured(Outcome.AUDITED, model="gpt-4o", tokens_before=10, tokens_after=5), 0.0),
        (Measured(Outcome.FAILED_OPEN, model="nobody-knows"), 0.0),
        (Measured(Outcome.PASSED), 0.0),
    ],
)
def test_unknown_is_none_and_an_original_that_went_upstream_saved_nothing(
    measured: Measured, usd: float | None
) -> None:
    assert saved_usd(measured, {}) == usd


def test_overrides_are_read_from_the_configuration() -> None:
    complaints: list[Complaint] = []
    found = parse_overrides({"gpt-4o": {"input": 2}, "m": {"input": 1.5, "cached": 0, "output": 3}}, complaints)
    assert found["gpt-4o"] == Price(2.0, source="configuration")
    assert found["m"] == Price(1.5, 0.0, None, 3.0, "configuration")
    assert not complaints


@pytest.mark.parametrize(
    ("table", "path", "message", "allowed"),
    [
        ({"inputs": 1.0, "input": 1}, ("inputs",), "no key is called 'inputs'; did you mean 'input'?", "cache_write"),
        ({"input": "cheap"}, ("input",), "this string is out of place", "USD per 1 million tokens, 0 or more"),
        ({"input": -1}, ("input",), "-1 is out of place", "USD per 1 million tokens, 0 or more"),
        ({"output": 1}, ("input",), "is missing", "USD per 1 million tokens, 0 or more"),
        ({"input": 1, "cached": -2}, ("cached",), "-2 is out of place", "USD per 1 million tokens, 0 or more"),
        (2.0, (), "is not a table", "a table of input, cached, cache_write, output"),
    ],
)
def test_a_wrong_override_is_told_with_its_key_and_what_is_allowed(
    table: object, path: tuple[str, ...], message: str, allowed: str
) -> None:
    complaints: list[Complaint] = []
    parse_overrides({"gpt-4o": table}, complaints)
    (complaint,) = complaints
    assert (complaint.path, complaint.message) == (("prices", "gpt-4o", *path), message)
    assert allowed in complaint.allowed
