"""`ranked_classifier`: passages by the question, then words by LLMLingua-2.

A ranker chooses which passages may stay (see `compressors.question`), a token classifier which of their words do (see
`compressors.classifier`). The classifier reads what the ranker left and nothing else, and meets the size to the token.
Choosing passages without the question is worse than sending none; a question alone does not say which words are idle.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Literal

from msgspec import Meta

from compressors import rankers, spans
from compressors.base import Kept, Rate, Span, Task, Tokens
from compressors.classifier import Classifier, ClassifierSettings
from compressors.passages import SMALL, Grouped, Model, group, shares
from compressors.perplexity import Room
from compressors.question import Order, choose, reorder
from compressors.selection import keeps_all, stay, whole
from compressors.tokenizers import counter


class RankedClassifierSettings(ClassifierSettings, frozen=True):
    ranker: Annotated[
        rankers.Name,
        Meta(title='"bm25", "perplexity", "biencoder" or "crossencoder"', description="what ranks the passages"),
    ] = "perplexity"
    ranker_model: Annotated[Model, Meta(description="the ranker's model; empty: its own default; bm25 has none")] = ""
    ranker_precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Meta(title='"auto", "fp32", "bf16" or "fp16"', description="in what numbers the ranker computes"),
    ] = "auto"
    context_budget: Annotated[
        Room, Meta(description="what whole passages may cost before words are dropped, against the asked size")
    ] = "*1.5"
    order: Annotated[
        Order,
        Meta(
            title='"original", "sort" or "two_stage"',
            description="documents as they stand, the best first, or the best at both ends",
        ),
    ] = "original"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A text cut down to some spans of it, and places told from the one to the other."""

    text: str
    kept: tuple[Span, ...]

    def inward(self, given: Sequence[Span]) -> Iterator[Span]:
        """Spans of the text as spans of what is kept of it; those of which nothing is left are left out."""
        starts, firsts = self._starts(), [a for a, _ in self.kept]
        for span in given:
            if parts := spans.within(self.kept, *span):
                i = bisect_right(firsts, parts[0][0]) - 1
                start = starts[i] + parts[0][0] - firsts[i]
                yield start, start + sum(b - a for a, b in parts)

    def outward(self, found: Sequence[Span]) -> tuple[Span, ...]:
        """Ordered spans of what is kept as spans of the text."""
        pieces = zip(self._starts(), self.kept, strict=True)
        return spans.merge(
            (first + a - start, first + b - start)
            for start, (first, last) in pieces
            for a, b in spans.within(found, start, start + last - first)
        )

    def _starts(self) -> list[int]:
        return [0, *accumulate(b - a for a, b in self.kept)][:-1]


class RankedClassifier:
    """Keeps the words worth keeping of the passages worth reading: see the module's docstring."""

    Settings = RankedClassifierSettings

    def __init__(self, settings: RankedClassifierSettings | None = None) -> None:
        self._settings = settings or RankedClassifierSettings()
        self._classifier = Classifier(self._settings)

    @property
    def version(self) -> str:
        return f"ranked_{self._classifier.version} {self._ranker.version}"

    def warm_up(self) -> None:
        self._ranker.warm_up()
        self._classifier.warm_up()

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        found = [None if keeps_all(task) else group(task, SMALL) for task in tasks]
        several = [g for g in found if g and len(g.texts) > 1]
        scores = iter(self._ranker.score([g.parts.task.question for g in several], [g.texts for g in several]))
        chosen = [
            self._choose(g, next(scores)) if g and len(g.texts) > 1 else whole(task)
            for task, g in zip(tasks, found, strict=True)
        ]
        excerpts = [Excerpt(task.text, kept.spans) for task, kept in zip(tasks, chosen, strict=True)]
        kept = self._classifier.compress([_rest(t, e) for t, e in zip(tasks, excerpts, strict=True)])
        return [
            Kept(excerpt.outward(words.spans), order=passages.order, fallback=words.fallback)
            for excerpt, words, passages in zip(excerpts, kept, chosen, strict=True)
        ]

    def _choose(self, found: Grouped, scores: rankers.Scores) -> Kept:
        worth = shares(scores)
        ranks = sorted(range(len(worth)), key=lambda i: (-worth[i], i))
        taken = choose(found, ranks, self._settings.context_budget)
        spans = stay(found.parts, set(taken)) if len(taken) < len(ranks) else whole(found.parts.task).spans
        return Kept(spans, order=reorder(found, ranks, taken, self._settings.order))

    @cached_property
    def _ranker(self) -> rankers.Ranker:
        given = self._settings
        return rankers.ranker(given.ranker, rankers.Options(given.ranker_model, given.device, given.ranker_precision))


def _rest(task: Task, excerpt: Excerpt) -> Task:
    """A task of its own for what the ranker left, with the size that the whole one asked for."""
    budget = task.budget
    if isinstance(budget, Rate) and not keeps_all(task):
        budget = Tokens(round(budget.value * counter(task.encoding).count(task.text)))
    return replace(
        task,
        text=spans.join(task.text, excerpt.kept),
        budget=budget,
        protected=tuple(excerpt.inward(spans.clip(task.protected, len(task.text)))),
        documents=tuple(excerpt.inward(task.documents)),
    )
