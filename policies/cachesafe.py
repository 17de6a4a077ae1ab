"""What a provider's prompt cache makes of a plan: which of its steps are worth their price, and stay so.

Providers sell input that begins as an earlier request did, byte for byte, at a tenth to a half of the price; some
charge more for what they keep. Shortening a text before it is first sent, and sending that form for ever, always wins.
What loses is to send in one form what other requests bring in another.

So each step is decided when its text is first seen, in money, and keeps that decision in later turns: whoever
holds the `Sight`s (`proxy.recognised`) remembers it. Without any memory every step is taken, which is the same in every
turn, too, since a plan does not depend on later turns; only what the plan itself calls pinned stays whole then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby

from compressors.base import Budget, Rate, Tokens
from policies.base import Plan, Segment, Step
from policies.budget import lossy
from policies.rules import PLANNED

SHARED = "cache-pinned: asked of again and again"
LIKELY = "cache-pinned: may be asked of again"
EARLIER = "cache-pinned: first sent whole"
SMALL = "cache-pinned: too short a beginning"
COSTS = "costs more than it saves"
MINIMUM = 1024
"""Tokens of the shortest prefix that providers cache."""
_UNKNOWN = 0.5  # the share that a threshold is taken to keep


class Form(IntEnum):
    """How a text left when it was first sent."""

    SHORT = 1
    WHOLE = 2  # by decision
    MISSED = 3  # for another reason: a deadline, a model that was not there


@dataclass(frozen=True, slots=True)
class Market:
    """What input costs on a route. `cached` and `written` are multiples of the price of `usd` a token; `cached_share`:
    of the route's input tokens, as billed of late; `usd_per_second`: of compressing. The defaults hold for models
    without a price: the steepest discount that is known, and nothing to set seconds against."""

    usd: float | None = None
    cached: float = 0.1
    written: float = 1.0
    cached_share: float = 0.0
    usd_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a step's text.

    `form`: how it left, with the same words before it and the same question; None: it is new. `answered`: the assistant
    has spoken since, so that it was sent before. `cached`: a provider has it, though it is new here: somebody asked
    something else of it just now, or the caller says so. `others`: in how many requests such texts come again for
    another question, at most; `later`, `at_most`: in how many later turns. `before`: tokens that stand before it.
    `rest`: those from its beginning to the question in its message, or to the end; 0: its own. `growing`: more will
    follow, as after a tool's output. `seconds`: what the step is expected to take."""

    form: Form | None = None
    answered: bool = False
    cached: bool = False
    others: float = 0.0
    later: float = 0.0
    at_most: float = 0.0
    before: int = 0
    rest: int = 0
    growing: bool = False
    seconds: float = 0.0


def settle(plan: Plan, segments: Sequence[Segment], sights: Mapping[Step, Sight], market: Market = Market()) -> Plan:
    """The plan without the steps that would cost more than they save, with pinned steps that were taken before.

    Steps without one of the `sights` are taken as new. New ones of one text are decided together: a provider's cache
    ends at the first of them that changes from question to question."""
    reasons = list(plan.reasons)
    verdicts = {step: decided(step, segments, sights.get(step, Sight()), market) for step in plan.steps}
    for _, steps in groupby((step for step in plan.steps if verdicts[step] is None), key=lambda step: step.field):
        new = tuple(steps)
        verdicts |= dict.fromkeys(new, together(new, segments, [sights.get(step, Sight()) for step in new], market))
    for step, reason in verdicts.items():
        if reason:
            _set(reasons, step, reason)
    again = [step for step in plan.pinned if sights.get(step, Sight()).form is Form.SHORT]
    for step in again:
        _set(reasons, step, PLANNED)
    return replace(plan, steps=(*(step for step in plan.steps if not verdicts[step]), *again), reasons=tuple(reasons))


def decided(step: Step, segments: Sequence[Segment], sight: Sight, market: Market) -> str | None:
    """Why a step is not to be taken, "" where it is; None where that is still to be found out. A lossless one is as
    good for every question, and quick."""
    if sight.form is Form.SHORT:
        return ""
    if sight.form is Form.WHOLE or (sight.form is Form.MISSED and sight.answered):
        return EARLIER
    tokens, kept = _sizes(step, segments)
    if sight.growing and not sight.answered and _too_early(sight.before + tokens, sight.before + kept, market):
        return SMALL
    if not lossy(step.budget):
        return ""
    if sight.answered and sight.cached:
        return SHARED
    if sight.answered:
        saved = (tokens - kept) * (market.cached_share * market.cached + (1 - market.cached_share))
        return COSTS if _dear(saved, sight.seconds, market) else ""
    return None


def together(steps: Sequence[Step], segments: Sequence[Segment], sights: Sequence[Sight], market: Market) -> str:
    """Why new lossy steps of one text are not to be taken; "" where they are."""
    sizes = [_sizes(step, segments) for step in steps]
    cached = any(sight.cached for sight in sights)
    others, at_most = max(sight.others for sight in sights), max(sight.at_most for sight in sights)
    sight = replace(sights[0], cached=cached, others=others, at_most=at_most)
    gone = sum(tokens - kept for tokens, kept in sizes)
    stretch = max(sights[0].rest, sum(tokens for tokens, _ in sizes))  # what a change at its beginning makes new
    saved = worth(stretch, stretch - gone, sight, market)
    if saved <= 0:
        return SHARED if cached else LIKELY
    return COSTS if _dear(saved, sum(sight.seconds for sight in sights), market) else ""


def worth(tokens: int, kept: int, sight: Sight, market: Market) -> float:
    """What sending `kept` instead of `tokens` of a new text saves, in tokens at the list price.

    Now: whole, it is billed as cached or as new; shortened, as new. Later turns send either form again, cached where
    the prefix is long enough for that; a form that makes it too short loses that for all that stands before, too. And
    where the text comes again for another question it goes whole, as new where it might have been cached."""
    long = sight.before + tokens >= MINIMUM
    short = sight.before + kept >= MINIMUM
    new = market.written if long else 1.0
    now = tokens * (market.cached if sight.cached and long else new) - kept * (market.written if short else 1.0)
    each = tokens * (market.cached if long else 1.0) - kept * (market.cached if short else 1.0)
    if long and not short:
        each -= sight.before * (1 - market.cached)
    lost = min(1.0, sight.others) * tokens * (new - market.cached) if long else 0.0
    return now + each * (sight.later if each > 0 else sight.at_most) - lost


def _too_early(long: int, short: int, market: Market) -> bool:
    """Whether a conversation that grows would reach the smallest prefix that is cached so much later that this costs
    more than it saves. With g new tokens a turn, a token less saves its price in (MINIMUM - long) / g turns until then,
    and puts off by 1 / g turns the discount of (1 - cached) for MINIMUM tokens."""
    return short < MINIMUM and long >= MINIMUM * market.cached


def expected(budget: Budget, tokens: int) -> int:
    """How many tokens a budget keeps of a text of `tokens`."""
    if isinstance(budget, Rate):
        return round(tokens * budget.value)
    return min(tokens, budget.value) if isinstance(budget, Tokens) else round(tokens * _UNKNOWN)


def _sizes(step: Step, segments: Sequence[Segment]) -> tuple[int, int]:
    tokens = sum(segments[index].tokens for index in step.segments)
    return tokens, expected(step.budget, tokens)


def _dear(saved: float, seconds: float, market: Market) -> bool:
    return market.usd is not None and saved * market.usd < seconds * market.usd_per_second


def _set(reasons: list[str], step: Step, reason: str) -> None:
    for index in step.segments:
        reasons[index] = reason
