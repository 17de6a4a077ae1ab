"""Pages about ourselves: alive, ready, the metrics and the report."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs

import msgspec

from proxy.asgi import JSON, Receive, Scope, Send, respond
from proxy.errors import NoRoute, Refused
from proxy.ledger import LedgerError
from proxy.report import as_object
from proxy.summaries import KEYS


class Health:
    """Alive: answers while the event loop turns, whatever else is wrong."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await respond(send, 200, b'{"status":"ok"}', JSON)


class Readiness:
    """Whether new requests should come here: 503 with the reasons while something configured cannot run. `troubles`
    are reasons to call it degraded only: a model that is there has failed when last used. The reasons are for those
    whom `tells` lets have them."""

    def __init__(
        self,
        obstacles: Callable[[], Sequence[str]],
        troubles: Callable[[], Sequence[str]] = lambda: (),
        tells: Callable[[Scope], bool] = lambda _: True,
    ) -> None:
        self._obstacles = obstacles
        self._troubles = troubles
        self._tells = tells

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        obstacles, troubles = self._obstacles(), self._troubles()
        word = "not ready" if obstacles else "degraded" if troubles else "ready"
        status = {"status": word} | ({"reasons": [*obstacles, *troubles]} if self._tells(scope) else {})
        await respond(send, 503 if obstacles else 200, msgspec.json.encode(status), JSON)


class Metrics:
    """What `render` gives: the text and its content type."""

    def __init__(self, render: Callable[[], tuple[bytes, str]] | None) -> None:
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        if self._render is None:
            await respond(send, 404, NoRoute("metrics are not kept").body(), JSON)
            return
        text, content_type = await asyncio.to_thread(self._render)  # it may ask other processes
        await respond(send, 200, text, [(b"content-type", content_type.encode("ascii"))])


class Report:
    """What `laconic report --json` prints, made in a thread, one at a time. `by` and `since` in the query."""

    def __init__(self, ledger: str | None) -> None:
        self._ledger = ledger
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        asked = {key: values[-1] for key, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        try:
            by = next(by for by in KEYS if by == asked.get("by", "route"))
            since = date.fromisoformat(asked["since"]) if "since" in asked else None
        except (StopIteration, ValueError):
            said = f"by is one of {', '.join(KEYS)}; since is a day, as in 2026-01-31"
            await respond(send, 400, Refused(said).body(), JSON)
            return
        if self._ledger is None:
            await respond(send, 404, NoRoute("no ledger is kept").body(), JSON)
            return
        async with self._turn:
            try:
                found = await asyncio.to_thread(as_object, Path(self._ledger), by, since)
            except LedgerError as error:
                await respond(send, 503, Refused(str(error)).body(), JSON)
                return
        await respond(send, 200, found.encode(), JSON)
