"""Connections are kept and never used twice by mistake; every way in which an answer can end is told apart."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import pytest
import trustme
import uvloop
from provider import END, Act, Provider, chunk, head, provider, whole

from proxy.connection import HIGH_WATER, Connection
from proxy.transport import Transport

T = TypeVar("T")
CHUNKED = (b"transfer-encoding", b"chunked")
LENGTH_5 = (b"content-length", b"5")


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


# Keeping connections


def test_one_connection_serves_one_request_after_the_other(fake: Provider) -> None:
    async def story(transport: Transport) -> None:
        for _ in range(5):
            await get(transport, fake.url)

    run(story)
    assert (fake.connections, len(fake.requests)) == (1, 5)


def test_the_newest_idle_connection_is_taken_and_the_oldest_beyond_the_limit_is_closed(fake: Provider) -> None:
    async def story(transport: Transport) -> int:
        responses = [await send(transport, fake.url) for _ in range(3)]
        for response in responses:
            await text(response)
        for _ in range(3):
            await get(transport, fake.url)
        await asyncio.sleep(0.05)
        return fake.open

    assert run(story, Transport(max_idle=2)) == 2
    assert fake.connections == 3


def test_idle_connections_are_closed_after_a_while(fake: Provider) -> None:
    async def story(transport: Transport) -> int:
        await get(transport, fake.url)
        await asyncio.sleep(0.2)
        return fake.open

    assert run(story, Transport(idle_seconds=0.05)) == 0


def test_a_connection_closed_while_idle_is_passed_over(fake: Provider) -> None:
    """Even where the event loop has had no chance to hear of it."""
    fake.script(whole(b"{}"), Act.CLOSE)

    async def story(transport: Transport) -> bytes:
        await get(transport, fake.url)
        time.sleep(0.1)  # noqa: ASYNC251  # the loop must not run
        return await get(transport, fake.url)

    assert run(story) == b'{"path": "/"}'
    assert (fake.connections, len(fake.requests)) == (2, 2)


def test_a_request_that_was_written_is_never_sent_again(fake: Provider) -> None:
    fake.script(whole(b"{}"))
    fake.script(Act.CLOSE)

    async def story(transport: Transport) -> None:
        await get(transport, fake.url)
        with pytest.raises(httpx.ReadError):
            await send(transport, fake.url, "POST", b"{}")

    run(story)
    assert len(fake.requests) == 2


@pytest.mark.parametrize("ending", [b"junk", whole(b"{}")])
def test_a_connection_that_says_more_than_its_answer_is_not_used_again(fake: Provider, ending: bytes) -> None:
    fake.script(whole(b"{}") + ending)

    async def story(transport: Transport) -> None:
        assert await get(transport, fake.url) == b"{}"
        assert await get(transport, fake.url) == b'{"path": "/"}'

    run(story)
    assert fake.connections == 2


def test_connection_close_and_a_cut_short_reading_are_respected(fake: Provider) -> None:
    fake.script(whole(b"{}", (b"connection", b"close")), Act.STALL)
    fake.script(head(200, LENGTH_5) + b"hel", Act.STALL)

    async def story(transport: Transport) -> None:
        assert await get(transport, fake.url) == b"{}"
        response = await send(transport, fake.url)
        await response.stream.aclose()  # type: ignore[union-attr]
        await get(transport, fake.url)

    run(story)
    assert fake.connections == 3


# Reading answers

ANSWERS = {
    "length": (head(200, LENGTH_5) + b"hello", b"hello"),
    "chunked": (head(200, CHUNKED) + chunk(b"hel") + chunk(b"lo") + END, b"hello"),
    "trailers": (head(200, CHUNKED) + chunk(b"hello") + b"0\r\nx-sum: 1\r\n\r\n", b"hello"),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + head(200, LENGTH_5) + b"hello", b"hello"),
    "no content": (head(204), b""),
    "not modified": (head(304, LENGTH_5), b""),
    "empty": (head(200, (b"content-length", b"0")), b""),
}


@pytest.mark.parametrize(("answer", "body"), ANSWERS.values(), ids=ANSWERS)
def test_every_split_of_an_answer_reads_the_same(answer: bytes, body: bytes) -> None:
    async def story() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(loop), sock=ours)
        for at in range(len(answer)):
            connection.begin(head_only=False)
            connection.sent = True
            connection.data_received(answer[:at])
            connection.data_received(answer[at:])
            await connection.head(1)
            read = b""
            while data := await connection.read(1):
                read += data
            assert read == body
            assert (
                connection.headers == [(b"content-length", b"5")][: b"content-length: 5" in answer]
                or body == b""
                or (connection.headers == [CHUNKED])
            )
            assert connection.reusable
        connection.abort()
        theirs.close()

    uvloop.run(story())


def test_an_answer_may_end_with_the_connection(fake: Provider) -> None:
    fake.script(head(200) + b"hel", 0.01, b"lo", Act.CLOSE)
    assert run(lambda transport: get(transport, fake.url)) == b"hello"


def test_head_has_no_body_whatever_its_length_says(fake: Provider) -> None:
    fake.script(head(200, LENGTH_5))

    async def story(transport: Transport) -> None:
        assert await text(await send(transport, fake.url, "HEAD")) == b""
        assert await get(transport, fake.url) == b'{"path": "/"}'

    run(story)
    assert fake.connections == 1


def test_the_first_byte_is_there_before_the_second_is_sent(fake: Provider) -> None:
    go_on = threading.Event()
    fake.script(head(200, CHUNKED) + chunk(b"1"), go_on, chunk(b"2") + END)

    async def story(transport: Transport) -> bytes:
        response = await send(transport, fake.url)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)
        first = await anext(pieces)
        go_on.set()
        return first + await anext(pieces)

    assert run(story) == b"12"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ((head(200, LENGTH_5) + b"hel", Act.CLOSE), httpx.ReadError),
        ((head(200, LENGTH_5) + b"hel", 0.05, Act.RESET), httpx.ReadError),
        ((head(200) + b"hel", 0.05, Act.RESET), httpx.ReadError),
        ((head(200, CHUNKED) + chunk(b"hel"), Act.CLOSE), httpx.ReadError),
        ((head(200, CHUNKED) + chunk(b"hel") + b"zz\r\n", Act.CLOSE), httpx.RemoteProtocolError),
        ((head(200, LENGTH_5), Act.CLOSE), httpx.ReadError),
        ((Act.CLOSE,), httpx.ReadError),
        ((b"HTTP/1.1 200", Act.CLOSE), httpx.ReadError),
        ((b"SSH-2.0-hello\r\n", Act.STALL), httpx.RemoteProtocolError),
        ((head(200, LENGTH_5, CHUNKED), Act.STALL), httpx.RemoteProtocolError),
        ((head(200, LENGTH_5, (b"content-length", b"6")), Act.STALL), httpx.RemoteProtocolError),
        ((head(200, (b"transfer-encoding", b"gzip")), Act.STALL), httpx.RemoteProtocolError),
        ((head(777, LENGTH_5) + b"hello", Act.STALL), httpx.RemoteProtocolError),
        ((head(101, (b"upgrade", b"x"), (b"connection", b"upgrade")), Act.STALL), httpx.RemoteProtocolError),
        ((head(200, *[(b"x-h", b"v" * 1000)] * 500), Act.STALL), httpx.RemoteProtocolError),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"v" * 500_000, Act.STALL), httpx.RemoteProtocolError),
    ],
)
def test_a_broken_answer_never_looks_whole(
    fake: Provider, script: tuple[bytes | float | Act, ...], error: type[Exception]
) -> None:
    fake.script(*script)

    async def story(transport: Transport) -> None:
        with pytest.raises(error):
            await get(transport, fake.url, first_byte=5, read=5)

    run(story)


def test_what_came_before_the_break_is_read(fake: Provider) -> None:
    fake.script(head(200, CHUNKED) + chunk(b"hel"), Act.CLOSE)

    async def story(transport: Transport) -> bytes:
        response = await send(transport, fake.url)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        pieces = aiter(response.stream)
        first = await anext(pieces)
        with pytest.raises(httpx.ReadError):
            await anext(pieces)
        return first

    assert run(story) == b"hel"


# Time limits


@pytest.mark.parametrize(
    ("script", "error", "late"),
    [
        ((Act.STALL,), httpx.ReadTimeout, "no answer"),
        ((b"HTTP/1.1 200 OK\r\n", Act.STALL), httpx.ReadTimeout, "no answer"),
        ((head(200, LENGTH_5) + b"hel", Act.STALL), httpx.ReadTimeout, "no more bytes"),
    ],
)
def test_a_silent_upstream_is_left(
    fake: Provider, script: tuple[bytes | Act, ...], error: type[Exception], late: str
) -> None:
    fake.script(*script)

    async def story(transport: Transport) -> None:
        with pytest.raises(error, match=late):
            await get(transport, fake.url, first_byte=0.05, read=0.05)
        assert await asyncio.to_thread(fake.gone.wait, 2)

    run(story)


def test_the_limit_between_bytes_starts_anew_with_each(fake: Provider) -> None:
    fake.script(head(200, CHUNKED), *[step for i in range(6) for step in (0.05, chunk(b"%d" % i))], END)
    assert run(lambda transport: get(transport, fake.url, first_byte=0.2, read=0.2)) == b"012345"


@contextmanager
def deaf() -> Iterator[str]:
    """An address that takes no connection and refuses none: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


