"""Segments of a request, and the plan that says what becomes of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from compressors.base import Budget, Span


class Kind(StrEnum):
    INSTRUCTION = "instruction"
    QUESTION = "question"
    CONTEXT = "context"
    HISTORY = "history"
    DEMONSTRATION = "demonstration"
    TOOL_OUTPUT = "tool_output"
    CODE = "code"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one text of a request that plays one part in it.

    `field` is the index into `ChatRequest.fields`; `start` and `end` are code points of that field's text; `message`
    and `part` are the indexes in the body (`part` None for string content). `question` is the question of the
    segment's own turn. `questions` says how many user turns stand at or after the segment: more than one means that
    later turns lean on it too. `turn` is the number of user turns strictly after it (0: the newest turn).
    `may_change` are the ranges (code points of the field's text, inside the segment) that a compressor could alter at
    all; `guard` says why the rest, or all of it, is not to be touched.
    """

    field: int
    message: int
    part: int | None
    start: int
    end: int
    kind: Kind
    role: str
    text: str
    document: str | None = None
    question: str = ""
    questions: int = 1
    turn: int = 0
    tokens: int = 0
    may_change: tuple[Span, ...] = ()
    guard: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Shorten `start..end` of a field with one compressor.

    `segments` are indexes of the segments that share this budget; whatever else lies in the stretch (delimiters,
    titles, marks) and what is not in their `may_change` is protected. `reorder`: whole documents may move inside it.
    `recognise`: it stays whole where other requests are found to bring the same text for other questions.
    """

    field: int
    start: int
    end: int
    segments: tuple[int, ...]
    compressor: str
    budget: Budget
    question: str
    reorder: bool = False
    recognise: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`reasons` holds one entry a segment: "planned", or why it is left alone. `pinned` steps are not to be taken,
    unless they were taken in an earlier turn of the same conversation."""

    steps: tuple[Step, ...]
    reasons: tuple[str, ...]
    pinned: tuple[Step, ...] = ()


class Mode(StrEnum):
    OFF = "off"  # the body is not even read
    AUDIT = "audit"  # plan, compress, measure; send the original
    ON = "on"


@runtime_checkable
class Recovers(Protocol):
    """What a policy says beside, where answers are not to be left as they come."""

    @property
    def recover(self) -> bool:
        """Whether names, dates and numbers of answers are put back to how the original has them."""
        ...


class Policy(Protocol):
    """Decides, without I/O and without a model, what to shorten, how far and with what."""

    @property
    def name(self) -> str: ...

    @property
    def mode(self) -> Mode: ...

    def plan(self, segments: Sequence[Segment]) -> Plan: ...
