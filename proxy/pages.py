"""Three pages about ourselves: alive, ready, and the metrics."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from proxy.asgi import JSON, Receive, Scope, Send, respond
from proxy.errors import NoRoute


class Health:
    """Alive: answers while the event loop turns, whatever else is wrong."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await respond(send, 200, b'{"status":"ok"}', JSON)


class Readiness:
    """Whether new requests should come here: 503 with the reasons while something configured cannot run. `troubles`
    are reasons to call it degraded only: a model that is there has failed when last used."""

    def __init__(
        self, obstacles: Callable[[], Sequence[str]], troubles: Callable[[], Sequence[str]] = lambda: ()
    ) -> None:
        self._obstacles = obstacles
        self._troubles = troubles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        obstacles, troubles = self._obstacles(), self._troubles()
        word = "not ready" if obstacles else "degraded" if troubles else "ready"
        status = {"status": word, "reasons": [*obstacles, *troubles]}
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
