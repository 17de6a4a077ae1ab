"""Iterative token pruning (LLMLingua, arXiv 2310.05736, section 4.2): window by window, each scored with the compressed
form of all before it as its context, and pruned before the next one is looked at.

With a question in front of the text, and the score without it set against the score with it, this is the token stage of
LongLLMLingua (arXiv 2310.06839). The published package keeps a token for the surprise of the one after it, leaves
the last window alone and reads the whole prompt once in vain; none of that is done here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressors import cancel, spans, words
from compressors.base import Kept, Rate, Span, Task, Threshold
from compressors.causal import CausalModel, Chain, Encoded
from compressors.fit import fit
from compressors.tokenizers import counter

Floats = NDArray[np.float64]
Unit = Literal["word", "token"]

_PIECES = 32  # tokens of a word; a longer one, which is none, is cut


@dataclass(frozen=True, slots=True)
class Pruning:
    """`window`: tokens that are scored, then pruned, together. `prefix`: tokens in front of the text, never pruned.
    `contrast`: None, or the prefix of the chain whose surprises are set against those with `prefix`: the score is how
    much less surprising a token is with `prefix` than with this one. `unit`: what stays or goes as a whole; "token" is
    the paper's, down to pieces of words and numbers. `scorer`: where it is given, no chain is read; it takes the
    stretches that lose anything, and gives the sum of the scores of the tokens that end at or before each character."""

    window: int = 200
    prefix: tuple[int, ...] = ()
    contrast: tuple[int, ...] | None = None
    unit: Unit = "word"
    scorer: Callable[[Sequence[Span]], Floats] | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A text as units of whole characters: all its tokens, the first one of each unit, the share that shall stay where
    the unit is, and whether it stays anyway. `scores`: the sum of its tokens' scores, where that is known."""

    ids: NDArray[np.intp]
    starts: NDArray[np.intp]
    rates: Floats
    held: NDArray[np.bool_]
    scores: Floats | None = None


def opening(model: CausalModel, before: str = "", question: str = "") -> tuple[int, ...]:
    """A prefix for `Pruning`: the model's beginning of a text, the end of what stands before, the question."""
    shown = before[-4 * model.longest :] + (f"{question}\n\n" if question else "")
    return (*model.bos, *model.encode(shown).ids)


def prune(task: Task, model: CausalModel, stretches: Sequence[tuple[Span, float]], pruning: Pruning) -> Kept:
    """What stays of the text, of the size that the budget asks for.

    `stretches`: ordered spans apart, each with a number that is added to the share of it that stays. They are pruned
    unit by unit; the rest of the text goes.
    """
    encoded = model.encode(task.text)
    starts, characters = encoded.units()
    if pruning.unit == "word":
        starts, characters = _words(task.text, model, starts, characters)
    solid = [_strip(task.text, span) for span in characters]
    place = _place(solid, [span for span, _ in stretches])
    inside = np.flatnonzero(place >= 0)
    held = _held(task, solid)
    flow = _flow(encoded, starts, inside, held)
    more = np.array([slant for _, slant in stretches])[place[inside]]
    rates = np.clip(share(task, [span for span, _ in stretches], flow) + more, 0, 1)
    threshold = task.budget.value if isinstance(task.budget, Threshold) else None
    known = None
    if pruning.scorer:
        asked = set(place[inside][(rates > 0) & (rates < 1)].tolist()) if threshold is None else range(len(stretches))
        known = _over(pruning.scorer([stretches[i][0] for i in sorted(asked)]), characters, inside)
    flow = Flow(flow.ids, flow.starts, rates, flow.held, known)
    scores = np.full(len(solid), -np.inf)
    scores[inside] = margins(model, flow, pruning, threshold)
    units = [(span, float(score)) for span, score in zip(solid, scores, strict=True) if span[0] < span[1]]
    return fit(task, [span for span, _ in units], [score for _, score in units])


def share(task: Task, kept: Sequence[Span], flow: Flow) -> float:
    """The share of the free tokens in the kept spans that the budget leaves room for."""
    if isinstance(task.budget, Threshold):
        return 1.0
    count = counter(task.encoding).count
    target = task.budget.value * count(task.text) if isinstance(task.budget, Rate) else task.budget.value
    whole = target / max(count(spans.join(task.text, kept)), 1)
    sizes = np.diff(np.append(flow.starts, len(flow.ids)))
    fixed = float(sizes[flow.held].sum())
    return (whole * len(flow.ids) - fixed) / max(len(flow.ids) - fixed, 1)


