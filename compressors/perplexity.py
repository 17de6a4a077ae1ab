"""`perplexity`: LLMLingua (Jiang et al., arXiv 2310.05736). What a causal language model can guess goes.

Three stages, from coarse to fine: whole documents (the least surprising ones go), whole sentences, then words window
by window (see `compressors.iterative`). The last one meets the budget to the token. What stands before the text
(`Task.before`) is read by the model and never cut.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct, to_builtins

from compressors import coarse, spans
from compressors.base import Kept, Rate, Span, Task, Threshold
from compressors.causal import CausalModel, Row, Surprises, causal
from compressors.iterative import Pruning, Unit, opening, prune
from compressors.passages import Device, Model, Precision
from compressors.selection import keeps_all, whole
from compressors.tokenizers import counter

Room = Annotated[
    str, Meta(pattern=r"^([+*]\d{1,7}(\.\d{1,3})?)?$", title='"+100" (tokens), "*1.5" (times) or "" for all of it')
]


class PerplexitySettings(Struct, frozen=True):
    model: Annotated[Model, Meta(description="any causal language model; the better it guesses, the more may go")] = (
        "openai-community/gpt2"
    )
    device: Annotated[Device, Meta(description="where the model runs")] = "auto"
    precision: Annotated[Precision, Meta(description="in what numbers it computes; not int8")] = "auto"
    window: Annotated[
        int, Meta(ge=10, le=2000, title="a whole number from 10 to 2000", description="tokens pruned together")
    ] = 200
    context_budget: Annotated[
        Room, Meta(description="what whole documents may cost before tokens are pruned, against the asked size")
    ] = "+100"
    sentence_budget: Annotated[
        Room, Meta(description='the same for whole sentences; LLMLingua has "*1.4" where it uses them')
    ] = ""
    condition: Annotated[
        Literal["none", "question", "contrast"],
        Meta(
            title='"none", "question" or "contrast"',
            description="whether the model reads the question first, and whether what the question makes likely stays",
        ),
    ] = "none"
    unit: Annotated[
        Unit,
        Meta(title='"word" or "token"', description='what stays or goes as a whole; "token" as LLMLingua has it'),
    ] = "word"
    keep_breaks: Annotated[
        Literal["none", "paragraphs", "lines"],
        Meta(title='"none", "paragraphs" or "lines"', description="line breaks that stay whatever goes around them"),
    ] = "none"


class Perplexity:
    """Drops what a language model can guess: see the module's docstring."""

    Settings = PerplexitySettings

    def __init__(self, settings: PerplexitySettings | None = None) -> None:
        self._settings = settings or PerplexitySettings()

    @property
    def version(self) -> str:
        return f"perplexity-1 {to_builtins(self._settings)} {self._model.version}"

    def warm_up(self) -> None:
        self._model.warm_up()

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        tasks = [protect_breaks(task, self._settings.keep_breaks) for task in tasks]
        documents = [self._documents(task) for task in tasks]
        texts = [task.text[slice(*span)] for task, found in zip(tasks, documents, strict=True) for span in found]
        scores = iter(self._model.surprises([self._row(text) for text in texts]) if texts else [])
        return [
            whole(task)
            if keeps_all(task) or not task.text.strip()
            else self._shorten(task, found, [next(scores) for _ in found])
            for task, found in zip(tasks, documents, strict=True)
        ]

    def _documents(self, task: Task) -> tuple[Span, ...]:
        """What the coarse stages look at, if there is anything to choose from."""
        if keeps_all(task) or isinstance(task.budget, Threshold) or not task.text.strip():
            return ()
        if len(task.documents) > 1 and (self._settings.context_budget or self._settings.sentence_budget):
            return task.documents
        return ((0, len(task.text)),) if self._settings.sentence_budget else ()

    def _row(self, text: str) -> Row:
        return Row([*self._model.bos, *self._model.encode(text).ids], max(len(self._model.bos), 1))

    def _shorten(self, task: Task, documents: Sequence[Span], scores: Sequence[Surprises]) -> Kept:
        given, model = self._settings, self._model
        gone = spans.merge(self._gone(task, documents, scores))
        stretches = [(span, 0.0) for span in spans.complement(gone, len(task.text))]
        asked = task.question if given.condition != "none" else ""
        contrast = opening(model, task.before) if asked and given.condition == "contrast" else None
        pruning = Pruning(given.window, opening(model, task.before, asked), contrast, unit=given.unit)
        return prune(task, model, stretches, pruning)

    def _gone(self, task: Task, documents: Sequence[Span], scores: Sequence[Surprises]) -> Iterator[Span]:
        """The documents, then the sentences of the others, that go as a whole."""
        taken: Collection[int] = range(len(documents))
        if len(documents) > 1 and self._settings.context_budget:
            taken = _best(task, documents, [_mean(one) for one in scores], self._settings.context_budget)
            yield from (span for i, span in enumerate(documents) if i not in taken)
        if documents and self._settings.sentence_budget:
            found = [part for i in sorted(taken) for part in self._sentences(task, documents[i], scores[i])]
            sentences = [span for span, _ in found]
            stay = _best(task, sentences, [score for _, score in found], self._settings.sentence_budget)
            yield from (span for i, span in enumerate(sentences) if i not in stay)

    def _sentences(self, task: Task, document: Span, scores: Surprises) -> Iterator[tuple[Span, float]]:
        """The sentences of a document, each with the mean surprise of its tokens."""
        text = task.text[slice(*document)]
        begins = np.array([start for start, _ in self._model.encode(text).spans])[-len(scores) :]
        for start, end in spans.sentences(text):
            first, last = np.searchsorted(begins, [start, end])
            yield (document[0] + start, document[0] + end), _mean(scores[first:last])

    @cached_property
    def _model(self) -> CausalModel:
        return causal(self._settings.model, self._settings.device, self._settings.precision)


def protect_breaks(task: Task, which: str) -> Task:
    """The task with its line breaks protected: all of them, those between paragraphs, or none."""
    if which == "none":
        return task
    least = 2 if which == "paragraphs" else 1
    return replace(task, protected=(*task.protected, *(m.span() for m in re.finditer(rf"\n{{{least},}}", task.text))))


def _best(task: Task, units: Sequence[Span], scores: Sequence[float], rule: str) -> set[int]:
    """The units that stay, most surprising first, as many as the room for them allows."""
    tokens = counter(task.encoding)
    assert not isinstance(task.budget, Threshold)
    target = task.budget.value * tokens.count(task.text) if isinstance(task.budget, Rate) else task.budget.value
    costs = tokens.count_all([task.text[start:end] for start, end in units])
    order = sorted(range(len(units)), key=lambda i: (-scores[i], i))
    return set(coarse.take(order, costs, coarse.room(rule, target)))


def _mean(scores: Surprises) -> float:
    """In steps of 0.0001, so that the noise of another batch changes no order; 0 for nothing."""
    return round(float(scores.mean()), 4) if len(scores) else 0.0
