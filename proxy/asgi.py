"""The few ASGI shapes that are used here, and a whole answer in one call."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
JSON: list[Header] = [(b"content-type", b"application/json")]


async def respond(send: Send, status: int, body: bytes, headers: list[Header]) -> None:
    """Sends a complete answer. `headers` go out beside the content length."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
