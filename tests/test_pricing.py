"""Prices by model, what they make of usage, and overrides from the configuration."""

from datetime import date

import pytest

from policies.tables import Complaint
from proxy.pricing import Price, Prices, known, name, parse_overrides, price
from proxy.savings import Bill, Measured, Money, Outcome, Usage

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
    measured = Measured(Outcome.COMPRESSED, model="local", tokens_before=9, tokens_after=1)
    assert Prices({"local": own}).money(measured, None).gross == 0


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
        (Usage(5, 5, 4, 2), None),
    ],
)
def test_the_cost_counts_cached_and_written_tokens_at_their_own_price(usage: Usage, usd: float | None) -> None:
    assert PRICE.bill(usage).total == (usd if usd is None else pytest.approx(usd))


def test_where_caching_is_not_priced_apart_its_counts_do_not_matter() -> None:
    assert Price(2.0, output=8.0).bill(Usage(1_000_000, 1_000_000, None, None)).total == 10.0
    assert Price(2.0, output=8.0).bill(Usage(1_000_000, 1_000_000, 900_000, None)).total == 10.0
    assert Price(2.0).bill(Usage(1, 1, 0, 0)).total is None


def test_a_bill_has_its_parts() -> None:
    bill = PRICE.bill(Usage(1_000_000, 100_000, 500_000, 200_000))
    assert (bill.uncached, bill.cached, bill.written, bill.output) == pytest.approx((1.2, 0.2, 1.0, 2.0))
    assert (bill.input, bill.total) == pytest.approx((2.4, 4.4))
    assert PRICE.bill(Usage(None, 100_000)) == Bill(output=2.0)


def test_saved_is_what_was_removed_at_the_price_of_uncached_input() -> None:
    measured = Measured(Outcome.COMPRESSED, model="gpt-5.6", tokens_before=1_500_000, tokens_after=500_000)
    assert Prices().money(measured, None).gross == 4.0
    assert Prices({"gpt-5.6": Price(1.0)}).money(measured, None).gross == 1.0


REMOVED = Measured(
    Outcome.COMPRESSED,
    model="m",
    tokens_before=1_500_000,
    tokens_after=500_000,
    stages=(("queue", 900.0), ("parse", 500.0), ("compress", 1500.0)),
)


@pytest.mark.parametrize(
    ("usage", "net"),
    [
        (Usage(10, 5, 0, 0), 4.0),
        (Usage(10, 5, 10, 0), 0.4),
        (Usage(10, 5, 0, 10), 5.0),
        (Usage(10, 5, 5, 4), 0.1 * 4.0 + 0.5 * 0.4 + 0.4 * 5.0),
        (Usage(10, None, 0, 0), 4.0),
        (Usage(0, 5, 0, 0), None),
        (Usage(10, 5, None, 0), None),
        (None, None),
    ],
)
def test_net_is_what_was_removed_at_the_mix_of_prices_of_the_requests_own_input(
    usage: Usage | None, net: float | None
) -> None:
    """A million tokens were removed, and two seconds of compressing cost a hundredth of a dollar; waiting is free."""
    money = Prices({"m": PRICE}, usd_per_second=0.005).money(REMOVED, usage)
    assert money.gross == 4.0
    assert money.compressor == pytest.approx(0.01)
    assert money.net == (None if net is None else pytest.approx(net - 0.01))


def test_the_answer_names_the_model_of_a_request_that_was_not_read() -> None:
    unread, read = Measured(Outcome.BYPASSED), Measured(Outcome.UNTOUCHED, model="nobody-knows")
    usage = Usage(1_000_000, 0, 0, 0, "gpt-5.6-2026-03-01")
    assert Prices().money(unread, usage).bill.total == 4.0
    assert Prices().money(read, usage).bill.total is None, "what was asked for goes before what is answered"


def test_what_compressing_for_nothing_cost_is_a_loss_that_is_known_without_a_usage() -> None:
    measured = Measured(Outcome.UNTOUCHED, model="nobody-knows", stages=(("parse", 1000.0),))
    assert Prices(usd_per_second=0.25).money(measured, None) == Money(0.0, -0.25, 0.25)
    assert Prices(usd_per_second=0.25).money(Measured(Outcome.PASSED), None) == Money(0.0, 0.0, None)


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
    assert Prices().money(measured, None).gross == usd


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
