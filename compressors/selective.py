"""`selective`: Selective Context (Li et al., arXiv 2310.06201). Units that say little by themselves go.

A unit (sentence, phrase or token) is worth the mean surprise of its tokens, each sentence being read on its own: read
on and on, the later part of a text would look as if it said less. The best units stay, of the size that is asked for.
Texts and sentences may be of any length.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct, to_builtins

from compressors import spans
from compressors.base import Kept, Span, Task, Threshold
from compressors.causal import CausalModel, Encoded, Row, Surprises, causal
from compressors.fit import fit
from compressors.passages import Device, Model, Precision
from compressors.phrases import phrases
from compressors.selection import keeps_all, whole

Level = Literal["sentence", "phrase", "token"]


class SelectiveSettings(Struct, frozen=True):
    model: Annotated[Model, Meta(description="any causal language model")] = "openai-community/gpt2"
    device: Annotated[Device, Meta(description="where the model runs")] = "auto"
    precision: Annotated[Precision, Meta(description="in what numbers it computes; not int8")] = "auto"
    level: Annotated[
        Level, Meta(title='"sentence", "phrase" or "token"', description="what stays or goes as a whole")
    ] = "phrase"


class Selective:
    """Drops what says little by itself: see the module's docstring."""

    Settings = SelectiveSettings

    def __init__(self, settings: SelectiveSettings | None = None) -> None:
        self._settings = settings or SelectiveSettings()

    @property
    def version(self) -> str:
        return f"selective-1 {to_builtins(self._settings)} {self._model.version}"

    def warm_up(self) -> None:
        self._model.warm_up()

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        found = [() if keeps_all(task) else tuple(_sentences(task.text)) for task in tasks]
        encoded = [[self._model.encode(t.text[slice(*s)]) for s in own] for t, own in zip(tasks, found, strict=True)]
        bos = self._model.bos if any(found) else ()
        rows = [Row([*bos, *one.ids], max(len(bos), 1)) for own in encoded for one in own]
        scores = iter(self._model.surprises(rows) if rows else [])
        return [
            self._shorten(task, own, [(one, next(scores)) for one in read]) if own else whole(task)
            for task, own, read in zip(tasks, found, encoded, strict=True)
        ]

    def _shorten(self, task: Task, sentences: Sequence[Span], read: Sequence[tuple[Encoded, Surprises]]) -> Kept:
        units: list[Span] = []
        scores: list[float] = []
        for sentence, (encoded, surprises) in zip(sentences, read, strict=True):
            own = list(_units(task.text, sentence, encoded, self._settings.level))
            units.extend(own)
            scores.extend(_means(own, sentence[0], encoded, surprises))
        if isinstance(task.budget, Threshold):
            best = max(scores) or 1.0
            scores = [score / best for score in scores]
        return fit(task, units, scores)

    @cached_property
    def _model(self) -> CausalModel:
        return causal(self._settings.model, self._settings.device, self._settings.precision)


def _sentences(text: str) -> Iterator[Span]:
    """Sentences without the white space around them."""
    for start, end in spans.sentences(text):
        body = text[start:end].lstrip()
        if body:
            first = end - len(body)
            yield first, first + len(body.rstrip())


def _units(text: str, sentence: Span, encoded: Encoded, level: Level) -> Iterator[Span]:
    if level == "sentence":
        yield sentence
    elif level == "phrase":
        yield from phrases(text, *sentence)
    else:
        for start, end in encoded.units()[1]:
            body = text[sentence[0] + start : sentence[0] + end]
            first = sentence[0] + end - len(body.lstrip())
            if body.strip():
                yield first, first + len(body.strip())


def _means(units: Sequence[Span], offset: int, encoded: Encoded, surprises: Surprises) -> Iterator[float]:
    """The mean surprise of the tokens that end in each unit, or of the last ones before it; in steps of 0.0001, so that
    the noise of another batch changes no order."""
    known = surprises.astype(np.float64)
    if len(known) < len(encoded.ids):  # a model without a beginning of texts says nothing of the first token
        known = np.append(known.mean() if len(known) else 0.0, known)
    sums = np.append(0.0, np.cumsum(known))
    ends = np.array([end for _, end in encoded.spans], np.intp) + offset
    borders = np.searchsorted(ends, [start for start, _ in units], "right")
    lasts = np.searchsorted(ends, [end for _, end in units], "right")
    for first, last in zip(borders.tolist(), lasts.tolist(), strict=True):
        first = min(first, max(last - 1, 0))
        yield round(float(sums[last] - sums[first]) / max(last - first, 1), 4)
