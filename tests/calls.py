"""Requests over our own transport, for tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import httpx
import uvloop
from provider import CHUNKED

from proxy.transport import Transport

T = TypeVar("T")


def run(story: Callable[[Transport], Awaitable[T]], transport: Transport | None = None) -> T:
    async def whole_story() -> T:
        it = transport or Transport()
        try:
            return await story(it)
        finally:
            await it.aclose()

    return uvloop.run(whole_story())


async def send(
    transport: Transport, url: str, method: str = "GET", body: httpx.AsyncByteStream | bytes = b"", **timeout: float
) -> httpx.Response:
    framing: list[tuple[bytes, bytes]] = []
    if isinstance(body, bytes):
        framing = [(b"content-length", b"%d" % len(body))] if body else []
        stream: httpx.AsyncByteStream = httpx.ByteStream(body)
    else:
        framing, stream = [CHUNKED], body
    extensions = {"timeout": timeout}
    return await transport.handle_async_request(
        httpx.Request(method, url, headers=[(b"host", b"h"), *framing], stream=stream, extensions=extensions)
    )


async def text(response: httpx.Response) -> bytes:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        return b"".join([data async for data in response.stream])
    finally:
        await response.stream.aclose()


async def get(transport: Transport, url: str, **timeout: float) -> bytes:
    return await text(await send(transport, url, "GET", b"", **timeout))


class Stream(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes, pause: float = 0.0) -> None:
        self.pieces, self.pause, self.taken = pieces, pause, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece
            await asyncio.sleep(self.pause)
