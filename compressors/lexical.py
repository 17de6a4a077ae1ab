"""`lexical`: the sentences that answer the question, found without a model.

A sentence is scored by BM25 together with the heading of its passage, and gets shares of its passage's score and of
its neighbours'. Then one hop: where a good sentence names the heading of another passage ("directed by Ann Lee", and
a passage headed "Ann Lee"), that passage rises too; questions over several documents need it. Without a question, or
where none of its words occurs, the text's own most telling words stand in for it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compressors import bm25, spans
from compressors.base import Kept, Span, Task
from compressors.bm25 import Ranking, Vector
from compressors.selection import fits, keep, layout, whole

_STEM = 5  # characters of a word that are compared: a stemmer for every inflecting language at once
_HEADING = 100  # code points; a longer line is no heading


@dataclass(frozen=True, slots=True)
class Weights:
    """Shares are of the best BM25 score, so that 1 stands for a full match of the best sentence."""

    heading: int = 2  # how often a passage's heading counts among the terms of each of its sentences
    passage: float = 0.6
    neighbour: float = 0.1
    opening: float = 0.15  # for the first sentence of a passage, times the passage's score
    link: float = 0.5  # for sentences of a passage whose heading a good sentence names; twice for the first one
    links_from: int = 5  # that many best sentences
    keywords: int = 24  # that many telling words stand in for a question


@dataclass(frozen=True, slots=True)
class Passage:
    """Units `first..last` (exclusive) and the text that heads them."""

    first: int
    last: int
    heading: str


class Lexical:
    """Keeps the units of a text that bear on the question: see the module's docstring."""

    def __init__(self, weights: Weights = Weights()) -> None:
        self._weights = weights

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        if fits(task):
            return whole(task)
        parts = layout(task)
        return keep(parts, relevance(task, parts.units, self._weights)) if len(parts.units) > 1 else whole(task)


def relevance(task: Task, units: Sequence[Span], weights: Weights) -> list[float]:
    """One score a unit, 0..1, in steps of 0.0001 so that rounding on another machine changes nothing."""
    found = passages(task, units)
    words = [_stems(task.text[start:end]) for start, end in units]
    headings = [_stems(passage.heading) for passage in found]
    query = _stems(task.question)
    if set(query).isdisjoint(word for group in (*words, *headings) for word in group):
        query = _telling(words, weights.keywords)
    numbers = {word: i for i, word in enumerate(dict.fromkeys([*query, *(w for h in headings for w in h)]), 1)}
    ids = [[numbers.get(word, 0) for word in group] for group in words]
    heads = [[numbers[word] for word in heading] for heading in headings]
    asked = [numbers[word] for word in query]

    owner = np.repeat(np.arange(len(found)), [passage.last - passage.first for passage in found])
    opening = np.zeros(len(units))
    opening[[passage.first for passage in found]] = 1
    whole_passages = [heads[p] + [i for u in ids[found[p].first : found[p].last] for i in u] for p in range(len(found))]
    by_passage = bm25.rank(whole_passages, asked, len(numbers) + 1)
    with_heading = [heads[p] * weights.heading + ids[u] for u, p in enumerate(owner)]
    near = _scaled(by_passage.scores)[owner]
    own = _scaled(bm25.rank(with_heading, asked, len(numbers) + 1).scores)
    score = _scaled(own + weights.passage * near + weights.neighbour * _beside(own, owner) + weights.opening * opening * near)
    linked = _links(score, [set(u) for u in ids], owner, [set(h) for h in heads], by_passage, weights.links_from)
    return [round(float(s), 4) for s in _scaled(score + weights.link * linked[owner] * (1 + opening))]


def passages(task: Task, units: Sequence[Span]) -> list[Passage]:
    """The units grouped by the task's documents, else by blank lines (lines, where it has no blank ones).

    A heading is what stands before a passage and may not be dropped (a title, protected), or its first short line.
    """
    text = task.text
    starts = [start for start, _ in task.documents]
    gaps = [text[start + len(text[start:end].rstrip()) : then] for (start, end), (then, _) in zip(units, units[1:], strict=False)]
    lines = 2 if any(gap.count("\n") > 1 for gap in gaps) else 1
    firsts = [0]
    for i, gap in enumerate(gaps, 1):
        if starts:
            begins = bisect_right(starts, units[i][0]) != bisect_right(starts, units[i - 1][0])
        else:
            lone = firsts[-1] == i - 1 and _is_heading(text, units[i - 1])
            begins = (gap.count("\n") >= lines and not lone) or ("\n" in gap and not gap.isspace())
        if begins:
            firsts.append(i)
    before = [text[: units[0][0]], *(gaps[i - 1] for i in firsts[1:])]
    found = []
    for first, last, gap in zip(firsts, [*firsts[1:], len(units)], before, strict=True):
        heading = gap.strip()[-2 * _HEADING :]
        if not heading and last - first > 1 and _is_heading(text, units[first]):
            heading = text[slice(*units[first])]
        found.append(Passage(first, last, heading))
    return found


def _is_heading(text: str, unit: Span) -> bool:
    line = text[slice(*unit)]
    solid = line.rstrip()
    return "\n" in line[len(solid) :] and len(solid) <= _HEADING and (solid[-1].isalnum() or solid[-1] in ":*#=")


def _stems(text: str) -> list[str]:
    return [word[:_STEM] for word in spans.terms(text)]


def _telling(words: Sequence[Sequence[str]], most: int) -> list[str]:
    """Words that several units share, but not most of them; ties go to the one that comes first."""
    shared = Counter(word for unit in words for word in dict.fromkeys(unit))
    rank = {word: n * np.log(len(words) / n) for word, n in shared.items() if n > 1}
    return sorted(rank, key=lambda word: -round(rank[word], 6))[:most]


def _scaled(values: Vector) -> Vector:
    best = values.max(initial=0)
    return values / best if best > 0 else values


def _beside(values: Vector, owner: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Vector:
    """The sum of the neighbours' scores within the passage: a pronoun's noun stands next door."""
    together = owner[1:] == owner[:-1]
    beside = np.zeros_like(values)
    beside[1:] += values[:-1] * together
    beside[:-1] += values[1:] * together
    return beside


def _links(score, names, owner, heads, by_passage: Ranking, most: int) -> Vector:
    """How well the best units name each passage's heading, 0..1; a heading that every passage has names nothing."""
    links = np.zeros(len(heads))
    weight = [sum(by_passage.rarity[i] for i in head) for head in heads]
    enough = 0.5 * np.log1p(len(heads))
    best = sorted(range(len(score)), key=lambda u: (-round(score[u], 4), u))[:most]
    for p, head in enumerate(heads):
        for u in best if weight[p] > 0 else ():
            if owner[u] != p:
                share = sum(by_passage.rarity[i] for i in head & names[u]) / weight[p]
                links[p] = max(links[p], score[u] * share**2 * min(1, weight[p] / enough))
    return links
