"""Budget and test of each route, kept in a store that other workers write to as well. Waits for the disk: for the
guard's own thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """A request that was drawn, under which terms, in which test (see `state.terms_of`), in which state it was
    compressed (None: the first ever; of another test: that one's level), and its answer."""

    request: Request
    terms: Guarding
    tested: str
    state: State | None
    answer: Whole

    @property
    def route(self) -> str:
        return self.request.route.name

    @property
    def policy(self) -> Policy:
        return self.request.settings.policies[self.request.route.policy]

    def belongs(self, to: State) -> bool:
        """Whether it was compressed at the level, and in the test, of this state."""
        if self.state is None or self.state.terms != self.tested:
            return to.level == (self.state.level if self.state else 0)
        return self.state.same_test(to)


class Book:
    """Methods raise `sqlite3.Error`; nothing has changed then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._full: dict[str, tuple[float, float]] = {}  # by route, the day and the budget that is used up

    def reserve(self, sample: Sample, usd: float) -> State | None:
        """The state with so much set aside; None where there is not so much left today. The first that is too large
        ends the day: or only small requests would be compared."""
        now = time()
        today = now // state.DAY, sample.terms.usd_per_day
        room: list[float] = []

        def change(states: Sequence[State]) -> State:
            new = state.begun(states, sample.route, sample.tested, now)
            room.append(state.left(states, sample.terms.usd_per_day, now))
            return new if room[0] < usd else state.charged(new, usd, now)

        if self._full.get(sample.route) == today:
            return None
        new = self._store.change(sample.route, change)
        if room[0] >= usd:
            return new
        self._full[sample.route] = today
        said = "quality guard: route %r sends no more originals today: $%.4f would have to be set aside, $%.4f are left"
        log.warning(said, sample.route, usd, max(0.0, room[0]))
        return None

    def settle(self, sample: Sample, reserved: State, usd: float, seen: Seen | None) -> State:
        """Puts right by `usd` what was set aside, and counts what was seen, if the request was compressed as the test
        has it that is still going on."""
        now = time()
        stepped: list[State] = []

        def change(states: Sequence[State]) -> State:
            before = state.charged(state.begun(states, sample.route, sample.tested, now), usd, now)
            if seen is None or not (before.same_test(reserved) and sample.belongs(reserved)):
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

    def newest(self, settings: Settings) -> Sequence[State]:
        """All states, those raised by a level whose time has come."""
        now, states = time(), self._store.load()
        for route in settings.routes:
            terms, policy = settings.guards.get(route.name), settings.policies.get(route.policy)
            if terms and policy and terms.recover_hours is not None:
                tested = state.terms_of(settings, route)
                found = state.standing((s for s in states if s.route == route.name), tested)
                if found and found.level:
                    self._recover(replace(found, terms=tested), terms.recover_hours, policy, now)
        return self._store.load()

    def _recover(self, found: State, hours: float, policy: Policy, now: float) -> None:
        """A level that is taken over from another test lasts from now on."""

        def change(states: Sequence[State]) -> State:
            mine = state.begun(states, found.route, found.terms, now)
            return state.recovered(mine, hours, state.above(policy, mine.level), now)

        self._store.change(found.route, change)

    def close(self) -> None:
        self._store.close()
