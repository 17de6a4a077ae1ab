"""Every way in which an answer can come, and can end, is told apart."""

import asyncio
import socket
import threading

import httpx
import pytest
import uvloop
from calls import get, run, send, text
from provider import CHUNKED, END, LENGTH_5, Act, Provider, chunk, head

from proxy.connection import Connection
from proxy.transport import Transport

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


def test_a_connection_that_closes_before_its_first_request_is_not_waited_for() -> None:
    async def story() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(loop), sock=ours)
        theirs.close()
        await asyncio.sleep(0.05)
        connection.begin(head_only=False)
        connection.sent = True
        with pytest.raises(httpx.ConnectError):
            await connection.head(None)

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
