"""`pruner`: the sentences that answer the question, found by words and by meaning.

A small encoder of ours reads each passage by itself; a sentence's vector says what it is about, and a head weighs that
against the question together with the scores of `lexical` (see `compressors.features`). The vectors don't depend on the
question and are kept, so that another question about the same passages costs next to nothing.

What the encoder can't read (another language than its own), has nothing to compare with (no question), or has no time
for is chosen by `lexical` alone: the budget is met all the same.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import monotonic
from typing import Annotated

from msgspec import Meta, Struct, to_builtins

from compressors import cancel, head, languages
from compressors.base import Fallback, Kept, Rate, Task
from compressors.embedding import Embedded, Embedder, Text, embedder
from compressors.encoders.engine import lacks
from compressors.features import described
from compressors.lexical import Relevance, Weights, analysis, passages
from compressors.passages import Device, Model, Precision
from compressors.selection import Layout, keep, keeps_all, layout, whole

_SURROGATES = re.compile("[\ud800-\udfff]")

Size = Annotated[int, Meta(ge=0, title="a whole number from 0")]
_SHARE = 0.7
"""Of the time that is left, so much may go into reading; the rest is for what comes after it."""


class PrunerSettings(Struct, frozen=True):
    model: Annotated[Model, Meta(description="the encoder and its head; the default comes with Laconic")] = (
        "laconic/pruner"
    )
    device: Annotated[Device, Meta(description="where the model runs")] = "auto"
    precision: Annotated[Precision, Meta(description="in what numbers it computes")] = "auto"
    cache_mb: Annotated[Size, Meta(description="memory for passages that were read, in MB; 0: none are kept")] = 32


@dataclass(frozen=True, slots=True)
class Case:
    """A task, its units, and what their words say of them."""

    task: Task
    parts: Layout
    words: Relevance


class Pruner:
    """Keeps the units of a text that bear on the question: see the module's docstring."""

    Settings = PrunerSettings

    def __init__(self, settings: PrunerSettings | None = None) -> None:
        self._settings = settings or PrunerSettings()

    @property
    def version(self) -> str:
        return f"pruner-1 {to_builtins(self._settings)} {self.lacks or self._embedder.version}"

    @cached_property
    def lacks(self) -> str:
        """Why all is left to lexical scores; "" where the model runs."""
        return lacks(self._settings.model, self._settings.device)

    def warm_up(self) -> None:
        if self.lacks:
            return
        self._embedder.warm_up()
        self.compress([_WARM])

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        cases = [_case(task) for task in tasks]
        scored = self._score_all([case for case in cases if case])
        return [_kept(case, *next(scored)) if case else whole(task) for task, case in zip(tasks, cases, strict=True)]

    def scores(self, tasks: Sequence[Task]) -> list[list[float]]:
        """The score of each unit of each task (see `selection.layout`), none where nothing can go."""
        cases = [_case(task) for task in tasks]
        scored = self._score_all([case for case in cases if case])
        return [next(scored)[0] if case else [] for case in cases]

    def _score_all(self, cases: Sequence[Case]) -> Iterator[tuple[list[float], Fallback | None]]:
        why = [self._unread(case.task) for case in cases]
        found = self._scores([case for case, unread in zip(cases, why, strict=True) if not unread])
        for case, unread in zip(cases, why, strict=True):
            scores = None if unread else next(found)
            yield scores or case.words.scores, None if scores else unread or Fallback.TIME

    def _unread(self, task: Task) -> Fallback | None:
        """Why the model does not read this task, None where it does."""
        if self.lacks:
            return Fallback.ENGINE
        if not task.question.strip():
            return Fallback.QUESTION
        known = languages.reads(self._embedder.checkpoint.languages, task.text, task.question)
        return None if known else Fallback.LANGUAGE

    def _scores(self, cases: Sequence[Case]) -> Iterator[list[float] | None]:
        """For each case its scores, None where there was no time for them."""
        if not cases:
            return
        until = monotonic() + _SHARE * cancel.remaining()
        found = self._embedder.embed([_text(case) for case in cases], until)
        for case, embedded in zip(cases, found, strict=True):
            cancel.check()
            yield self._score(case, embedded) if embedded else None

    def _score(self, case: Case, embedded: Embedded) -> list[float]:
        """In steps of 0.0001, so that rounding on another machine changes little."""
        return [round(score, 4) for score in self._head.score(described(case.words, embedded)).tolist()]

    @cached_property
    def _embedder(self) -> Embedder:
        given = self._settings
        return embedder(given.model, given.device, given.precision, given.cache_mb * 2**20)

    @cached_property
    def _head(self) -> head.Head:
        return head.load(self._embedder.checkpoint.folder)


_WARM = Task(
    "The mill on the river was built by Ada Brook.\nThe ferry does not run on Sundays.\nIt was sold twice after that.",
    Rate(0.5),
    question="Who built the mill?",
)


def _case(task: Task) -> Case | None:
    """None where nothing can go."""
    if keeps_all(task):
        return None
    parts = layout(task)
    if len(parts.units) < 2:
        return None
    return Case(task, parts, analysis(task, parts.units, Weights()))


def _kept(case: Case, scores: Sequence[float], fallback: Fallback | None) -> Kept:
    return replace(keep(case.parts, scores), fallback=fallback)


def _text(case: Case) -> Text:
    """Half of a surrogate pair, which no tokenizer reads, becomes the sign for what is unreadable; nothing moves."""
    task = replace(case.task, text=_SURROGATES.sub("\ufffd", case.task.text))
    question = _SURROGATES.sub("\ufffd", task.question)
    return Text(task.text, case.parts.units, passages(task, case.parts.units), question)
