"""How many requests are under way, in all and to each upstream, what they hold, when that is too much, and how many
were refused."""

from collections import Counter
from collections.abc import Awaitable, Callable

from proxy.errors import Overloaded, UpstreamSaturated
from proxy.settings import Limits, Upstream

MOST_LINGERING = 200
AGAIN = 1
"""Seconds after which a caller may come again: places are free as soon as an answer ends."""


class InFlight:
    """Counts of one process, for the loop's thread. `refused`: requests that were answered with an error of ours, by
    its code."""

    def __init__(self) -> None:
        self.total = 0
        self.lingering = 0  # clients that still send, though they were refused
        self.held = 0  # bytes of bodies that were read whole
        self.by_upstream: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def check(self, limits: Limits) -> None:
        """Raises `Overloaded`; the request that asks is in the count."""
        if self.total > limits.requests:
            raise Overloaded(f"{limits.requests} requests are under way", retry_after=AGAIN)

    async def linger(self, read: Callable[[], Awaitable[None]]) -> None:
        """Until `read` is through; not at all where too many do."""
        if self.lingering < MOST_LINGERING:
            self.lingering += 1
            try:
                await read()
            finally:
                self.lingering -= 1

    def hold(self, size: int, limits: Limits) -> None:
        """More bytes of a body are in memory. Raises `Overloaded`; they are in the count."""
        self.held += size
        if self.held > limits.held_bytes:
            raise Overloaded(f"the bodies under way take more than {limits.held_bytes} bytes", retry_after=AGAIN)

    def check_upstream(self, upstream: Upstream) -> None:
        """Raises `UpstreamSaturated`."""
        if self.by_upstream[upstream.name] >= upstream.max_concurrent:
            said = f"{upstream.max_concurrent} requests to the upstream {upstream.name!r} are under way"
            raise UpstreamSaturated(said, retry_after=AGAIN)

    def enter(self, upstream: Upstream) -> None:
        """A request is about to be sent. Raises `UpstreamSaturated`, and then it isn't counted."""
        self.check_upstream(upstream)
        self.by_upstream[upstream.name] += 1

    def leave(self, upstream: Upstream) -> None:
        """It was answered, or failed."""
        self.by_upstream[upstream.name] -= 1
