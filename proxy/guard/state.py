"""What the guard knows of a route, and how that changes. Numbers only. Pure.

Levels are floors under the shares that a policy keeps, then off. At each the test starts afresh.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from hashlib import blake2b

from compressors.base import Rate
from policies.base import Policy
from policies.routes import Route
from policies.rules import RulePolicy
from proxy.guard.sequential import Evidence, observed
from proxy.settings import Guarding, Settings

FLOORS: tuple[float, ...] = (0.0, 0.6, 0.8, 0.9)
"""By level; 0: as configured. One level more, and the route is off."""
OFF = len(FLOORS)
DAY = 86_400  # seconds; days are those of UTC


@dataclass(frozen=True, slots=True)
class State:
    """Of one test on one route. `terms`: what is tested, see `terms_of`; `since`: when the level began, Unix seconds;
    `alike`: sum of the agreements of two original answers; `day`: since 1970, which `spent_today` is about. Dollars."""

    route: str
    terms: str
    since: float
    level: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    alike: float = 0.0
    day: int = 0
    spent_today: float = 0.0
    spent: float = 0.0

    @property
    def baseline(self) -> float | None:
        """Mean agreement of two original answers: where it is near 0 the guard can see nothing."""
        return self.alike / self.evidence.samples if self.evidence.samples else None

    def same_test(self, other: "State | None") -> bool:
        """Whether an observation made under one belongs to the other."""
        return other is not None and (self.level, self.since) == (other.level, other.since)


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation: `worse` as in `compare.worse`, `alike` the agreement of the two original answers."""

    worse: float
    alike: float


def terms_of(settings: Settings, route: Route) -> str:
    """What a test is about: the policy and the margin, and a digest of what makes prompts and answers what they are:
    the policy's rules, its compressors with their settings, the upstream. Of a policy that is no dataclass the name is
    all that is known."""
    policy, upstream = settings.policies.get(route.policy), settings.upstreams.get(route.upstream)
    used = sorted(policy.compressors) if isinstance(policy, RulePolicy) else sorted(settings.compressors)
    rules = policy if is_dataclass(policy) else None
    made = repr((rules, [(name, settings.compressors.get(name)) for name in used], upstream and upstream.url))
    digest = blake2b(made.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{route.policy} {settings.guards[route.name].margin:g} {digest}"


def standing(states: Iterable[State], terms: str) -> State | None:
    """Of the states of a route that of this test; else the one used last: a new test begins at its level."""
    known = list(states)
    last = max(known, key=lambda state: (state.day, state.since), default=None)
    return next((state for state in known if state.terms == terms), last)


def begun(states: Sequence[State], route: str, terms: str, now: float) -> State:
    """The state to go on with, of the states of a route: a new one for a new route, a new test under new terms. The
    level stays."""
    found = standing(states, terms)
    if found is None:
        return State(route, terms, now)
    return found if found.terms == terms else State(route, terms, now, found.level)


def charged(state: State, usd: float, now: float) -> State:
    """With so much more spent; negative: less than had been set aside."""
    day = int(now // DAY)
    today = usd + (state.spent_today if state.day == day else 0.0)
    return replace(state, day=day, spent_today=max(0.0, today), spent=max(0.0, state.spent + usd))


def left(states: Iterable[State], budget: float, now: float) -> float:
    """Of the day's budget of a route, after what all its tests have spent."""
    return budget - sum(state.spent_today for state in states if state.day == int(now // DAY))


def told(state: State, seen: Seen, terms: Guarding, below: int, now: float) -> State:
    """With one more observation; at level `below`, and a new test, where that was one too many."""
    evidence = observed(state.evidence, seen.worse, terms.margin)
    if evidence.rejects(terms.confidence):
        return _fresh(state, below, now)
    return replace(state, evidence=evidence, alike=state.alike + seen.alike)


def recovered(state: State, hours: float, above: int, now: float) -> State:
    """At level `above`, with a new test, where this one has lasted so long."""
    return _fresh(state, above, now) if state.level and now - state.since >= hours * 3600 else state


def reset(state: State, now: float) -> State:
    """As configured again, by an operator."""
    return _fresh(state, 0, now)


def _fresh(state: State, level: int, now: float) -> State:
    return replace(state, level=level, since=now, evidence=Evidence(), alike=0.0)


def below(policy: Policy, level: int) -> int:
    """The next level at which less is dropped than at this one: a floor that no rule lies under changes nothing."""
    return next((n for n in _useful(policy) if n > level), OFF)


def above(policy: Policy, level: int) -> int:
    return max((n for n in _useful(policy) if n < level), default=0)


def _useful(policy: Policy) -> Iterable[int]:
    lowest = _lowest(policy)
    return [n for n, floor in enumerate(FLOORS) if n and floor > lowest]


def _lowest(policy: Policy) -> float:
    """The smallest share that a rule of the policy keeps; 0 where that depends on the text."""
    if not isinstance(policy, RulePolicy):
        return 0.0
    budgets = [r.budget for rule in policy.rules.values() for r in rule.ranges]
    return min((b.value if isinstance(b, Rate) else 0.0 for b in budgets), default=1.0)


def named(level: int) -> str:
    """A level in words."""
    if level >= OFF:
        return "off"
    return f"keep {FLOORS[level]:.0%}" if level else "as configured"
