"""Asks the upstream for answers to originals, and leaves a route alone for a while where it says that it has enough."""

import logging
from dataclasses import dataclass
from time import monotonic

import httpx

from proxy import upstream
from proxy.errors import UpstreamError
from proxy.guard import originals
from proxy.guard.answers import Answer, read_answer
from proxy.guard.originals import Overloaded, Request
from proxy.guard.witness import Whole
from proxy.pricing import Price
from proxy.transport import Transport

log = logging.getLogger("laconic.guard")


@dataclass(frozen=True, slots=True, repr=False)
class Original:
    """What goes out, at what price, and what it will hardly cost more than (USD)."""

    request: Request
    call: upstream.Call
    price: Price
    estimate: float


def original(price: Price, request: Request, answer: Answer) -> Original:
    """Walks the body: for the guard's thread."""
    return Original(request, originals.call(request), price, originals.estimate(price, request, answer))


class Asker:
    """For the loop's thread; has connections of its own."""

    def __init__(self) -> None:
        self._transport = Transport()
        self._until: dict[str, float] = {}  # by route, when it may be asked again

    def paused(self, route: str) -> bool:
        return monotonic() < self._until.get(route, 0.0)

    async def send(self, one: Original) -> tuple[Whole | None, float]:
        """What the upstream says, None where that is no answer; and USD that are to be counted for it if it cannot be
        read. Nothing is sent while the route is paused."""
        route = one.request.route.name
        if self.paused(route):
            return None, 0.0
        try:
            whole = await originals.send(self._transport, one.request, one.call)
        except Overloaded as error:
            self._until[route] = monotonic() + error.seconds
            log.warning("quality guard of route %r: status %d, paused for %.0f s", route, error.status, error.seconds)
            return None, 0.0
        except (UpstreamError, httpx.TransportError, TimeoutError):
            return None, one.estimate
        return whole, one.estimate if whole else 0.0

    async def aclose(self) -> None:
        await self._transport.aclose()


def read(price: Price, whole: Whole) -> tuple[Answer | None, float | None]:
    """The answer and its price in USD, as far as they can be told. For the guard's thread."""
    answer = read_answer(whole.headers, whole.body)
    return answer, originals.cost(price, answer.usage) if answer else None
