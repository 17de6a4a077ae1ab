"""The guard at work. For a share of the requests that went out compressed, the original is sent too, twice, in the
background, within a budget; the three answers are compared, and where the compressed ones are too often worse the
route's compression steps down.

Nothing here is waited for by a client, and nothing that goes wrong here reaches one. Prompts and answers are held in
memory until they are compared. Which requests are taken is drawn at random, whatever they say. Connections are the
guard's own, and one thread of its own reads, compares and writes.
"""

import asyncio
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from policies.base import Policy
from policies.presets import lowered
from policies.routes import Route
from proxy import pricing
from proxy.asgi import Send
from proxy.guard.answers import PACKED, Answer, read_answer
from proxy.guard.asking import Asker, Original, original, read
from proxy.guard.book import Book, Sample
from proxy.guard.compare import Likeness, agreement, wants_json, worse
from proxy.guard.originals import Request
from proxy.guard.state import FLOORS, OFF, Seen, State, named, standing, terms_of
from proxy.guard.store import Store
from proxy.guard.witness import Whole, Witness
from proxy.headers import content_coding
from proxy.ledger import plain
from proxy.override import asked
from proxy.pricing import Price
from proxy.savings import Measured, Outcome
from proxy.settings import Settings

if TYPE_CHECKING:
    from proxy.guard.meaning import Meaning

T = TypeVar("T")

AT_ONCE = 2
"""Comparisons at the same time. Each sends its two requests one after the other, so these are as many."""
POLL = 2.0
"""Seconds after which a step by another worker, or by an operator, is noticed."""
IS_OFF = Measured(Outcome.BYPASSED, "quality guard: off")

BROKEN = (sqlite3.Error, OSError, ValueError, TypeError, LookupError, ArithmeticError)
"""What a ledger that is locked, lost or damaged, or a policy that another worker has, may raise."""

log = logging.getLogger("laconic.guard")


