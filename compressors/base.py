"""What every compressor takes and gives: a `Task` in, the `Kept` spans of its text out.

A result is a list of character spans of the original, never a new text, so that every result is extractive by
construction and can be checked, shown as a diff and traced back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Span = tuple[int, int]
"""Start and end (exclusive) in Unicode code points of a `str`."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Keep about this share of the task's tokens: 0 < value <= 1. At 1 only lossless changes are made."""

    value: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """Keep about this many tokens."""

    value: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """Keep every unit whose score is at least this share of the best unit's: 0 <= value <= 1. Any size may result."""

    value: float


Budget = Rate | Tokens | Threshold


@dataclass(frozen=True, slots=True)
class Task:
    """One text to shorten.

    `protected` spans are kept whatever the budget says; what lies in them counts towards the budget.
    `documents` are the passages of the text where the caller knows them (ordered, apart); else the compressor looks
    for its own units. `encoding` names the tokenizer of the target model (see `compressors.tokenizers`).
    """

    text: str
    budget: Budget
    question: str = ""
    protected: tuple[Span, ...] = ()
    documents: tuple[Span, ...] = ()
    encoding: str = "o200k_base"


@dataclass(frozen=True, slots=True)
class Kept:
    """The spans of `Task.text` that stay: ordered, apart, none empty. `scores` holds one number a span, or nothing."""

    spans: tuple[Span, ...]
    scores: tuple[float, ...] = ()
    model: str = ""


class Compressor(Protocol):
    """Shortens texts. Stateless between calls; the same tasks give the same spans in any batch, process or restart."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        """One `Kept` a task, in order. Raises `CompressionError` where it cannot."""
        ...


class CompressionError(Exception):
    """A compressor cannot do what was asked.

    CompressionError
    +-- UnknownCompressor   no compressor of this name is registered
    +-- Overloaded          no room left to queue work; the caller should go on without compression
    """


class UnknownCompressor(CompressionError):
    """No compressor of this name is registered."""


class Overloaded(CompressionError):
    """The queue of work is full."""
