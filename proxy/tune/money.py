"""What a shorter request saves, at the prices that its tokens were billed at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.cachesafe import Market
from proxy.economy import market
from proxy.pricing import Price, price
from proxy.savings import Usage
from proxy.tune import TuneError
from proxy.tune.traffic import Recorded


@dataclass(frozen=True, slots=True)
class Saved:
    """USD for 1,000 requests. `gross`: the tokens that went; `net`: less what compressing took; `tokens`: share that
    went; `seconds`: of compressing, a request."""

    gross: float
    net: float
    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Rates:
    """USD for an input token of each request, and the market that its steps are settled in. `guessed`: how many of
    them have no usage that says what was cached."""

    prices: tuple[float, ...]
    markets: tuple[Market, ...]
    guessed: int
    usd_per_second: float

    def saved(self, requests: Sequence[Recorded], removed: Sequence[int], seconds: Sequence[float]) -> Saved:
        """`removed` tokens of each request, and the `seconds` that took."""
        thousand = 1000 / len(requests)
        gross = sum(n * usd for n, usd in zip(removed, self.prices, strict=True)) * thousand
        return Saved(
            gross=gross,
            net=gross - sum(seconds) * self.usd_per_second * thousand,
            tokens=sum(removed) / max(1, sum(request.tokens for request in requests)),
            seconds=sum(seconds) / len(requests),
        )


def rates(requests: Sequence[Recorded], overrides: Mapping[str, Price], usd_per_second: float) -> Rates:
    """Removed tokens are taken to be cached, written to the cache and new in the shares of the whole request, as its
    usage says; where it does not, all are new. Raises `TuneError` where a model has no price."""
    prices, markets = [], []
    shares = _shares(requests)
    for request in requests:
        found = price(request.model, overrides)
        if found is None:
            raise TuneError(
                f"no price is known for the model {request.model!r}: name one that has with --model, "
                "or give a price in the [prices] of --config"
            )
        prices.append(blended(found, request.usage))
        markets.append(market(found, shares[request.route, request.model], usd_per_second))
    guessed = sum(not _known(request.usage) for request in requests)
    return Rates(tuple(prices), tuple(markets), guessed, usd_per_second)


def _shares(requests: Sequence[Recorded]) -> dict[tuple[str, str], float]:
    """Of the input that was billed for a model on a route, the share that was cached; 0 where nobody said."""
    billed: Counter[tuple[str, str]] = Counter()
    cached: Counter[tuple[str, str]] = Counter()
    for request in requests:
        place, usage = (request.route, request.model), request.usage
        cached[place] += 0
        if usage and usage.input and usage.cached is not None:
            billed[place] += usage.input
            cached[place] += min(usage.cached, usage.input)
    return {place: tokens / max(1, billed[place]) for place, tokens in cached.items()}


def blended(of: Price, usage: Usage | None) -> float:
    """USD for one input token at the mix of cached, written and new input that was billed."""
    each = of.input
    if usage is not None and usage.input:
        for tokens, rate in ((usage.cached, of.cached), (usage.cache_write, of.cache_write)):
            if tokens and rate is not None:
                each += min(1.0, tokens / usage.input) * (rate - of.input)
    return each / 1_000_000


def _known(usage: Usage | None) -> bool:
    return usage is not None and bool(usage.input) and usage.cached is not None
