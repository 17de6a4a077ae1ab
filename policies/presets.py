"""The policies that come with Laconic, and what a caller may make of a policy for one request."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from policies.base import Mode, Plan, Policy, Recovers, Segment, Step
from policies.budget import at_least
from policies.written import build

TABLES: dict[str, object] = tomllib.loads(files("policies").joinpath("presets.toml").read_text("utf-8"))
DEFAULT = "balanced"
PRESETS = build(TABLES, {}, [])


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A policy in another mode, and with every budget keeping at least `floor` (0: as it is). It has the name of the
    policy inside: records tell what the operator set up, not what one caller asked."""

    inner: Policy
    mode: Mode
    floor: float = 0.0

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def recover(self) -> bool:
        return isinstance(self.inner, Recovers) and self.inner.recover

    def plan(self, segments: Sequence[Segment]) -> Plan:
        plan = self.inner.plan(segments)
        if not self.floor:
            return plan

        def raised(step: Step) -> Step:
            tokens = sum(segments[index].tokens for index in step.segments)
            return replace(step, budget=at_least(step.budget, self.floor, tokens))

        return replace(plan, steps=tuple(map(raised, plan.steps)), pinned=tuple(map(raised, plan.pinned)))


def lowered(policy: Policy, floor: float) -> Policy:
    """The same policy, keeping at least about this share of each stretch; never does it compress more than before.

    Rates and token targets below the floor are raised to it. What a threshold keeps is not known beforehand, so a
    threshold becomes lossless. Raises `ValueError` unless 0 < floor <= 1.
    """
    if not 0 < floor <= 1:
        raise ValueError(f"a floor of {floor} is no share; allowed: above 0 and up to 1")
    return Adjusted(policy, policy.mode, floor)


def audited(policy: Policy) -> Policy:
    """The same policy, measured while the original is sent. One that is off stays off."""
    return policy if policy.mode is Mode.OFF else Adjusted(policy, Mode.AUDIT)
