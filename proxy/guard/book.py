"""Budget and test of each route, kept in a store that other workers write to as well. Waits for the disk: for the
guard's own thread."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from time import time

from policies.base import Policy
from proxy.guard import state
from proxy.guard.originals import Request
from proxy.guard.state import Seen, State
from proxy.guard.store import Store
from proxy.guard.witness import Whole
from proxy.settings import Guarding, Settings

log = logging.getLogger("laconic.guard")


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that was drawn, under which terms, in which state (None: the first ever), and its answer."""

    request: Request
    terms: Guarding
    state: State | None
    answer: Whole

    @property
    def route(self) -> str:
        return self.request.route.name

    @property
    def policy(self) -> Policy:
        return self.request.settings.policies[self.request.route.policy]

    @property
    def tested(self) -> str:
        """What a test is about: with another policy or margin it begins anew."""
        return f"{self.request.route.policy} {self.terms.margin:g}"


class Book:
    """Methods raise `sqlite3.Error`; nothing has changed then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._full: dict[str, float] = {}  # by route, the day whose budget is used up

    def reserve(self, sample: Sample, usd: float) -> State | None:
        """The state with so much set aside; None where there is not so much left today. The first that is too large
        ends the day: or only small requests would be compared."""
        now = time()
        today = now // state.DAY

        def change(old: State | None) -> State:
            new = state.begun(old, sample.route, sample.tested, now)
            if state.left(new, sample.terms.usd_per_day, now) < usd:
                self._full[sample.route] = today
                return new
            return state.charged(new, usd, now)

        if self._full.get(sample.route) == today:
            return None
        new = self._store.change(sample.route, change)
        if self._full.get(sample.route) != today:
            return new
        log.warning("quality guard: what route %r may spend today is spent", sample.route)
        return None

    def settle(self, sample: Sample, reserved: State, usd: float, seen: Seen | None) -> State:
        """Puts right by `usd` what was set aside, and counts what was seen, if the request was compressed as the test
        has it that is still going on."""
        now = time()
        stepped: list[State] = []

        def change(old: State | None) -> State:
            before = state.charged(state.begun(old, sample.route, sample.tested, now), usd, now)
            valid = before.same_test(reserved) and reserved.level == (sample.state.level if sample.state else 0)
            if seen is None or not valid:
                return before
            after = state.told(before, seen, sample.terms, state.below(sample.policy, before.level), now)
            stepped.extend([before] * (after.level != before.level))
            return after

        new = self._store.change(sample.route, change)
        assert new is not None
        if stepped and seen:
            samples = stepped[0].evidence.samples + 1
            points = 100 * (stepped[0].evidence.total + seen.worse) / samples
            said = "quality guard: answers of route %r agree %.0f points less than those to originals do (%d samples)"
            log.warning(said, sample.route, points, samples)
        return new

    def newest(self, settings: Settings) -> Mapping[str, State]:
        """All states, those raised by a level whose time has come."""
        now, states = time(), self._store.load()
        for route in settings.routes:
            terms, policy = settings.guards.get(route.name), settings.policies.get(route.policy)
            found = states.get(route.name)
            if terms and policy and found and found.level and terms.recover_hours is not None:
                self._recover(found, terms.recover_hours, state.above(policy, found.level), now)
        return self._store.load()

    def _recover(self, found: State, hours: float, up: int, now: float) -> None:
        def change(old: State | None) -> State | None:
            return state.recovered(old, hours, up, now) if found.same_test(old) and old else old

        self._store.change(found.route, change)

    def close(self) -> None:
        self._store.close()
