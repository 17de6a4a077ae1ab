"""`question`: LongLLMLingua (Jiang et al., arXiv 2310.06839). What the question does not need goes.

Passages are ranked by how well they explain the question, the best of them stay as far as the context budget goes, and
are then pruned token by token: the tokens stay that the question makes likelier, fewer of them the lower a passage
stands. The size is met to the token. Passages are the task's documents, else its paragraphs. The ranking reads each
passage once, and its surprises without the question, known from that reading, are what those with it are set against.

Without a question there is nothing to condition on: passages are ranked by how surprising they are, and so are tokens,
which is LLMLingua. `Kept.order` says how the documents would better be read, where that is asked for.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct, to_builtins

from compressors import coarse, rankers
from compressors.base import Kept, Rate, Task, Threshold
from compressors.causal import CausalModel, causal
from compressors.iterative import Floats, Pruning, Unit, opening, prune
from compressors.passages import SMALL, Device, Grouped, Model, Precision, group, shares
from compressors.perplexity import Room, protect_breaks
from compressors.rankers.perplexity import Perplexity, Reading
from compressors.selection import keeps_all, whole

Order = Literal["original", "sort", "two_stage"]


class QuestionSettings(Struct, frozen=True):
    model: Annotated[Model, Meta(description="any causal language model, which ranks passages and prunes tokens")] = (
        "openai-community/gpt2"
    )
    device: Annotated[Device, Meta(description="where the model runs")] = "auto"
    precision: Annotated[Precision, Meta(description="in what numbers it computes; not int8")] = "auto"
    window: Annotated[
        int, Meta(ge=10, le=2000, title="a whole number from 10 to 2000", description="tokens pruned together")
    ] = 200
    ranker: Annotated[
        rankers.Name,
        Meta(title='"bm25", "perplexity", "biencoder" or "crossencoder"', description="what ranks the passages"),
    ] = "perplexity"
    ranker_model: Annotated[Model, Meta(description="the model of a bi- or cross-encoder; empty: its own default")] = ""
    mode: Annotated[
        Literal["after", "before", "none"],
        Meta(
            title='"after", "before" or "none"',
            description="what ranks a passage: the question after it, it after the question, or itself alone",
        ),
    ] = "after"
    context_budget: Annotated[
        Room, Meta(description="what whole passages may cost before tokens are pruned, against the asked size")
    ] = "+100"
    slope: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            title="a number from 0 to 1",
            description="added to the rate of the best passage and taken from that of the last one that stays",
        ),
    ] = 0.3
    contrast: Annotated[
        Literal["document", "text", "none"],
        Meta(
            title='"document", "text" or "none"',
            description="what surprises given the question are set against: those in the passage alone, in all of the "
            "text (another reading of it), or nothing",
        ),
    ] = "document"
    order: Annotated[
        Order,
        Meta(
            title='"original", "sort" or "two_stage"',
            description="documents as they stand, the best first, or the best at both ends",
        ),
    ] = "original"
    unit: Annotated[
        Unit,
        Meta(title='"word" or "token"', description='what stays or goes as a whole; "token" as LongLLMLingua has it'),
    ] = "word"
    keep_breaks: Annotated[
        Literal["none", "paragraphs", "lines"],
        Meta(title='"none", "paragraphs" or "lines"', description="line breaks that stay whatever goes around them"),
    ] = "none"


class Question:
    """Drops what the question does not need: see the module's docstring."""

    Settings = QuestionSettings

    def __init__(self, settings: QuestionSettings | None = None) -> None:
        self._settings = settings or QuestionSettings()

    @property
    def version(self) -> str:
        return f"question-1 {to_builtins(self._settings)} {self._model.version} {self._ranker.version}"

    def warm_up(self) -> None:
        self._model.warm_up()
        self._ranker.warm_up()

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        tasks = [protect_breaks(task, self._settings.keep_breaks) for task in tasks]
        found = [None if keeps_all(task) else group(task, SMALL) for task in tasks]
        readings = iter(self._read([(g.parts.task.question, g.texts) for g in found if g and g.texts]))
        return [
            self._shorten(g, next(readings)) if g and g.texts else whole(task)
            for task, g in zip(tasks, found, strict=True)
        ]

    def _read(self, asked: Sequence[tuple[str, Sequence[str]]]) -> list[list[Reading]]:
        """Each passage's score and, where that is set against the question, its surprises by itself."""
        queries, passages = [query for query, _ in asked], [texts for _, texts in asked]
        alone = self._settings.contrast == "document"
        ranker = self._ranker
        if isinstance(ranker, Perplexity) and (self._settings.mode != "before" or not alone):
            return ranker.read(queries, passages, alone)
        scores = ranker.score(queries, passages)
        nothing = [[np.empty(0, np.float32)] * len(texts) for texts in passages]
        own = [[r.alone for r in g] for g in self._alone.read([""] * len(asked), passages, True)] if alone else nothing
        return [
            [Reading(float(score), surprises) for score, surprises in zip(*pair, strict=True)]
            for pair in zip(scores, own, strict=True)
        ]

    def _shorten(self, found: Grouped, readings: Sequence[Reading]) -> Kept:
        task, units, given = found.parts.task, found.parts.units, self._settings
        worth = shares(rankers.finite([reading.score for reading in readings]))
        ranks = sorted(range(len(units)), key=lambda i: (-worth[i], i))
        taken = choose(found, ranks, given.context_budget)
        slants = coarse.slants(len(taken), given.slope)
        stretches = sorted(zip((units[i] for i in taken), slants, strict=True))
        before, asked = opening(self._model, task.before), bool(task.question.strip())
        pruning = Pruning(
            given.window,
            opening(self._model, task.before, task.question) if asked else before,
            before if asked and given.contrast == "text" else None,
            _sums(found, readings, taken, self._model) if asked and given.contrast == "document" else None,
            given.unit,
        )
        kept = prune(task, self._model, stretches, pruning)
        return Kept(kept.spans, kept.scores, order=reorder(found, ranks, taken, given.order))

    @cached_property
    def _model(self) -> CausalModel:
        return causal(self._settings.model, self._settings.device, self._settings.precision)

    @cached_property
    def _ranker(self) -> rankers.Ranker:
        given = self._settings
        model = given.model if given.ranker == "perplexity" else given.ranker_model
        return rankers.ranker(given.ranker, rankers.Options(model, given.device, given.precision, given.mode))

    @cached_property
    def _alone(self) -> Perplexity:
        given = self._settings
        return Perplexity(rankers.Options(given.model, given.device, given.precision, "none"))


