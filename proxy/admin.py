"""Who sees the pages about ourselves, and where. Metrics and reports say what others sent and spent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.access import fits, is_loopback
from proxy.asgi import JSON, Receive, Scope, Send, respond
from proxy.errors import LaconicError, NoRoute, Unauthorized
from proxy.pages import Health, Metrics, Readiness, Report
from proxy.settings import Admin, Limits, Settings


@dataclass(frozen=True, slots=True)
class Doors:
    """Where and for whom the pages are. `loopback`: the main listener is reached by this machine only."""

    admin: Admin = field(default_factory=Admin)
    loopback: bool = True

    @classmethod
    def of(cls, settings: Settings) -> "Doors":
        """As the service is started: a reload changes nothing about them."""
        return cls(settings.admin, is_loopback(settings.host))

    def refusal(self, scope: Scope, keyed: bool) -> LaconicError | None:
        """Why the main listener does not show metrics and reports. `keyed`: callers need keys here."""
        admin = self.admin
        if admin.port is not None or (admin.key_hash is None and (keyed or not self.loopback)):
            return NoRoute("nothing is shown here; see [admin] in the configuration")
        return self.locked(scope)

    def locked(self, scope: Scope) -> LaconicError | None:
        """Why the one who asks is no admin, as far as keys go."""
        if self.admin.key_hash is None or fits(self.admin.key_hash, scope["headers"]):
            return None
        return Unauthorized("this needs the key of [admin]")

    def tells(self, scope: Scope) -> bool:
        """Whether the main listener gives reasons for not being ready."""
        return self.loopback or (self.admin.key_hash is not None and self.locked(scope) is None)

    def tells_beside(self, scope: Scope) -> bool:
        """Whether the second one does."""
        return is_loopback(self.admin.host) or self.locked(scope) is None


class Beside:
    """ASGI: the second listener, which has these pages and nothing else."""

    limits = Limits(connections=1_000_000)  # open files still bound them: it answers while the other one is full

    def __init__(self, pages: Mapping[str, "Page"]) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if page := self._pages.get(scope["path"]):
            await page(scope, receive, send)
        else:
            await refuse(send, NoRoute("there is no such page"))


class Guarded:
    """A page that is shown only where `refusal` finds nothing against it."""

    def __init__(self, page: Metrics | Report, refusal: Callable[[Scope], LaconicError | None]) -> None:
        self._page, self._refusal = page, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if error := self._refusal(scope):
            await refuse(send, error)
        else:
            await self._page(scope, receive, send)


Page = Health | Readiness | Guarded


async def refuse(send: Send, error: LaconicError) -> None:
    await respond(send, error.status, error.body(), [*JSON, *error.headers()])
