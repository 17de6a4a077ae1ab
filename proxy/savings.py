"""The record of one request: what went in, what went upstream, what was billed, and why."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    COMPRESSED = "compressed"  # upstream got a shorter body
    AUDITED = "audited"  # a shorter body was made and measured, the original went upstream
    UNTOUCHED = "untouched"  # the policy or the text left nothing to do; `reason` says which
    BYPASSED = "bypassed"  # the caller or the policy said no
    FAILED_OPEN = "failed_open"  # something broke or took too long; the original went upstream
    PASSED = "passed"  # not a chat completion: bytes went through


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the upstream billed them. None: not said (never 0 for unknown)."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None


@dataclass(frozen=True, slots=True)
class KindTokens:
    kind: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pipeline found out about one body. Tokens are text tokens by the target model's tokenizer, None where
    not counted; `estimated` where the model's own tokenizer is not known. `reasons` counts segments by what became of
    them; `stages` are milliseconds by name."""

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

    @property
    def milliseconds(self) -> float:
        return sum(ms for _, ms in self.stages)


@dataclass(frozen=True, slots=True)
class Savings:
    """One request, told once to every meter. `at` is Unix time in seconds; `status` None where no answer came.

    `saved_usd` is an estimate: tokens removed at the model's list price for uncached input; None where unpriced."""

    id: str
    at: float
    route: str
    policy: str
    upstream: str
    stream: bool
    measured: Measured
    status: int | None = None
    usage: Usage | None = None
    saved_usd: float | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None
    error: str = ""


class Meter(Protocol):
    """Is told of a request once it has ended. Never raises, never waits."""

    def record(self, savings: Savings) -> None: ...
