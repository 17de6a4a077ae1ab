"""The composition root: which ASGI class answers which path, and what ends with the server."""

from collections.abc import Callable, Sequence

from proxy.admin import Beside, Doors, Guarded, Page
from proxy.asgi import Receive, Scope, Send
from proxy.endpoints import Gateway, Parts
from proxy.errors import LaconicError
from proxy.pages import Health, Metrics, Readiness, Report
from proxy.pipeline import Pipeline
from proxy.savings import Measured, Meter, Money, Usage
from proxy.settings import Limits, Settings
from proxy.transport import Transport


class App:
    """ASGI. `drain` turns `/readyz` red; requests are still served. `beside` is the ASGI app of the second listener,
    for where `[admin]` asks for one."""

    def __init__(
        self,
        parts: Parts,
        render_metrics: Callable[[], tuple[bytes, str]] | None,
        doors: Doors | None = None,
        ledger: str | None = None,
    ) -> None:
        """`doors` None: those of a service on loopback. `ledger`: the path that `/report` reads."""
        doors = doors or Doors()
        self._parts = parts
        self._draining = False
        self._gateway = Gateway(parts)
        shown: dict[str, Metrics | Report] = {"/metrics": Metrics(render_metrics), "/report": Report(ledger)}

        def refusal(scope: Scope) -> LaconicError | None:
            return doors.refusal(scope, keyed=bool(parts.current().keys))

        def pages(tells: Callable[[Scope], bool], refusal: Callable[[Scope], LaconicError | None]) -> dict[str, Page]:
            ready = Readiness(self.obstacles, self.troubles, tells)
            return {"/healthz": Health(), "/readyz": ready, **{p: Guarded(it, refusal) for p, it in shown.items()}}

        self._own = pages(doors.tells, refusal)
        self.beside = Beside(pages(doors.tells_beside, doors.locked))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint: Gateway | Page = self._own.get(scope["path"], self._gateway)
            await endpoint(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    @property
    def limits(self) -> Limits:
        """What holds for a connection that is opened now."""
        return self._parts.current().limits

    def drain(self) -> None:
        self._draining = True

    def obstacles(self) -> tuple[str, ...]:
        """Why no new request should come here, one sentence each."""
        missing = self._parts.pipeline.missing(self._parts.current())
        return (*missing, "shutting down") if self._draining else missing

    def troubles(self) -> tuple[str, ...]:
        """What does not work as it should, though requests may come, one sentence each."""
        return self._parts.pipeline.troubles(self._parts.current())

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if self._parts.guard:
            self._parts.guard.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._parts.guard:
            await self._parts.guard.aclose()
        await self._parts.transport.aclose()
        self._parts.pipeline.close()
        self._parts.quota.close()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(
    current: Callable[[], Settings],
    pipeline: Pipeline,
    meters: Sequence[Meter] = (),
    price: Callable[[Measured, Usage | None], Money] | None = None,
    render_metrics: Callable[[], tuple[bytes, str]] | None = None,
) -> App:
    """The service. `current` is asked once a connection and once a request, so that each sees one version of the
    settings. `price` says what a request cost and saved in USD. `render_metrics` gives the text of `/metrics` and its
    content type. The app closes the pipeline when the server stops, not the meters."""
    return App(Parts(current, pipeline, Transport(), meters, price), render_metrics)
