"""Quality by answers: those to shortened requests against those to the originals, which are each asked for twice.

Two answers to the very same request differ, too, where the temperature is above 0. So what counts is by how much the
answer to the shortened one agrees less with the two than these agree with each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, stdev

from proxy.guard.compare import agreement, wants_json, worse
from proxy.tune import TuneError
from proxy.tune.asking import Asker, BudgetSpent
from proxy.tune.sweep import Sweep, Tried
from proxy.tune.traffic import Recorded


@dataclass(frozen=True, slots=True)
class Answered:
    """`tried` with their quality by answers to so many `requests`, of which `asked` were sent, since a candidate
    changes them; `baseline`: how well two answers to the original of these agree, 0..1, None where none was sent;
    `silent`: so many of their answers said nothing; `failed`: so many did not come in this run; `complete`: the money
    was enough for all of them."""

    tried: tuple[Tried, ...]
    requests: int
    asked: int
    baseline: float | None
    silent: int
    failed: int
    complete: bool


@dataclass(frozen=True, slots=True)
class _Compared:
    """One request: how well two answers to the original agree, None where nobody was asked; how much less each
    candidate's does; how many answers said nothing."""

    same: float | None
    losses: list[float]
    silent: int = 0


def by_answers(sweep: Sweep, tried: Sequence[Tried], asker: Asker, step: Callable[[], object]) -> Answered:
    """Request by request, all candidates or none, so that they are compared on the same ones.

    Raises `TuneError` where not one request could be answered."""
    found: list[_Compared] = []
    complete = True
    served = zip(*(sweep.served(one.candidate) for one in tried), strict=True)
    for request, sent in zip(sweep.requests, served, strict=True):
        bodies = [one.result.body if one.result else request.body for one in sent]
        try:
            compared = _compared(request, bodies, asker)
        except BudgetSpent:
            complete = False
            break
        if compared:
            found.append(compared)
        step()
    if not found:
        short = f"{asker.failed} answers did not come" if asker.failed else "--budget-usd is too little for one request"
        raise TuneError(f"no request was answered in full: {short}")
    same = [one.same for one in found if one.same is not None]
    if same and not any(same):
        raise TuneError("no two answers to the same original agree in anything: what is lost cannot be measured")
    each = zip(tried, zip(*(one.losses for one in found), strict=True), strict=True)
    judged = tuple(_judged(one, lost) for one, lost in each)
    silent = sum(one.silent for one in found)
    return Answered(judged, len(found), len(same), fmean(same) if same else None, silent, asker.failed, complete)


def _compared(request: Recorded, bodies: Sequence[bytes], asker: Asker) -> _Compared | None:
    """`bodies`: the request as each candidate sends it. None where an answer did not come."""
    changed = list(dict.fromkeys(body for body in bodies if body != request.body))
    if not changed:
        return _Compared(None, [0.0] * len(bodies))
    asked = asker.answers([(request.body, 0), (request.body, 1), *((body, 0) for body in changed)])
    answers = [answer for answer in asked if answer is not None]
    if len(answers) < len(asked):
        return None
    one, two, *rest = answers
    same = partial(agreement, structured=wants_json(request.body))
    lost = {body: worse(new, one, two, same) for body, new in zip(changed, rest, strict=True)}
    return _Compared(same(one, two), [lost.get(body, 0.0) for body in bodies], sum(a.empty for a in answers))


def _judged(one: Tried, lost: Sequence[float]) -> Tried:
    spread = 1.96 * stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else None
    return replace(one, quality=min(1.0, 1 - fmean(lost)), spread=spread)
