"""What an answer is sent through where the policy says `recover = true`; see `recovered` for what becomes of it.

A whole answer is held until it is complete, for its length may change. A stream is not held. The answer is left alone
where it is none of ours to touch or is not understood; on any trouble the rest of it goes on as it comes.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from compressors.damage import Damage
from proxy.asgi import Header, Message, Send
from proxy.headers import content_coding, is_event_stream, is_json, value
from proxy.recovered import BOUND, Events, recovered

log = logging.getLogger("laconic.recovering")

LARGE = 16 * 1024
"""Bytes of a stream that take longer than the event loop should be kept from its other work."""
_DIGESTS = (b"content-digest", b"repr-digest", b"digest", b"content-md5")


def may_recover(status: int, headers: Sequence[Header]) -> bool:
    """Whether an answer is a success in plain bytes that nobody has vouched for."""
    kind = is_json(headers) or (is_event_stream(headers) and not value(headers, b"content-length"))
    return status == 200 and kind and not content_coding(headers) and not any(value(headers, d) for d in _DIGESTS)


def recovering(send: Send, headers: Sequence[Header], damage: Damage) -> "Stream | Whole":
    """What to send an answer with these headers through, instead of `send`."""
    return Stream(send, Events(damage)) if is_event_stream(headers) else Whole(send, damage)


@dataclass(slots=True)
class Whole:
    """Holds an answer in one JSON document until its end."""

    send: Send
    damage: Damage
    start: Message | None = None
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        if self.start is None:
            await self.send(message)
            return
        self.pieces.append(message.get("body", b""))
        self.size += len(self.pieces[-1])
        if self.size > BOUND:
            await self._release("too large")
        if not message.get("more_body", False):
            await self._end()

    async def broken(self) -> None:
        """Sends what has come of an answer that will not be complete."""
        if self.start is not None:
            await self._release("")

    async def _release(self, said: str) -> None:
        assert self.start is not None
        start, self.start = self.start, None
        await self.send({**start, "headers": [*start["headers"], *_told(said)]})
        await self.send({"type": "http.response.body", "body": b"".join(self.pieces), "more_body": True})

    async def _end(self) -> None:
        if self.start is None:
            await self.send({"type": "http.response.body", "body": b""})
            return
        came = b"".join(self.pieces)
        body = await asyncio.to_thread(_safely, lambda: recovered(came, self.damage), lambda: came)
        headers = [(k, b"%d" % len(body) if k == b"content-length" else v) for k, v in self.start["headers"]]
        said = "unchanged" if body == came else "changed"
        await self.send({**self.start, "headers": [*headers, *_told(said)]})
        await self.send({"type": "http.response.body", "body": body})


@dataclass(slots=True)
class Stream:
    """Sends the events of a stream on, each as soon as it is complete."""

    send: Send
    events: Events

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.send({**message, "headers": [*message["headers"], *_told("on")]})
            return
        more, body = message.get("more_body", False), message.get("body", b"")
        if len(body) > LARGE:
            data = await asyncio.to_thread(self._feed, body)
        else:
            data = self._feed(body)
        if not more:
            data += _safely(self.events.finish, self.events.give_up)
        if data or not more:
            await self.send({**message, "body": data})

    def _feed(self, body: bytes) -> bytes:
        return _safely(lambda: self.events.feed(body), self.events.give_up)

    async def broken(self) -> None:
        """Sends what has been held back of a stream that will not be complete."""
        if rest := _safely(self.events.finish, self.events.give_up):
            await self.send({"type": "http.response.body", "body": rest, "more_body": True})


def _told(said: str) -> list[Header]:
    return [(b"x-laconic-recovery", said.encode())] if said else []


def _safely(work: Callable[[], bytes], instead: Callable[[], bytes]) -> bytes:
    try:
        return work()
    except Exception as error:  # noqa: BLE001  the answer is the provider's: it must arrive whatever happens here
        # The message may quote the answer: the type and the places are enough to find the fault.
        log.error("recovery failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        return instead()
