"""`question`: LongLLMLingua (Jiang et al., arXiv 2310.06839). What the question does not need goes.

Passages are ranked by how well they explain the question, the best of them stay as far as the context budget goes, and
are then pruned token by token: the tokens stay that the question makes likelier, fewer of them the lower a passage
stands. The size is met to the token. Passages are the task's documents, else its paragraphs. What the question makes of
a token is told within its passage (`contrast = "document"`): the same words stand before it, with the question in front
of them and without. Passages that stay as a whole are not read for that.

Without a question there is nothing to condition on: passages are ranked by how surprising they are, and so are tokens,
which is LLMLingua. `Kept.order` says how the documents would better be read, where that is asked for.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct, to_builtins
from numpy.typing import NDArray

from compressors import coarse, rankers
from compressors.base import Kept, Rate, Span, Task, Threshold
from compressors.causal import CausalModel, Row, causal
from compressors.iterative import Floats, Pruning, Unit, opening, prune
from compressors.passages import SMALL, Device, Grouped, Model, Precision, group, shares
from compressors.perplexity import Room, protect_breaks
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
            description="what surprises given the question are set against: those without it, within each passage or "
            "with the compressed form of all before it as the context (slower), or nothing",
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
        ranked = [g for g in found if g and g.texts]
        scores = iter(self._ranker.score([g.parts.task.question for g in ranked], [g.texts for g in ranked]))
        return [
            self._shorten(g, next(scores)) if g and g.texts else whole(task)
            for task, g in zip(tasks, found, strict=True)
        ]

    def _shorten(self, found: Grouped, scores: rankers.Scores) -> Kept:
        task, units, given = found.parts.task, found.parts.units, self._settings
        worth = shares(scores)
        ranks = sorted(range(len(units)), key=lambda i: (-worth[i], i))
        taken = choose(found, ranks, given.context_budget)
        stretches = sorted(zip((units[i] for i in taken), coarse.slants(len(taken), given.slope), strict=True))
        before, contrast = opening(self._model, task.before), given.contrast if task.question.strip() else "none"
        pruning = Pruning(
            window=given.window,
            prefix=opening(self._model, task.before, task.question) if task.question.strip() else before,
            contrast=before if contrast == "text" else None,
            unit=given.unit,
            scorer=partial(contrasts, self._model, found) if contrast == "document" else None,
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


def contrasts(model: CausalModel, found: Grouped, wanted: Sequence[Span]) -> Floats:
    """How much less surprising the tokens of these passages are with the question in front than without, summed up over
    the text to the end of each character. A passage too long for the model is read in parts."""
    text, question = found.parts.task.text, found.parts.task.question
    asked = opening(model, question=question)
    asked = (*model.bos, *asked[len(model.bos) :][-model.longest // 2 :])
    step = model.longest - len(asked)
    rows: list[Row] = []
    ends: list[NDArray[np.intp]] = []
    for start, end in wanted:
        encoded = model.encode(text[start:end])
        for at in range(0, len(encoded.ids), step):
            ids = encoded.ids[at : at + step]
            rows += [Row([*head, *ids], len(head)) for head in (asked, model.bos)]
            ends.append(np.array([b for _, b in encoded.spans[at : at + step]], np.intp) + start)
    surprises = model.surprises(rows) if rows else []
    sums = np.zeros(len(text) + 1)
    for places, given, alone in zip(ends, surprises[::2], surprises[1::2], strict=True):
        scored = places[-len(alone) :]  # not the first, where nothing begins a text
        np.add.at(sums, scored, alone.astype(float) - given[-len(alone) :])
    return np.cumsum(sums)
