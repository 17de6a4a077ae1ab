"""Looks on while an answer goes to the client: every message goes on first, then a copy is kept, up to a bound."""

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.asgi import Header, Message, Send
from proxy.guard.answers import BOUND


@dataclass(frozen=True, slots=True, repr=False)
class Whole:
    """An answer as the client got it."""

    headers: list[Header]
    body: bytes


@dataclass(slots=True)
class Witness:
    """An ASGI `send` that calls `tell` once, with an answer that was a success and came whole, or with None where it
    was none. One that was broken off, or that grew too large, is forgotten."""

    send: Send
    tell: Callable[[Whole | None], None]
    headers: list[Header] | None = None
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    async def __call__(self, message: Message) -> None:
        await self.send(message)
        if message["type"] == "http.response.start":
            self.headers = list(message["headers"]) if message["status"] == 200 else None
            if self.headers is None:
                self.tell(None)
        elif self.headers is not None:
            self._keep(self.headers, message)

    def _keep(self, headers: list[Header], message: Message) -> None:
        self.pieces.append(message.get("body", b""))
        self.size += len(self.pieces[-1])
        if self.size > BOUND:
            self.headers = None
            self.pieces.clear()
        elif not message.get("more_body", False):
            self.headers = None
            self.tell(Whole(headers, b"".join(self.pieces)))
            self.pieces.clear()
