"""`lexical`: the sentences that answer the question, found without a model.

A sentence is scored by BM25 together with the heading of its passage, and gets shares of its passage's score and of
its neighbours'. Then one hop: where a good sentence names the heading of another passage ("directed by Ann Lee", and
a passage headed "Ann Lee"), that passage rises too; questions over several documents need it. Without a question, or
where none of its words occurs, the text's own most telling words stand in for it.

The weights were chosen on question-answering sets (see benchmarks/quality.py, `--half tune`), with titles and without.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

from compressors import spans
from compressors.base import Kept, Span, Task
from compressors.bm25 import Vector, rank
from compressors.selection import keep, keeps_all, layout, whole

_STEM = 4  # a word counts whole and by so many first characters: a stemmer for every inflecting language at once
_HEADING = 100  # code points; a longer line is no heading
_NAME = 3  # a passage without a heading is known by so many first words


@dataclass(frozen=True, slots=True)
class Weights:
    """Shares are of the best BM25 score, so that 1 stands for a full match of the best sentence."""

    heading: int = 2  # how often a passage's heading counts among the terms of each of its sentences
    passage: float = 0.6
    neighbour: float = 0.1
    opening: float = 0.15  # for the first sentence of a passage, times the passage's score
    link: float = 0.5  # for sentences of a passage whose heading a good sentence names; twice for the first one
    unsure: float = 0.5  # times `link`, where first words stand in for a heading
    links_from: int = 5  # that many best sentences
    keywords: int = 24  # that many telling words stand in for a question


@dataclass(frozen=True, slots=True)
class Passage:
    """Units `first..last` (exclusive) and the text that heads them."""

    first: int
    last: int
    heading: str


@dataclass(frozen=True, slots=True)
class Naming:
    """A good sentence: its passage, its score, its terms."""

    passage: int
    score: float
    terms: frozenset[int]


@dataclass(frozen=True, slots=True)
class Relevance:
    """What a unit's score is made of, one number a unit each, 0..1. `own`: BM25 of the unit, `near`: of its passage,
    `links`: how well good sentences name its passage. Those are shares of the best; `matched` is how much of the
    question the unit that has most of it has, 0..1, its words weighed by their rarity."""

    passages: tuple[Passage, ...]
    owner: NDArray[np.intp]
    own: Vector
    near: Vector
    links: Vector
    scores: list[float]
    matched: float


class Lexical:
    """Keeps the units of a text that bear on the question: see the module's docstring."""

    def __init__(self, weights: Weights = Weights()) -> None:
        self._weights = weights

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        if keeps_all(task):
            return whole(task)
        parts = layout(task)
        return keep(parts, relevance(task, parts.units, self._weights)) if len(parts.units) > 1 else whole(task)


def relevance(task: Task, units: Sequence[Span], weights: Weights) -> list[float]:
    """One score a unit, 0..1, in steps of 0.0001 so that rounding on another machine changes nothing."""
    return analysis(task, units, weights).scores


def analysis(task: Task, units: Sequence[Span], weights: Weights) -> Relevance:
    """`relevance`, and what it is made of."""
    found = passages(task, units)
    words = [stems(task.text[start:end]) for start, end in units]
    headings = [[word for word in stems(p.heading) if len(word) > 2 or not word.isdecimal()] for p in found]
    names = [heading or words[p.first][:_NAME] for p, heading in zip(found, headings, strict=True)]
    query = stems(task.question)
    if unmatched := set(query).isdisjoint(word for group in (*words, *headings) for word in group):
        query = telling(words, weights.keywords)
    numbers = {word: i for i, word in enumerate(dict.fromkeys([*query, *chain.from_iterable(names)]), 1)}
    ids = [[numbers.get(word, 0) for word in group] for group in words]
    heads = [[numbers[word] for word in heading] for heading in headings]

    owner = np.repeat(np.arange(len(found)), [p.last - p.first for p in found])
    opening = np.zeros(len(units))
    opening[[p.first for p in found]] = 1
    asked = [numbers[word] for word in query]
    joined = [[*head, *chain.from_iterable(ids[p.first : p.last])] for p, head in zip(found, heads, strict=True)]
    headed = [heads[n] * weights.heading + unit for n, unit in zip(owner, ids, strict=True)]
    by_passage, by_unit = rank(joined, asked, len(numbers) + 1), rank(headed, asked, len(numbers) + 1)
    own, near = _scaled(by_unit.scores), _scaled(by_passage.scores)[owner]
    score = own + weights.neighbour * _beside(own, owner) + (weights.passage + weights.opening * opening) * near

    score = _scaled(score)
    best = np.argsort(-score.round(4), kind="stable")[: weights.links_from].tolist()
    naming = [Naming(int(owner[u]), float(score[u]), frozenset(ids[u])) for u in best]
    links = _links(naming, [frozenset(numbers[word] for word in name) for name in names], by_passage.rarity)
    links *= [1 if heading else weights.unsure for heading in headings]
    score = _scaled(score + weights.link * links[owner] * (1 + opening))
    scores = [round(s, 4) for s in score.tolist()]
    matched = 0.0 if unmatched else _matched(headed, asked, by_unit.rarity)
    return Relevance(tuple(found), owner, own, near, links[owner], scores, matched)


