"""`passages`: ranking alone. Whole passages stay, the best first, as near to the budget as whole passages come.

The passages are the task's documents, else the text's own paragraphs (its lines, where it has no blank ones). A title
that the caller protects stays with or without its passage. Text with a single passage is left as it is. Without a
question the ranker says how telling each passage is by itself; encoders, which cannot, leave that to BM25.

In LongLLMLingua's table (Jiang et al., arXiv 2310.06839, NaturalQuestions, 20 documents, about 4x) its ranking with
whole documents has three quarters of the gain of the full method.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from msgspec import Meta, Struct, to_builtins

from compressors import lexical, rankers
from compressors.base import Kept, Span, Task
from compressors.selection import Layout, keep, keeps_all, layout, whole

Device = Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", title='"auto", "cpu", "cuda", "cuda:N" or "mps"')]
Precision = Annotated[
    str, Meta(pattern="^(auto|fp32|bf16|fp16|int8)$", title='"auto", "fp32", "bf16", "fp16" or "int8"')
]
Model = Annotated[str, Meta(title="a name on the hub (owner/name) or a folder")]


SMALL = 64  # tokens; paragraphs of fewer are ranked together with the next one, where a model ranks


class PassagesSettings(Struct, frozen=True):
    ranker: Annotated[
        rankers.Name,
        Meta(title='"bm25", "perplexity", "biencoder" or "crossencoder"', description="what ranks the passages"),
    ] = "bm25"
    model: Annotated[Model, Meta(description="the ranker's model; empty: its own default; bm25 has none")] = ""
    device: Annotated[Device, Meta(description="where the model runs")] = "auto"
    precision: Annotated[Precision, Meta(description="in what numbers it computes")] = "auto"


@dataclass(frozen=True, slots=True)
class Grouped:
    """A task's passages. `parts.units` are the passages, without what is protected at their edges; `texts` is what a
    ranker reads of each, its heading before it."""

    parts: Layout
    texts: tuple[str, ...]


def group(task: Task, least: int = 0) -> Grouped:
    """The passages of a task: its documents, else paragraphs, else lines; the latter two joined until they have at
    least so many tokens, since a model reads the question with every passage."""
    fine = layout(task)
    spans: list[Span] = []
    costs: list[int] = []
    texts: list[str] = []
    found = lexical.passages(task, fine.units) if fine.units else []
    for passage in found if task.documents else _joined(found, fine.costs, least):
        start, end = fine.units[passage.first][0], fine.units[passage.last - 1][1]
        body = task.text[start:end].strip()
        heading = passage.heading.strip()
        spans.append((start, end))
        costs.append(sum(fine.costs[passage.first : passage.last]))
        texts.append(body if body.startswith(heading) else f"{heading}\n{body}")
    parts = Layout(task, fine.protected, tuple(spans), tuple(costs), fine.total)
    return Grouped(parts, tuple(texts))


def _joined(found: Sequence[lexical.Passage], costs: Sequence[int], least: int) -> Iterator[lexical.Passage]:
    at = 0
    while at < len(found):
        size, end = 0, at
        while end < len(found) and (end == at or size < least):
            size += sum(costs[found[end].first : found[end].last])
            end += 1
        yield lexical.Passage(found[at].first, found[end - 1].last, found[at].heading)
        at = end


class Passages:
    """Keeps whole passages: see the module's docstring."""

    Settings = PassagesSettings

    def __init__(self, settings: PassagesSettings | None = None) -> None:
        self._settings = settings or PassagesSettings()

    @property
    def version(self) -> str:
        return f"passages-1 {to_builtins(self._settings)} {self._ranker.version}"

    def warm_up(self) -> None:
        self._ranker.warm_up()

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        least = 0 if self._settings.ranker == "bm25" else SMALL
        found = [None if keeps_all(task) else group(task, least) for task in tasks]
        asked = [(task.question, g.texts) for task, g in zip(tasks, found, strict=True) if g and len(g.texts) > 1]
        scores = iter(self._ranker.score([question for question, _ in asked], [texts for _, texts in asked]))
        return [
            keep(g.parts, shares(next(scores))) if g and len(g.texts) > 1 else whole(task)
            for task, g in zip(tasks, found, strict=True)
        ]

    @cached_property
    def _ranker(self) -> rankers.Ranker:
        given = self._settings
        return rankers.ranker(given.ranker, rankers.Options(given.model, given.device, given.precision))


def shares(scores: rankers.Scores) -> list[float]:
    """Scores as shares of the way from the worst passage (0) to the best (1), in steps of 0.0001 so that the noise of
    another batch changes nothing."""
    low, high = float(scores.min()), float(scores.max())
    return [1.0] * len(scores) if high <= low else [round(s, 4) for s in ((scores - low) / (high - low)).tolist()]
