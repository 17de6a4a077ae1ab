"""What every unit-dropping compressor shares: which units may go, what they cost, and which stay within a budget."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compressors import spans
from compressors.base import Kept, Rate, Span, Task, Threshold, Tokens
from compressors.tokenizers import Counter, counter


@dataclass(frozen=True, slots=True)
class Layout:
    """A task cut up. `units`: what may go, in order, white space after it included. `costs`: the tokens that
    dropping each saves. `total`: tokens of the whole text."""

    task: Task
    units: tuple[Span, ...]
    costs: tuple[int, ...]
    total: int


def whole(task: Task) -> Kept:
    """Nothing dropped."""
    return Kept(((0, len(task.text)),) if task.text else ())


def fits(task: Task) -> bool:
    """Whether the budget keeps everything anyway, as far as can be told without counting tokens."""
    budget = task.budget
    return budget.value <= 0 if isinstance(budget, Threshold) else isinstance(budget, Rate) and budget.value >= 1


def layout(task: Task) -> Layout:
    """Sentences of the task's text, cut at the borders of its documents, without those that are wholly protected."""
    protected = spans.clip(task.protected, len(task.text))
    units = tuple(_free(task.text, _split(task), protected))
    # White space is counted with what follows it, as tokenizers merge it, so that the sum is close to the whole.
    solid = [start + len(task.text[start:end].rstrip()) for start, end in units]
    borders = [0, *(edge for (start, _), end in zip(units, solid, strict=True) for edge in (start, end)), len(task.text)]
    for i in range(2, len(borders) - 1, 2):
        if not task.text[borders[i] : borders[i + 1]].strip():
            borders[i + 1] = borders[i]
    held = [spans.join(task.text, spans.intersect(protected, (unit,))) if protected else "" for unit in units]
    count = counter(task.encoding).count_all
    counts = count([task.text[a:b] for a, b in zip(borders, borders[1:], strict=False)])
    costs = tuple(full - kept for full, kept in zip(counts[1::2], count(held), strict=True))
    return Layout(task, units, costs, sum(counts))


def _split(task: Task) -> Iterator[Span]:
    edges = sorted({edge for document in task.documents for edge in document})
    for start, end in spans.sentences(task.text):
        inside = edges[bisect_right(edges, start) : bisect_left(edges, end)] if edges else ()
        for edge in inside:
            yield start, edge
            start = edge
        yield start, end


def _free(text: str, units: Iterator[Span], protected: Sequence[Span]) -> Iterator[Span]:
    """Each unit without the protected stretches at its edges; those without a free character that shows are left out."""
    starts = [start for start, _ in protected]
    for start, end in units:
        near = protected[max(bisect_right(starts, start) - 1, 0) : bisect_left(starts, end)]
        gaps = spans.intersect(spans.complement(near, len(text)), ((start, end),)) if near else ((start, end),)
        showing = [gap for gap in gaps if not text[gap[0] : gap[1]].isspace()]
        if showing:
            yield showing[0][0], gaps[-1][1] if gaps[-1][1] == end else showing[-1][1]


def keep(parts: Layout, scores: Sequence[float]) -> Kept:
    """The best units within the budget, and everything protected; the same scores always give the same spans.

    `scores`: one a unit, >= 0. A unit is taken while that brings the size nearer to the budget. The best unit stays
    whatever the budget says, so that no text is emptied.
    """
    task = parts.task
    if not parts.units:
        return whole(task)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    chosen = {order[0]}
    if isinstance(task.budget, Threshold):
        chosen.update(i for i in order if scores[i] >= task.budget.value * scores[order[0]])
    else:
        room = _target(task.budget, parts.total) - (parts.total - sum(parts.costs))
        chosen = set(_greedy(order, parts.costs, room)) or chosen
    if len(chosen) == len(order):
        return whole(task)
    kept = Kept(spans.merge([*_stretches(parts, chosen), *spans.clip(task.protected, len(task.text))]))
    return kept if _shorter(task, kept, counter(task.encoding)) else whole(task)


def _target(budget: Rate | Tokens, total: int) -> float:
    return budget.value * total if isinstance(budget, Rate) else budget.value


def _greedy(order: Sequence[int], costs: Sequence[int], room: float) -> Iterator[int]:
    for i in order:
        if room <= 0:
            return
        if costs[i] <= 2 * room:
            room -= costs[i]
            yield i


def _stretches(parts: Layout, chosen: set[int]) -> Iterator[Span]:
    """What lies outside the dropped units; between two kept ones the strongest break that stood there survives."""
    text, units = parts.task.text, parts.units
    at = i = 0
    while i < len(units):
        if i in chosen:
            i += 1
            continue
        first = i
        while i + 1 < len(units) and i + 1 not in chosen and units[i + 1][0] == units[i][1]:
            i += 1
        (start, _), (_, end) = units[first], units[i]
        tail = _blank_before(text, end, start)
        before = _blank_before(text, start, units[first - 1][0] if first else start)
        if end == len(text) or text.count("\n", tail, end) > text.count("\n", before, start):
            yield at, before
            yield tail, end
        else:
            yield at, start
        at = end
        i += 1
    yield at, len(text)


def _blank_before(text: str, end: int, floor: int) -> int:
    """Where the white space that ends at `end` begins, not before `floor`."""
    return floor + len(text[floor:end].rstrip())


def _shorter(task: Task, kept: Kept, tokens: Counter) -> bool:
    return tokens.count(spans.join(task.text, kept.spans)) < tokens.count(task.text)
