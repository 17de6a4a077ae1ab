"""What input costs on each route: prices of its models, and the share of it that was billed as cached of late."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from policies.cachesafe import Market
from proxy.pricing import Price, name, parse_overrides, price
from proxy.savings import Savings
from proxy.settings import Settings

_WINDOW = 2_000_000  # billed tokens, then what was counted is halved: what a route does may change


@dataclass(slots=True)
class _Billed:
    input: float = 0.0
    cached: float = 0.0


class Economy:
    """A meter that is asked, too. `current` gives the settings in force."""

    def __init__(self, current: Callable[[], Settings]) -> None:
        self._current = current
        self._billed: dict[tuple[str, str], _Billed] = {}
        self._lock = threading.Lock()
        self._read: tuple[Settings, dict[str, Price]] | None = None

    def record(self, savings: Savings) -> None:
        usage = savings.usage
        if usage is None or usage.input is None or usage.cached is None:
            return
        with self._lock:
            billed = self._billed.setdefault(self._key(savings.route, savings.measured.model), _Billed())
            billed.input += usage.input
            billed.cached += min(usage.cached, usage.input)
            if billed.input > _WINDOW:
                billed.input, billed.cached = billed.input / 2, billed.cached / 2

    def market(self, route: str, model: str) -> Market:
        """For a model without a price: what is assumed of it."""
        settings = self._current()
        with self._lock:
            billed = self._billed.get(self._key(route, model), _Billed())
            share = billed.cached / billed.input if billed.input else 0.0
        found = price(model, self._prices(settings))
        return market(found, share, settings.compression.usd_per_second)

    def _prices(self, settings: Settings) -> dict[str, Price]:
        """Of the configuration, read once."""
        read = self._read
        if read is None or read[0] is not settings:
            read = self._read = settings, parse_overrides(settings.prices, [])
        return read[1]

    def _key(self, route: str, model: str) -> tuple[str, str]:
        """Callers may name any model: those without a price are counted as one."""
        return route, name(model, self._current().prices) or ""


def market(of: Price | None, cached_share: float, usd_per_second: float) -> Market:
    """Of a model without a price what is assumed of it."""
    if of is None or not of.input:
        return Market(cached_share=cached_share)
    return Market(
        usd=of.input / 1_000_000,
        cached=(of.input if of.cached is None else of.cached) / of.input,
        written=(of.input if of.cache_write is None else of.cache_write) / of.input,
        cached_share=cached_share,
        usd_per_second=usd_per_second,
    )
