"""What a model's tokens cost at list price. A model that nobody has priced is None, "unpriced", and never 0."""

import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated

from msgspec import Meta, Struct

from policies.tables import Complaint, read
from proxy.savings import Bill, Measured, Money, Outcome, Usage

_MILLION = 1_000_000
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per 1 million tokens. `cached` and `cache_write` None: such tokens cost what other input costs; `output`
    None: not known. `source` and `date` say where the figures were read, and when."""

    input: float
    cached: float | None = None
    cache_write: float | None = None
    output: float | None = None
    source: str = ""
    date: str = ""

    def saved(self, tokens: int) -> float:
        """USD that this many input tokens would have cost, had none of them been cached."""
        return tokens * self.input / _MILLION

    def cost(self, usage: Usage) -> float | None:
        """USD for what the upstream says it billed; None where a count or a price that matters is not known."""
        return self.bill(usage).total

    def bill(self, usage: Usage) -> Bill:
        """The same by kind of token.

        Cached and written tokens are taken to be among `usage.input`, as OpenAI reports them; where they are more than
        that, the input's cost is unknown. Tokens without a price apart are among the uncached ones."""
        output = None if usage.output is None or self.output is None else usage.output * self.output / _MILLION
        cached = 0 if self.cached is None else usage.cached
        written = 0 if self.cache_write is None else usage.cache_write
        if usage.input is None or cached is None or written is None or cached + written > usage.input:
            return Bill(output=output)
        return Bill(
            (usage.input - cached - written) * self.input / _MILLION,
            cached * (self.cached or 0) / _MILLION,
            written * (self.cache_write or 0) / _MILLION,
            output,
        )


Dollars = Annotated[float, Meta(ge=0, title="USD per 1 million tokens, 0 or more")]


class PriceTable(Struct):
    """`[prices."MODEL"]` in the configuration: takes the place of all that we know of the model."""

    input: Annotated[Dollars, Meta(description="input that the provider had not cached")]
    cached: Annotated[Dollars | None, Meta(description="input read from the provider's cache")] = None
    cache_write: Annotated[Dollars | None, Meta(description="input written to the provider's cache")] = None
    output: Annotated[Dollars | None, Meta(description="output")] = None


def parse_overrides(tables: Mapping[str, object], complaints: list[Complaint]) -> dict[str, Price]:
    """The `[prices]` tables of a configuration. What is wrong with them goes to `complaints`."""
    prices: dict[str, Price] = {}
    for model, table in tables.items():
        found = read(PriceTable, table, ("prices", model), complaints)
        if found is not None:
            prices[model] = Price(found.input, found.cached, found.cache_write, found.output, "configuration")
    return prices


@cache
def known() -> Mapping[str, Price]:
    """The prices on board, by model."""
    entries = tomllib.loads(files("proxy").joinpath("prices.toml").read_text("utf-8"))
    return {model: Price(**(entry | {"date": entry["date"].isoformat()})) for model, entry in entries.items()}


def name(model: str, overrides: Container[str]) -> str | None:
    """The name under which a model is priced: its own, or without a date, or without a provider; None: unpriced."""
    listed = known()
    return next((n for n in _names(model) if n in overrides or n in listed), None)


def price(model: str, overrides: Mapping[str, Price]) -> Price | None:
    """The price of a model, by the configuration before ours. None: unpriced."""
    found = name(model, overrides)
    return None if found is None else overrides.get(found) or known()[found]


@dataclass(frozen=True, slots=True)
class Prices:
    """What requests cost and save: `overrides` go before the prices on board; `usd_per_second` of compressing."""

    overrides: Mapping[str, Price] = field(default_factory=dict)
    usd_per_second: float = 0.0

    def money(self, measured: Measured, usage: Usage | None) -> Money:
        """All that is known of one request's money. An original that went upstream saved nothing, and that is known."""
        model = measured.model or (usage.model if usage else "")  # of a body that was not read, the answer tells
        found = price(model, self.overrides) if model else None
        bill = found.bill(usage) if found and usage else Bill()
        seconds = measured.computing_seconds
        compressor = None if seconds is None else seconds * self.usd_per_second
        gross: float | None = 0.0
        mixed: float | None = 0.0
        if measured.outcome is Outcome.COMPRESSED:
            removed = _removed(measured)
            gross = None if found is None or removed is None else found.saved(removed)
            mixed = None if removed is None else own_mix(removed, bill, usage)
        return Money(gross, None if mixed is None else mixed - (compressor or 0.0), compressor, bill)


def own_mix(tokens: int, bill: Bill, usage: Usage | None) -> float | None:
    """USD that this many tokens more would have cost, had they been cached, written and neither in the proportions in
    which the request's own input was. None where the upstream did not say, or billed no input."""
    if bill.input is None or usage is None or not usage.input:
        return None
    return tokens * bill.input / usage.input


def _removed(measured: Measured) -> int | None:
    if measured.tokens_before is None or measured.tokens_after is None:
        return None
    return measured.tokens_before - measured.tokens_after


def _names(model: str) -> Iterator[str]:
    yield model
    yield _DATE.sub("", model)
    bare = model.rpartition("/")[2]
    yield bare
    yield _DATE.sub("", bare)
