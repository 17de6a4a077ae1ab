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
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import httpx

from policies.base import Policy
from policies.presets import lowered
from policies.routes import Route
from proxy import pricing
from proxy.asgi import Send
from proxy.errors import UpstreamError
from proxy.guard import originals
from proxy.guard.answers import Answer, read_answer
from proxy.guard.book import Book, Sample
from proxy.guard.compare import agreement, wants_json, worse
from proxy.guard.meaning import Meaning
from proxy.guard.originals import Request
from proxy.guard.state import FLOORS, OFF, Seen, State, named
from proxy.guard.store import Store
from proxy.guard.witness import Witness
from proxy.ledger import plain
from proxy.override import asked
from proxy.pricing import Price
from proxy.savings import Measured, Outcome
from proxy.settings import Settings
from proxy.transport import Transport

T = TypeVar("T")

AT_ONCE = 2
"""Comparisons at the same time. Each sends its two requests one after the other, so these are as many."""
POLL = 2.0
"""Seconds after which a step by another worker, or by an operator, is noticed."""
IS_OFF = Measured(Outcome.BYPASSED, "quality guard: off")

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
        self._states: Mapping[str, State] = {}
        self._take(store.load())
        self._transport = Transport()
        self._meaning = Meaning()
        self._thread = ThreadPoolExecutor(1, "laconic-guard")
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._closing = False
        self._told: set[str] = set()  # routes of which it was said that a price is missing

    # For the way of a request.

    def apply(self, settings: Settings, route: Route, policy: Policy | Measured) -> Policy | Measured:
        """The policy as far as the guard still lets it compress, or the record that it doesn't."""
        now = self._states.get(route.name)
        if now is None or not now.level or route.name not in settings.guards or isinstance(policy, Measured):
            return policy
        return IS_OFF if now.level >= OFF else lowered(policy, FLOORS[now.level])

    def watch(self, send: Send, request: Request) -> Send:
        """What to send the answer through: `send` itself, unless the request is drawn. A caller who asked for less
        compression says nothing about the policy."""
        terms = request.settings.guards.get(request.route.name)
        if terms is None or request.measured.outcome is not Outcome.COMPRESSED or random.random() >= terms.share:
            return send
        if asked(request.scope["headers"]) is not None:
            return send
        now = self._states.get(request.route.name)
        return Witness(send, lambda answer: self._begin(Sample(request, terms, now, answer)))

    # For the server.

    def states(self) -> list[State]:
        """Of the routes that are guarded now."""
        return [found for name in self._current().guards if (found := self._states.get(name))]

    def start(self) -> None:
        self._poller = asyncio.get_running_loop().create_task(self._watch_store())

    async def aclose(self) -> None:
        """Drops what is under way; nothing is sent afterwards."""
        self._closing = True
        tasks = [*self._tasks, *([self._poller] if self._poller else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.aclose()
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
        each = originals.estimate(price, sample.request, answer)
        try:
            reserved = await self._run(lambda: self._book.reserve(sample, 2 * each))
            if reserved is None:
                self._count(sample, "budget")
                return
            first, paid = await self._ask(sample, price, each)
            second, more = await self._ask(sample, price, each) if first else (None, 0.0)
            paid += more
            self.spent[sample.route] = self.spent.get(sample.route, 0.0) + paid
            both = (first, second) if first and second else None
            new = await self._run(
                lambda: self._book.settle(sample, reserved, paid - 2 * each, self._seen(sample, answer, both))
            )
        except sqlite3.Error:
            self._count(sample, "not kept")
            return
        self._count(sample, "compared" if both else "failed")
        self._take({**self._states, sample.route: new})

    async def _ask(self, sample: Sample, price: Price, estimate: float) -> tuple[Answer | None, float]:
        """An answer to the original and its price; what it could have cost where nobody knows."""
        try:
            whole = await originals.send(self._transport, sample.request)
        except (UpstreamError, httpx.TransportError, TimeoutError):
            return None, estimate
        if whole is None:
            return None, 0.0
        answer = await self._run(lambda: read_answer(whole.headers, whole.body))
        cost = originals.cost(price, answer.usage) if answer else None
        return answer, estimate if cost is None else cost

    def _count(self, sample: Sample, result: str) -> None:
        self.counts[sample.route, result] += 1
        if result == "unpriced" and sample.route not in self._told:
            self._told.add(sample.route)
            model = plain(sample.request.measured.model)
            log.warning("quality guard of route %r is off for %r, which has no price ([prices])", sample.route, model)

    def _take(self, states: Mapping[str, State]) -> None:
        """Shows what another worker or an operator has done, too."""
        for route, new in states.items():
            old = self._states.get(route)
            if (old.level if old else 0) != new.level:
                log.warning("quality guard: route %r: compression is now %r", route, named(new.level))
        self._states = states

    async def _watch_store(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            settings = self._current()
            if settings.guards:
                try:
                    self._take(await self._run(partial(self._book.newest, settings)))
                except sqlite3.Error as error:
                    log.warning("the states of the quality guard cannot be read: %s", error)

    async def _run(self, work: Callable[[], T]) -> T:
        """In the guard's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _seen(self, sample: Sample, answer: Answer, both: tuple[Answer, Answer] | None) -> Seen | None:
        if both is None:
            return None
        structured = wants_json(sample.request.body)
        texts = [one.text for one in (answer, *both) if not one.calls]
        likeness = self._meaning.likeness(texts) if len(texts) == 3 and not structured else None
        same = partial(agreement, structured=structured, likeness=likeness)
        return Seen(worse(answer, *both, same), same(*both))
