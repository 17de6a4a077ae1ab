"""What every compressor takes and gives: a `Task` in, the `Kept` spans of its text out.

A result is a list of character spans of the original, never a new text, so that every result is extractive by
construction and can be checked, shown as a diff and traced back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

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
    for its own units. `encoding` names the tokenizer of the target model (see `compressors.tokenizers`). `before` is
    what stands in front of the text in the prompt: read by compressors that score with a language model, never cut.
    """

    text: str
    budget: Budget
    question: str = ""
    protected: tuple[Span, ...] = ()
    documents: tuple[Span, ...] = ()
    encoding: str = "o200k_base"
    before: str = ""


class Fallback(StrEnum):
    """Why a compressor chose without its model, by the plain means that it names in its docstring."""

    TIME = "no time"
    ENGINE = "no engine"
    LANGUAGE = "another language"
    QUESTION = "no question"


@dataclass(frozen=True, slots=True)
class Kept:
    """The spans of `Task.text` that stay: ordered, apart, none empty. `scores` holds one number a span, or nothing.
    `fallback`: why the compressor's model had no part in it, None where it had or there is none; told, not compared.

    `order` is told apart from what stays: the indexes of `Task.documents` in the order in which a compressor would
    rather have them read, each once; empty where the order of the text is right. The caller decides.
    """

    spans: tuple[Span, ...]
    scores: tuple[float, ...] = ()
    order: tuple[int, ...] = ()
    fallback: Fallback | None = field(default=None, compare=False)


class Compressor(Protocol):
    """Shortens texts. Stateless between calls; the same tasks give the same spans in any batch, process or restart."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        """One `Kept` a task, in order. Raises `CompressionError` where it cannot."""
        ...


@runtime_checkable
class Neural(Protocol):
    """What a compressor that runs a model offers beside `compress`."""

    @property
    def version(self) -> str:
        """Algorithm, settings and the hash of the model: results of the same version may be kept and used again."""
        ...

    def warm_up(self) -> None:
        """Loads the model and runs it once. Raises `CompressionError` where that is not possible."""
        ...


class CompressionError(Exception):
    """A compressor cannot do what was asked.

    CompressionError
    +-- UnknownCompressor   no compressor of this name is registered
    +-- Unavailable         a package, a model or a device that it needs is not there; the message says how to get it
    +-- Overloaded          no room left to queue work; the caller should go on without compression
    +-- Cancelled           nobody waits for this result any more
    """


class UnknownCompressor(CompressionError):
    """No compressor of this name is registered."""


class Overloaded(CompressionError):
    """The queue of work is full."""


class Unavailable(CompressionError):
    """A package, a model or a device is not there, or has failed too often. The message says what to do."""


class Cancelled(CompressionError):
    """Nobody waits for this result any more."""
