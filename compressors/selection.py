"""What every unit-dropping compressor shares: which units may go, what they cost, and which stay within a budget."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from compressors import spans
from compressors.base import Kept, Rate, Span, Task, Threshold, Tokens
from compressors.tokenizers import Counter, counter


@dataclass(frozen=True, slots=True)
class Layout:
    """A task cut up. `units`: what may go, in order, white space after it included; `protected` as ordered spans
    that lie apart. `costs`: the tokens that dropping each unit saves. `total`: tokens of the whole text."""

    task: Task
    protected: tuple[Span, ...]
    units: tuple[Span, ...]
    costs: tuple[int, ...]
    total: int


def whole(task: Task) -> Kept:
    """Nothing dropped."""
    return Kept(((0, len(task.text)),) if task.text else ())


def keeps_all(task: Task) -> bool:
    """Whether the budget keeps everything anyway, as far as can be told without counting tokens."""
    budget = task.budget
    return budget.value <= 0 if isinstance(budget, Threshold) else isinstance(budget, Rate) and budget.value >= 1


def layout(task: Task) -> Layout:
    """Sentences of the task's text, cut at the borders of its documents, without those that are wholly protected."""
    text, protected = task.text, spans.clip(task.protected, len(task.text))
    units = tuple(_free(text, _split(task), protected))
    own, between, at = [], [], 0
    for start, end in units:
        solid = spans.solid(text, (start, end))
        if not text[at:start].strip():  # tokenizers merge white space with what follows it
            start = at
        between.append(text[at:start])
        own.append(text[start:solid])
        at = solid
    between.append(text[at:])
    tokens = counter(task.encoding)
    full = _counts(tokens, own)
    held = _counts(tokens, [spans.join(text, spans.within(protected, *unit)) for unit in units])
    costs = tuple(a - b for a, b in zip(full, held, strict=True))
    return Layout(task, protected, units, costs, sum(full) + sum(_counts(tokens, between)))


def _counts(tokens: Counter, texts: Sequence[str]) -> list[int]:
    found = iter(tokens.count_all([text for text in texts if text]))
    return [next(found) if text else 0 for text in texts]


def _split(task: Task) -> Iterator[Span]:
    edges = sorted({edge for document in task.documents for edge in document})
    for start, end in spans.sentences(task.text):
        inside = edges[bisect_right(edges, start) : bisect_left(edges, end)] if edges else ()
        for edge in inside:
            yield start, edge
            start = edge
        yield start, end


def _free(text: str, units: Iterable[Span], protected: Sequence[Span]) -> Iterator[Span]:
    """Each unit without the protected stretches at its edges; left out where nothing that shows is free."""
    for start, end in units:
        held = spans.within(protected, start, end)
        gaps = spans.complement(held, end, start) if held else ((start, end),)
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
    kept = Kept(stay(parts, chosen))
    saved = sum(cost for i, cost in enumerate(parts.costs) if i not in chosen)
    # The costs are exact but for a token where two units meet; only a small saving can be none, or worse.
    return kept if saved > 2 * len(parts.units) or _shorter(task, kept) else whole(task)


def stay(parts: Layout, chosen: set[int]) -> tuple[Span, ...]:
    """What stays of the text where only these of the units do, and all that is protected."""
    return spans.merge([*_stretches(parts, chosen), *parts.protected])


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
        first = i
        while i < len(units) and i not in chosen and (i == first or units[i][0] == units[i - 1][1]):
            i += 1
        if i == first:
            i += 1
            continue
        start, end = units[first][0], units[i - 1][1]
        tail = spans.solid(text, (start, end))
        before = spans.solid(text, (units[first - 1][0] if first else start, start))
        held = spans.within(parts.protected, start, end)
        touching = start > at and not text[start - 1].isspace()  # after a mark that ends where the unit begins
        if held:  # a mark or an address inside a dropped sentence must not run into its neighbours
            yield at, start
            yield from ((a - 1 if text[a - 1].isspace() else a, a) for a, _ in held[0 if touching else 1 :])
            yield tail, end
        elif end == len(text) or text.count("\n", tail, end) > text.count("\n", before, start):
            yield at, before
            yield tail, end
        elif touching:
            yield at, start
            yield (tail, end) if tail < end else (start, start + len(text[start:end]) - len(text[start:end].lstrip()))
        else:
            yield at, start
        at = end
    yield at, len(text)


def _shorter(task: Task, kept: Kept) -> bool:
    count = counter(task.encoding).count
    return count(spans.join(task.text, kept.spans)) < count(task.text)
