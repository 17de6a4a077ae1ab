"""Quality by answers: those to shortened requests against those to the originals, which are each asked for twice.

Two answers to the very same request differ, too, where the temperature is above 0. So what counts is by how much the
answer to the shortened one agrees less with the two than these agree with each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from proxy.tune import TuneError
from proxy.tune.answers import agreement
from proxy.tune.asking import Asker, BudgetSpent
from proxy.tune.sweep import Sweep, Tried
from proxy.tune.traffic import Recorded


@dataclass(frozen=True, slots=True)
class Answered:
    """`tried` with their quality by answers to so many `requests`; `baseline`: how well two answers to the original
    agree, 0..1; `complete`: the money was enough for all of them."""

    tried: tuple[Tried, ...]
    requests: int
    baseline: float
    complete: bool


def by_answers(sweep: Sweep, tried: Sequence[Tried], asker: Asker, step: Callable[[], object]) -> Answered:
    """Request by request, all candidates or none, so that they are compared on the same ones.

    Raises `TuneError` where not one request could be answered."""
    losses: list[list[float]] = []
    baselines: list[float] = []
    complete = True
    for request in sweep.requests:
        try:
            found = _losses(sweep, tried, asker, request)
        except BudgetSpent:
            complete = False
            break
        if found:
            baselines.append(found[0])
            losses.append(found[1])
        step()
    if not losses:
        short = f"{asker.failed} answers did not come" if asker.failed else "--budget-usd is too little for one request"
        raise TuneError(f"no request was answered in full: {short}")
    each = zip(tried, zip(*losses, strict=True), strict=True)
    return Answered(tuple(_judged(one, lost) for one, lost in each), len(losses), fmean(baselines), complete)


def _losses(sweep: Sweep, tried: Sequence[Tried], asker: Asker, request: Recorded) -> tuple[float, list[float]] | None:
    """How well two answers to the original agree, and how much less each candidate's; None where one is missing."""
    results = [sweep.shortened(one.candidate, request)[0] for one in tried]
    bodies = [result.body if result else request.body for result in results]
    changed = list(dict.fromkeys(body for body in bodies if body != request.body))
    if not changed:
        return 1.0, [0.0] * len(tried)
    answers = asker.answers([(request.body, 0), (request.body, 1), *((body, 0) for body in changed)])
    one, two, *rest = answers
    if one is None or two is None or None in rest:
        return None
    same = agreement(one, two)
    lost = {
        body: same - (agreement(one, new) + agreement(two, new)) / 2
        for body, new in zip(changed, rest, strict=True)
        if new is not None
    }
    return same, [lost.get(body, 0.0) for body in bodies]


def _judged(one: Tried, lost: Sequence[float]) -> Tried:
    spread = 1.96 * stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else None
    return replace(one, quality=min(1.0, 1 - fmean(lost)), spread=spread)
