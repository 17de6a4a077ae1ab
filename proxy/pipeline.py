"""The story of one request: parse, segment, plan, compress, verify, splice. The only place that fails open."""

from collections.abc import Iterable
from dataclasses import dataclass

from policies.base import Policy
from proxy.savings import Measured, Outcome
from proxy.settings import Compression


@dataclass(frozen=True, slots=True)
class Prepared:
    """What goes upstream, and what was found out on the way."""

    body: bytes
    measured: Measured


class Pipeline:
    """Runs bodies through their policies on a bounded set of threads."""

    def __init__(self, compression: Compression) -> None:
        self._compression = compression

    async def prepare(self, body: bytes, policy: Policy) -> Prepared:
        """The body to send. Never raises; on any trouble it is the very bytes that came."""
        del policy
        return Prepared(body, Measured(Outcome.UNTOUCHED, "not built yet"))

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Why compressors of these names cannot run, one sentence each; nothing where all can."""
        del names
        return ()

    def close(self) -> None:
        """Drops queued work and ends the threads."""