def test_connecting_has_its_own_limit() -> None:
    async def story(transport: Transport) -> None:
        with deaf() as url, pytest.raises(httpx.ConnectTimeout):
            await get(transport, url, connect=0.1)

    run(story)


def test_a_refused_connection_says_where() -> None:
    async def story(transport: Transport) -> None:
        with pytest.raises(httpx.ConnectError, match=r"127\.0\.0\.1:1:"):
            await get(transport, "http://127.0.0.1:1")

    run(story)


# Sending


def test_a_body_is_streamed_in_chunks_or_by_its_length(fake: Provider) -> None:
    async def story(transport: Transport) -> None:
        await text(await send(transport, fake.url, "POST", Stream(b"hel", b"", b"lo", pause=0.01)))
        length = httpx.Request("POST", fake.url, headers=[LENGTH_5], stream=Stream(b"hel", b"lo"))
        await text(await transport.handle_async_request(length))
        await text(await send(transport, fake.url, "POST", b"hello"))

    run(story)
    assert [request.body for request in fake.requests] == [b"hello"] * 3
    assert fake.connections == 1


def test_the_target_is_sent_as_given(fake: Provider) -> None:
    async def story(transport: Transport) -> None:
        stream = httpx.ByteStream(b"")
        request = httpx.Request("GET", fake.url, stream=stream, extensions={"target": b"/a%2Fb//c?d=%20+|"})
        await text(await transport.handle_async_request(request))

    run(story)
    assert fake.last.target == "/a%2Fb//c?d=%20+|"