def margins(model: CausalModel, flow: Flow, pruning: Pruning, threshold: float | None = None) -> Floats:
    """For each unit how far it is above the line where it would be dropped, higher is better.

    A unit's score is the mean of its tokens'. By rates: the score's quantile within its window, less 1 - the unit's
    rate. With a threshold: the score as a number from 0 to 1, which is 1 - p of a token, or the share that the question
    has in making it likely.
    """
    window = min(pruning.window, model.longest // 2)
    prefixes = () if pruning.scorer else (pruning.prefix, pruning.contrast)
    chains = [_Growing(model, prefix, window) for prefix in prefixes if prefix is not None]
    found = np.empty(len(flow.starts))
    borders = np.append(flow.starts, len(flow.ids))
    first = 0
    while first < len(flow.starts):
        cancel.check()
        last = max(first + 1, int(np.searchsorted(borders, borders[first] + window, "right")) - 1)
        ids = flow.ids[borders[first] : borders[last]]
        offsets = borders[first:last] - borders[first]
        part = slice(first, last)
        sizes = np.diff(borders[first : last + 1])
        scores = [np.add.reduceat(chain.read(ids), offsets) / sizes for chain in chains]
        if flow.scores is not None:
            scores = [np.zeros(len(sizes)), flow.scores[part] / sizes]
        free = ~flow.held[part]
        if threshold is None:
            free &= (flow.scores is None) | ((flow.rates[part] > 0) & (flow.rates[part] < 1))
            found[part] = _quantiles(scores[0] if len(scores) == 1 else scores[1] - scores[0], sizes, free)
            found[part] -= 1 - flow.rates[part]
            if flow.scores is not None:  # what is kept or dropped as a whole
                found[part][flow.rates[part] >= 1] = 1
                found[part][flow.rates[part] <= 0] = -1
            stays = found[part] > 0
        else:
            found[part] = 1 - np.exp(-scores[0]) if len(scores) == 1 else 1 / (1 + np.exp(scores[0] - scores[1]))
            stays = found[part] >= threshold
        kept = np.repeat(stays | ~free, sizes)
        for chain in chains:
            chain.settle(ids[kept])
        first = last
    return found


class _Growing:
    """One chain: a fixed prefix, the compressed text so far, and the window that is being scored."""

    def __init__(self, model: CausalModel, prefix: Sequence[int], window: int) -> None:
        self._model, self._window = model, window
        self._tail = model.longest // 8  # of which the last window's part would be read again anyway
        bos = model.bos if tuple(prefix[: len(model.bos)]) == model.bos else ()
        room = model.longest // 4 - len(bos)
        self._prefix = list(prefix) if len(prefix) <= room else [*bos, *prefix[-room:]]
        self._chain: Chain = model.chain()
        self._fresh = list(self._prefix)  # to be read before the window
        self._recent: list[int] = []  # what stayed of the text, as far as a chain begun anew would need it

    def read(self, ids: NDArray[np.intp]) -> Floats:
        """The surprises of the window's tokens."""
        self._base = len(self._chain) + len(self._fresh)
        if self._base + len(ids) > self._model.longest:
            self._chain = self._model.chain()
            self._fresh = self._prefix + self._recent
            self._base = len(self._fresh)
        scores = self._chain.extend([*self._fresh, *ids.tolist()], skip=len(self._fresh)).astype(float)
        if np.isnan(scores[0]):
            scores[0] = np.nanmax(scores, initial=0.0)
        return scores

    def settle(self, kept: NDArray[np.intp]) -> None:
        """Takes what stayed of the window instead of it."""
        self._chain.crop(self._base)
        self._fresh = kept.tolist()
        self._recent = (self._recent + self._fresh)[-self._tail :]


def _quantiles(scores: Floats, sizes: NDArray[np.intp], free: NDArray[np.bool_]) -> Floats:
    """Where each free unit stands among their tokens, from near 0 to near 1; of equals, the earlier one is higher."""
    order = np.flatnonzero(free)
    order = order[np.argsort(-scores[order], kind="stable")]
    found = np.zeros(len(scores))
    found[order] = 1 - (np.cumsum(sizes[order]) - sizes[order] / 2) / max(sizes[order].sum(), 1)
    return found


def _words(
    text: str, model: CausalModel, starts: Sequence[int], characters: Sequence[Span]
) -> tuple[list[int], list[Span]]:
    """Units joined to words, numbers with their marks, contractions (see `compressors.words`)."""
    read = words.read(text, model.tokenizer)
    owners = np.where(read.owners < 0, -1, np.append(words.compounds(text, read), -1)[read.owners])[list(starts)]
    firsts: list[int] = []
    found: list[Span] = []
    before = -1
    for start, span, owner in zip(starts, characters, owners.tolist(), strict=True):
        if owner >= 0 and owner == before and start - firsts[-1] < _PIECES:
            found[-1] = found[-1][0], span[1]
        else:
            firsts.append(start)
            found.append(span)
        before = owner
    return firsts, found


def _flow(encoded: Encoded, starts: Sequence[int], inside: NDArray[np.intp], held: NDArray[np.bool_]) -> Flow:
    borders = np.append(np.array(starts, np.intp), len(encoded.ids))
    sizes = np.diff(borders)[inside]
    wanted = np.zeros(len(starts), bool)
    wanted[inside] = True
    ids = np.array(encoded.ids, np.intp)[np.repeat(wanted, np.diff(borders))]
    return Flow(ids, np.cumsum(sizes) - sizes, np.empty(0), held[inside])


def _place(units: Sequence[Span], stretches: Sequence[Span]) -> NDArray[np.intp]:
    """For each unit the stretch in which it begins, or -1."""
    begins = np.array([start for start, _ in units], np.intp)
    ends = np.array([end for _, end in stretches] or [0], np.intp)
    found = np.searchsorted(np.array([start for start, _ in stretches], np.intp), begins, "right") - 1
    return np.where((found >= 0) & (begins < ends[found]), found, -1)


def _over(sums: Floats, units: Sequence[Span], inside: NDArray[np.intp]) -> Floats:
    """What running sums grow by over each of these units."""
    borders = sums[np.array(units, np.intp).reshape(-1, 2)[inside]]
    return borders[:, 1] - borders[:, 0]


def _held(task: Task, units: Sequence[Span]) -> NDArray[np.bool_]:
    protected = spans.clip(task.protected, len(task.text))
    return np.array([bool(spans.within(protected, *unit)) for unit in units] if protected else [False] * len(units))


def _strip(text: str, span: Span) -> Span:
    body = text[span[0] : span[1]]
    start = span[0] + len(body) - len(body.lstrip())
    return start, max(start, span[0] + len(body.rstrip()))
