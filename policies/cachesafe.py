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

from compressors.base import Budget, Rate, Tokens
from policies.base import Plan, Segment, Step
from policies.budget import lossy
from policies.rules import PINNED, PLANNED

SHARED = "cache-pinned: asked of again and again"
EARLIER = "cache-pinned: first sent whole"
COSTS = "costs more than it saves"
_UNKNOWN = 0.5  # the share that a threshold is taken to keep


class Form(IntEnum):
    """How a text left when it was first sent."""

    SHORT = 1
    WHOLE = 2  # by decision
    MISSED = 3  # for another reason: a deadline, an audit


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
    """What is known of a step's text. `form`: how it left, with the same words before it and the same question; None:
    it is new. `answered`: the assistant has spoken since, so that it was sent before. `again`: how likely a provider
    has it and all before it in its cache, though it is new here, 0 to 1. `seconds`: what the step is expected to take.
    """

    form: Form | None = None
    answered: bool = False
    again: float = 0.0
    seconds: float = 0.0


def settle(plan: Plan, segments: Sequence[Segment], sights: Mapping[Step, Sight], market: Market = Market()) -> Plan:
    """The plan without the steps that would cost more than they save, with pinned steps that were taken before.

    Steps without one of the `sights` are taken as new."""
    reasons = list(plan.reasons)
    steps: list[Step] = []
    for step in plan.steps:
        reason = verdict(step, segments, sights.get(step, Sight()), market)
        if reason:
            _set(reasons, step, reason)
        else:
            steps.append(step)
    for step in plan.pinned:
        if sights.get(step, Sight()).form is Form.SHORT:
            _set(reasons, step, PLANNED)
            steps.append(step)
    return replace(plan, steps=tuple(steps), reasons=tuple(reasons))


def verdict(step: Step, segments: Sequence[Segment], sight: Sight, market: Market) -> str:
    """Why a step is not to be taken; "" where it is. A lossless one is as good for every question, and quick."""
    if sight.form is Form.SHORT:
        return ""
    if sight.form is Form.WHOLE or (sight.form is Form.MISSED and sight.answered):
        return EARLIER
    if not lossy(step.budget):
        return ""
    tokens = sum(segments[index].tokens for index in step.segments)
    kept = expected(step.budget, tokens)
    again = sight.again if step.recognise else 0.0
    saved = (tokens - kept) * _old(market) if sight.answered else worth(tokens, kept, again, market)
    if saved <= 0:
        return SHARED
    if market.usd is not None and saved * market.usd <= sight.seconds * market.usd_per_second:
        return COSTS
    return ""


def worth(tokens: int, kept: int, again: float, market: Market) -> float:
    """What sending `kept` instead of `tokens` of a text that is new saves, in tokens at the list price.

    Whole, it would be billed as cached with the probability `again`, and as new or written else; shortened for this
    question it is new to the provider in any case: the discount is lost, and it is written once more."""
    whole = again * market.cached + (1 - again) * market.written
    return tokens * whole - kept * market.written


def expected(budget: Budget, tokens: int) -> int:
    """How many tokens a budget keeps of a text of `tokens`."""
    if isinstance(budget, Rate):
        return round(tokens * budget.value)
    return min(tokens, budget.value) if isinstance(budget, Tokens) else round(tokens * _UNKNOWN)


def _old(market: Market) -> float:
    """What a token that was sent before is billed at, as a multiple of the price: cached as often as others are."""
    return market.cached_share * market.cached + (1 - market.cached_share)


def _set(reasons: list[str], step: Step, reason: str) -> None:
    for index in step.segments:
        reasons[index] = reason


__all__ = ["COSTS", "EARLIER", "PINNED", "SHARED", "Form", "Market", "Sight", "expected", "settle", "verdict", "worth"]
