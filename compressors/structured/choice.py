"""From a layout and a budget to the spans that stay."""

from collections.abc import Sequence

from compressors.base import Kept, Rate, Span, Task, Threshold
from compressors.spans import clip, complement, join, merge
from compressors.structured.rank import relevance
from compressors.structured.units import NOISE, Layout, cuts, fit, outside, own_texts, pinned, with_parents
from compressors.tokenizers import counter


def choose(task: Task, layout: Layout) -> Kept:
    """Free spans go; units go as the budget asks. Never more tokens than before: else the text stays as it is."""
    text, length = task.text, len(task.text)
    protected = clip(task.protected, length)
    free = outside(merge(layout.free), protected, length)
    count = counter(task.encoding).count
    before = count(text)
    best = complement(free, length)
    size = count(join(text, best)) if free else before
    if size > before:
        best, size = ((0, length),), before
    if layout.units and _asks_for_less(task, size, before):
        gone = _drop(task, layout, free, pinned(layout.units, protected), before)
        shorter = complement(merge([*free, *outside(gone, protected, length)]), length)
        if count(join(text, shorter)) < size:
            best = shorter
    return Kept(best)


def _asks_for_less(task: Task, size: int, before: int) -> bool:
    """Whether the budget wants more than the lossless changes gave."""
    budget = task.budget
    if isinstance(budget, Threshold):
        return budget.value > 0
    return size > target(task, before) and not (isinstance(budget, Rate) and budget.value >= 1)


def target(task: Task, before: int) -> int:
    budget = task.budget
    if isinstance(budget, Rate):
        return round(budget.value * before)
    return before if isinstance(budget, Threshold) else budget.value


def _drop(task: Task, layout: Layout, free: Sequence[Span], keep: set[int], before: int) -> tuple[Span, ...]:
    units = layout.units
    own = own_texts(task.text, layout, free)
    scores = relevance(task.question, task.text, units, own)
    if isinstance(task.budget, Threshold):
        kept = _above(task.budget.value, layout, scores, keep)
    else:
        best = max(range(len(units)), key=lambda i: (units[i].alone, scores[i], -i))
        if scores[best] > 0:  # what was asked for stays, even where it alone is more than the budget
            keep = keep | {best}
        costs = counter(task.encoding).count_all(own)
        kept = fit(units, costs, [s + u.prior for s, u in zip(scores, units, strict=True)], target(task, before), keep)
    return merge(cuts(units, kept))


def _above(share: float, layout: Layout, scores: Sequence[float], keep: set[int]) -> set[int]:
    """Units at least `share` as relevant as the best one. Where the question matches nothing, only noise goes."""
    least = share * max(scores)
    chosen = {i for i, u in enumerate(layout.units) if u.alone and u.prior > NOISE and max(scores[i], u.prior) >= least}
    return with_parents(layout.units, keep | chosen)