class Guard:
    """`counts`: by route, what became of requests that were drawn; `spent`: USD by route, both of this process. Made
    before the event loop runs; everything else belongs to the loop's thread. Closes its store."""

    def __init__(
        self, store: Store, current: Callable[[], Settings], prices: Mapping[str, Price], poll: float = POLL
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.spent: dict[str, float] = {}
        self._book, self._current, self._prices, self._poll = Book(store), current, prices, poll
        self._states: Mapping[str, Sequence[State]] = {}  # by route, one a test
        self._read: tuple[Settings | None, dict[str, str]] = (None, {})  # what is tested on each route of the settings
        self._take(store.load())
        self._asker = Asker()
        self._meaning: Meaning | None = None
        self._thread = ThreadPoolExecutor(1, "laconic-guard")
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._closing = False
        self._told: set[tuple[str, str]] = set()  # what was said of a route, once

    # For the way of a request.

    def apply(
        self, settings: Settings, route: Route, policy: Policy | Measured
    ) -> tuple[Policy | Measured, State | None]:
        """The policy as far as the guard still lets it compress, or the record that it doesn't; and by which state:
        for `watch`."""
        if route.name not in settings.guards or isinstance(policy, Measured):
            return policy, None
        now = self._standing(settings, route)
        if now is None or not now.level:
            return policy, now
        return IS_OFF if now.level >= OFF else lowered(policy, FLOORS[now.level]), now

    def watch(self, send: Send, request: Request, state: State | None) -> Send:
        """What to send the answer through: `send` itself, unless the request is drawn. `state`: by which it was
        compressed. A caller who asked for less compression says nothing about the policy."""
        terms = request.settings.guards.get(request.route.name)
        if terms is None or request.measured.outcome is not Outcome.COMPRESSED or random.random() >= terms.share:
            return send
        if asked(request.scope["headers"]) is not None:
            return send
        if self._asker.paused(request.route.name):
            self.counts[request.route.name, "paused"] += 1
            return send
        tested = self._tested(request.settings, request.route)

        def tell(answer: Whole | None) -> None:
            if answer is None:
                self.counts[request.route.name, "unanswered"] += 1
            else:
                self._begin(Sample(request, terms, tested, state, answer))

        return Witness(send, tell)

    def _tested(self, settings: Settings, route: Route) -> str:
        if self._read[0] is not settings:
            self._read = settings, {}
        tests = self._read[1]
        if route.name not in tests:
            tests[route.name] = terms_of(settings, route)
        return tests[route.name]

    def _standing(self, settings: Settings, route: Route) -> State | None:
        return standing(self._states.get(route.name, ()), self._tested(settings, route))

    # For the server.

    def states(self) -> list[State]:
        """Of the routes that are guarded now, with the policies that they have now."""
        settings = self._current()
        guarded = (route for route in settings.routes if route.name in settings.guards)
        return [found for route in guarded if (found := self._standing(settings, route))]

    def start(self) -> None:
        self._poller = asyncio.get_running_loop().create_task(self._watch_store())

    async def aclose(self) -> None:
        """Drops what is under way; nothing is sent afterwards."""
        self._closing = True
        tasks = [*self._tasks, *([self._poller] if self._poller else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._asker.aclose()
        await asyncio.to_thread(self._thread.shutdown)
        self._book.close()

    # In the background.

    def _begin(self, sample: Sample) -> None:
        if self._closing:
            return
        if len(self._tasks) >= AT_ONCE:
            self.counts[sample.route, "busy"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._compare(sample))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, sample.route))

    def _ended(self, route: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if error := task.exception():  # its message may quote an answer
            self.counts[route, "failed"] += 1
            log.error("quality guard of route %r: %s", route, type(error).__name__)

    async def _compare(self, sample: Sample) -> None:
        price = pricing.price(sample.request.measured.model, self._prices)
        if price is None or price.output is None:
            self._count(sample, "unpriced")
            return
        answer = await self._run(lambda: read_answer(sample.answer.headers, sample.answer.body))
        if answer is None:
            self._count(sample, "unreadable")
            return
        try:
            await self._against_originals(sample, answer, price)
        except sqlite3.Error:
            self._count(sample, "not kept")

    async def _against_originals(self, sample: Sample, answer: Answer, price: Price) -> None:
        """The second original is sent only where, after what the first has cost, there is still room for it."""
        one = await self._run(lambda: original(price, sample.request, answer))
        aside = 2 * one.estimate
        reserved = await self._run(lambda: self._book.reserve(sample, aside))
        if reserved is None:
            self._count(sample, "budget")
            return
        first, paid = await self._ask(one)
        short = first is not None and paid > one.estimate
        if short and await self._run(lambda: self._book.reserve(sample, paid - one.estimate)) is not None:
            aside, short = paid + one.estimate, False
        second, more = await self._ask(one) if first and not short else (None, 0.0)
        spent = paid + more
        self.spent[sample.route] = self.spent.get(sample.route, 0.0) + spent
        both = (first, second) if first and second else None
        new = await self._run(
            lambda: self._book.settle(sample, reserved, spent - aside, self._seen(sample, answer, both))
        )
        self._count(sample, "compared" if both else "budget" if short else "failed")
        others = [state for state in self._states.get(sample.route, ()) if state.terms != new.terms]
        self._take([*(s for name, of in self._states.items() if name != sample.route for s in of), *others, new])

    async def _ask(self, one: Original) -> tuple[Answer | None, float]:
        """An answer to the original and its price; what it could have cost where nobody knows."""
        whole, usd = await self._asker.send(one)
        if whole is None:
            return None, usd
        answer, cost = await self._run(lambda: read(one.price, whole))
        return answer, usd if cost is None else cost

    def _count(self, sample: Sample, result: str) -> None:
        """And says, once, what keeps the guard from seeing anything."""
        self.counts[sample.route, result] += 1
        said = "quality guard of route %r is off for %r, which has no price ([prices])"
        about, coding = plain(sample.request.measured.model), content_coding(sample.answer.headers)
        if result == "unreadable" and coding and coding not in PACKED:
            said = "quality guard of route %r sees nothing of answers packed as %r: only gzip and deflate can be read"
            about = coding.decode("latin-1")[:40]
        elif result != "unpriced":
            return
        if (sample.route, said) not in self._told:
            self._told.add((sample.route, said))
            log.warning(said, sample.route, about)

    def _take(self, states: Sequence[State]) -> None:
        """Shows what another worker or an operator has done, too."""
        settings = self._current()
        guarded = [route for route in settings.routes if route.name in settings.guards]
        before = [self._standing(settings, route) for route in guarded]
        found: dict[str, list[State]] = {}
        for state in states:
            found.setdefault(state.route, []).append(state)
        self._states = found
        for route, old in zip(guarded, before, strict=True):
            new = self._standing(settings, route)
            if new and (old.level if old else 0) != new.level:
                log.warning("quality guard: route %r: compression is now %r", route.name, named(new.level))

    async def _watch_store(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            settings = self._current()
            if settings.guards:
                try:
                    self._take(await self._run(partial(self._book.newest, settings)))
                except BROKEN as error:
                    said = error if isinstance(error, sqlite3.Error) else type(error).__name__
                    log.warning("the states of the quality guard cannot be read: %s", said)

    async def _run(self, work: Callable[[], T]) -> T:
        """In the guard's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _likeness(self, texts: list[str]) -> Likeness:
        if self._meaning is None:
            from proxy.guard.meaning import Meaning  # the encoder and its libraries, for those who use a guard

            self._meaning = Meaning()
        return self._meaning.likeness(texts)

    def _seen(self, sample: Sample, answer: Answer, both: tuple[Answer, Answer] | None) -> Seen | None:
        if both is None:
            return None
        structured = wants_json(sample.request.body)
        texts = [one.text for one in (answer, *both) if not one.calls]
        likeness = self._likeness(texts) if len(texts) == 3 and not structured else None
        same = partial(agreement, structured=structured, likeness=likeness)
        return Seen(worse(answer, *both, same), same(*both))
