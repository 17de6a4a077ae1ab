"""The record of one request: what went in, what went upstream, what was billed, and why."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

QUEUE = "queue"  # the stage in which a request waits for a thread


class Outcome(StrEnum):
    COMPRESSED = "compressed"  # upstream got a shorter body
    AUDITED = "audited"  # a shorter body was made and measured, the original went upstream
    UNTOUCHED = "untouched"  # the policy or the text left nothing to do; `reason` says which
    BYPASSED = "bypassed"  # the caller or the policy said no
    FAILED_OPEN = "failed_open"  # something broke or took too long; the original went upstream
    PASSED = "passed"  # not a chat completion: bytes went through


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the upstream billed them. None: not said (never 0 for unknown). `model`: what it says answered,
    empty where it does not."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    model: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class KindTokens:
    kind: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pipeline found out about one body. Tokens are text tokens by the target model's tokenizer, None where
    not counted; `estimated` where the model's own tokenizer is not known. `reasons` counts segments by what became of
    them; `stages` are milliseconds by name. `arm` is "bypass" or "treated", empty where no trial was held (see
    `proxy.arm`); `conversation` is the digest that its turns share, for the ledger to key."""

    outcome: Outcome
    reason: str = ""
    model: str = ""
    encoding: str = ""
    estimated: bool = False
    tokens_before: int | None = None
    tokens_after: int | None = None
    kinds: tuple[KindTokens, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    stages: tuple[tuple[str, float], ...] = ()
    arm: str = ""
    conversation: bytes = field(default=b"", repr=False)

    @property
    def milliseconds(self) -> float:
        return sum(ms for _, ms in self.stages)

    @property
    def computing_seconds(self) -> float | None:
        """Seconds in the stages, those spent waiting for a thread left out; None where there was no stage. The time of
        a request that failed is not told apart, so its waiting is in it."""
        return sum(ms for name, ms in self.stages if name != QUEUE) / 1000 if self.stages else None


@dataclass(frozen=True, slots=True)
class Bill:
    """What the upstream's usage comes to in USD, by kind of token. None: unknown."""

    uncached: float | None = None
    cached: float | None = None
    written: float | None = None
    output: float | None = None

    @property
    def input(self) -> float | None:
        return _sum(self.uncached, self.cached, self.written)

    @property
    def total(self) -> float | None:
        return _sum(self.input, self.output)


@dataclass(frozen=True, slots=True)
class Money:
    """USD of one request; None: unknown. `gross`: tokens removed at the list price of uncached input. `net`: tokens
    removed at the mix of prices at which this request's own input was billed, less `compressor`, what the seconds of
    compressing cost (None: none was spent). Both are estimates of what would have been."""

    gross: float | None = None
    net: float | None = None
    compressor: float | None = None
    bill: Bill = Bill()


def _sum(*parts: float | None) -> float | None:
    return None if None in parts else sum(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Savings:
    """One request, told once to every meter. `at` is Unix time in seconds; `status` None where no answer came."""

    id: str
    at: float
    route: str
    policy: str
    upstream: str
    stream: bool
    measured: Measured
    status: int | None = None
    usage: Usage | None = None
    money: Money = Money()
    first_byte_ms: float | None = None
    total_ms: float | None = None
    error: str = ""
    caller: str = ""  # the name of the key that it came with


class Meter(Protocol):
    """Is told of a request once it has ended. Never raises, never waits."""

    def record(self, savings: Savings) -> None: ...
