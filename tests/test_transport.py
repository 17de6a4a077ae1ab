"""Connections are kept and never used by mistake; each time limit counts for itself; bodies go out at their pace."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from calls import Stream, get, run, send, text
from provider import CHUNKED, END, LENGTH_5, Act, Provider, chunk, head, provider, whole

from proxy.connection import HIGH_WATER
from proxy.transport import Transport

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


def test_a_connection_whose_answer_came_but_was_not_read_to_its_end_is_not_used_again(fake: Provider) -> None:
    """It may have stopped reading for want of room: the next answer would never come."""
    fake.script(whole(b"x" * (HIGH_WATER + 1)))

    async def story(transport: Transport) -> bytes:
        response = await send(transport, fake.url)
        await asyncio.sleep(0.2)  # all of it is here, more than is taken in unread
        await response.aclose()
        async with asyncio.timeout(5):
            return await get(transport, fake.url)

    assert run(story) == b'{"path": "/"}'
    assert fake.connections == 2


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


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", True), ("127.0.0.1", False), ("another.example", True)])
def test_only_a_certificate_that_can_be_verified_is_talked_to(
    name: str, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings that the service has, the system's authorities among them."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(server)
    if trusted:
        authority.cert_pem.write_to_path(tmp_path / "authorities.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))

    async def story(transport: Transport) -> bytes:
        await get(transport, it.url)
        return await get(transport, it.url)

    with provider(server) as it:
        if trusted and name == "127.0.0.1":
            assert run(story) == b'{"path": "/"}'
            assert it.connections == 1
        else:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                run(story)