def passages(task: Task, units: Sequence[Span]) -> list[Passage]:
    """The units grouped by the task's documents, else by blank lines (by lines, where it has no blank ones).

    A heading is what stands before a passage and may not be dropped (a title, protected), or its first short line.
    Where nothing stands before the first and something after the last, as sources do, headings stand after.
    """
    text = task.text
    gaps = [text[: units[0][0]], *(text[spans.solid(text, unit) : after[0]] for unit, after in pairwise(units))]
    starts = sorted(_by_document(task, units) if task.documents else _by_blank_lines(text, units, gaps))
    ending = text[units[-1][1] :].strip() if starts and not gaps[0].strip() else ""
    found = []
    for first, last in pairwise([0, *starts, len(units)]):
        around = gaps[first] if not ending else ending if last == len(units) else gaps[last]
        heading = around.strip()[-2 * _HEADING :]
        if not heading and last - first > 1 and _is_heading(text, units[first]):
            heading = text[slice(*units[first])]
        found.append(Passage(first, last, heading))
    return found


def _by_document(task: Task, units: Sequence[Span]) -> Iterator[int]:
    starts = [start for start, _ in task.documents]
    numbers = [bisect_right(starts, start) for start, _ in units]
    return (i for i, (before, number) in enumerate(pairwise(numbers), 1) if before != number)


def _by_blank_lines(text: str, units: Sequence[Span], gaps: Sequence[str]) -> Iterator[int]:
    lines = 2 if any(gap.count("\n") > 1 for gap in gaps) else 1
    last = 0
    for i, gap in enumerate(gaps[1:], 1):
        under_heading = last == i - 1 and _is_heading(text, units[last])
        if (gap.count("\n") >= lines and not under_heading) or ("\n" in gap and not gap.isspace()):
            last = i
            yield i


def _is_heading(text: str, unit: Span) -> bool:
    solid = text[unit[0] : spans.solid(text, unit)]
    ends_line = "\n" in text[unit[0] + len(solid) : unit[1]]
    return ends_line and len(solid) <= _HEADING and (solid[-1].isalnum() or solid[-1] in ":*#=")


def stems(text: str) -> list[str]:
    """Index terms: first characters of each word, and whole words that are longer."""
    words = spans.terms(text)
    return [word[:_STEM] for word in words] + [word for word in words if len(word) > _STEM]


def telling(words: Sequence[Sequence[str]], most: int) -> list[str]:
    """Words that several units share, but not most of them; ties go to the one that comes first."""
    shared = Counter(word for unit in words for word in dict.fromkeys(unit))
    worth = {word: n * log(len(words) / n) for word, n in shared.items() if n > 1}
    return sorted(worth, key=lambda word: -round(worth[word], 6))[:most]


def _matched(units: Sequence[Sequence[int]], asked: Sequence[int], rarity: Vector) -> float:
    worth = {term: float(rarity[term]) for term in asked}
    total = sum(worth.values())
    return max(sum(worth[term] for term in worth.keys() & unit) for unit in units) / total if total else 0.0


def _scaled(values: Vector) -> Vector:
    best = values.max(initial=0)
    return values / best if best > 0 else values


def _beside(values: Vector, owner: NDArray[np.intp]) -> Vector:
    """The sum of the neighbours' scores within the passage: what a pronoun stands for is next door."""
    together = owner[1:] == owner[:-1]
    beside = np.zeros_like(values)
    beside[1:] += values[:-1] * together
    beside[:-1] += values[1:] * together
    return beside


def _links(naming: Sequence[Naming], names: Sequence[frozenset[int]], rarity: Vector) -> Vector:
    """How well good sentences name each passage: 0..1. Terms weigh by their rarity among the passages, so that a
    name that every passage has says nothing."""
    enough = 0.5 * log(1 + len(names))
    links = np.zeros(len(names))
    for passage, name in enumerate(names):
        weight = float(sum(rarity[i] for i in name))
        for by in naming if weight > 0 else ():
            if by.passage != passage:
                share = float(sum(rarity[i] for i in name & by.terms)) / weight
                links[passage] = max(links[passage], by.score * share**2 * min(1.0, weight / enough))
    return links