def choose(found: Grouped, ranks: Sequence[int], rule: str) -> list[int]:
    """The passages that stay as a whole at first, the best first: up to the one that goes over the context budget."""
    budget, parts = found.parts.task.budget, found.parts
    if isinstance(budget, Threshold) or not rule:
        return list(ranks)
    target = budget.value * parts.total if isinstance(budget, Rate) else budget.value
    fixed = parts.total - sum(parts.costs)
    return coarse.take(ranks, parts.costs, coarse.room(rule, target - fixed))


def reorder(found: Grouped, ranks: Sequence[int], taken: Sequence[int], order: Order) -> tuple[int, ...]:
    """The task's documents in the order asked for; nothing where that is the order of the text.

    `sort`: the best first. `two_stage`: the best at both ends, the passages that went in the middle. Documents that
    hold nothing to rank come last.
    """
    if order == "original" or not found.parts.task.documents:
        return ()
    rest = [i for i in ranks if i not in set(taken)]
    passages = [*taken, *rest] if order == "sort" else [*taken[::2], *rest, *taken[1::2][::-1]]
    starts = [start for start, _ in found.parts.task.documents]
    ranked = [max(bisect_right(starts, found.parts.units[i][0]) - 1, 0) for i in passages]
    wanted = tuple(dict.fromkeys([*ranked, *range(len(starts))]))
    return () if wanted == tuple(range(len(starts))) else wanted


def _sums(found: Grouped, readings: Sequence[Reading], taken: Sequence[int], model: CausalModel) -> Floats:
    """Surprises without the question, summed up over the text to the end of each character (see `Pruning.alone`)."""
    sums = np.zeros(len(found.parts.task.text) + 1)
    for i in taken:
        ends = np.array([end for _, end in model.encode(found.texts[i]).spans], np.intp) + found.offsets[i]
        alone = readings[i].alone[: len(ends)].astype(float)
        unknown = np.isnan(alone)
        alone[unknown] = alone[~unknown].mean() if not unknown.all() else 0.0
        own = ends[: len(alone)] > found.parts.units[i][0]  # not those of its heading
        np.add.at(sums, ends[: len(alone)][own], alone[own])
    return np.cumsum(sums)