def test_an_upstream_that_takes_no_bytes_slows_the_body_down_and_is_left(fake: Provider) -> None:
    fake.read_bodies = False
    fake.script(Act.STALL)
    body = Stream(*[b"x" * 65536] * 1000)

    async def story(transport: Transport) -> None:
        with pytest.raises(httpx.WriteTimeout):
            await send(transport, fake.url, "POST", body, write=0.1)

    run(story)
    assert body.taken < 500


def test_an_answer_before_the_body_is_over_is_read_and_the_connection_left(fake: Provider) -> None:
    fake.read_bodies = False
    fake.script(whole(b"no", status=413))

    async def story(transport: Transport) -> int:
        response = await send(transport, fake.url, "POST", Stream(*[b"x"] * 100, pause=0.02))
        assert await text(response) == b"no"
        return response.status_code

    assert run(story) == 413


def test_an_error_in_the_body_is_raised_and_the_upstream_left(fake: Provider) -> None:
    class Failing(Stream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"
            raise KeyError("gone")

    async def story(transport: Transport) -> None:
        with pytest.raises(KeyError):
            await send(transport, fake.url, "POST", Failing())
        await asyncio.sleep(0.05)

    run(story)
    assert fake.requests == []
    assert fake.open == 0


def test_the_first_byte_is_waited_for_from_the_end_of_the_body(fake: Provider) -> None:
    async def story(transport: Transport) -> bytes:
        slow = Stream(*[b"x"] * 6, pause=0.05)
        return await text(await send(transport, fake.url, "POST", slow, first_byte=0.2))

    assert run(story) == b'{"path": "/"}'


def test_a_slow_reader_slows_the_upstream_down(fake: Provider) -> None:
    size = 64 * 1024 * 1024
    fake.script(whole(bytes(size)))

    async def story(transport: Transport) -> int:
        response = await send(transport, fake.url)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        await asyncio.sleep(0.2)
        largest = read = 0
        async for data in response.stream:
            largest, read = max(largest, len(data)), read + len(data)
        await response.stream.aclose()
        assert read == size
        return largest

    assert run(story) < 4 * HIGH_WATER


# TLS


@pytest.mark.parametrize("trusted", [True, False])
def test_only_a_certificate_that_can_be_verified_is_talked_to(trusted: bool) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    if trusted:
        authority.configure_trust(client)

    async def story(transport: Transport) -> bytes:
        await get(transport, it.url)
        return await get(transport, it.url)

    with provider(server) as it:
        if trusted:
            assert run(story, Transport(client)) == b'{"path": "/"}'
            assert it.connections == 1
        else:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                run(story, Transport(client))
