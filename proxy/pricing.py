"""What a model's tokens cost at list price. A model that nobody has priced is None, "unpriced", and never 0."""

import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

from msgspec import Meta, Struct

from policies.tables import Complaint, read
from proxy.savings import Measured, Outcome, Usage

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
        """USD for what the upstream says it billed; None where a count or a price that matters is not known.

        Cached and written tokens are taken to be among `usage.input`, as OpenAI reports them."""
        if usage.input is None or usage.output is None or self.output is None:
            return None
        total = usage.input * self.input + usage.output * self.output
        for tokens, price in ((usage.cached, self.cached), (usage.cache_write, self.cache_write)):
            if price is None:
                continue
            if tokens is None:
                return None
            total += tokens * (price - self.input)
        return total / _MILLION


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


def saved_usd(measured: Measured, overrides: Mapping[str, Price]) -> float | None:
    """An estimate: the tokens that did not go upstream, at the list price of uncached input. 0 where all went; None
    where the model is unpriced or the tokens were not counted."""
    if measured.outcome is not Outcome.COMPRESSED:
        return 0.0
    if measured.tokens_before is None or measured.tokens_after is None:
        return None
    found = price(measured.model, overrides)
    return None if found is None else found.saved(measured.tokens_before - measured.tokens_after)


def _names(model: str) -> Iterator[str]:
    yield model
    yield _DATE.sub("", model)
    bare = model.rpartition("/")[2]
    yield bare
    yield _DATE.sub("", bare)
