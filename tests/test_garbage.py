"""A request leaves nothing behind for the garbage collector: full collections come so seldom that megabytes of each
would pile up until then."""

import gc
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from conftest import Service
from provider import Act, Provider, delta, event, head, stream_head, whole
from raw import chat, connected, read_all, read_head

from proxy.endpoints import Exchange
from proxy.settings import Timeouts

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture
def uncollected() -> Iterator[Callable[[], int]]:
    """How many requests are in memory while nobody collects garbage."""
    gc.collect()
    gc.disable()
    yield lambda: sum(isinstance(it, Exchange | httpx.Request) for it in gc.get_objects())
    gc.enable()


def settles(count: Callable[[], int]) -> bool:
    until = time.monotonic() + 5
    while count() and time.monotonic() < until:
        time.sleep(0.02)
    return count() == 0


@pytest.mark.parametrize(
    "script",
    [
        (whole(b"{}"),),
        (Act.RESET,),
        (Act.STALL,),
        (b"nonsense\r\n\r\n",),
        (stream_head() + event(delta("hello")), Act.RESET),
        (stream_head() + event(delta("hello")), Act.STALL),
        (head(200, (b"content-length", b"100")) + b"short", Act.CLOSE),
    ],
)
def test_whatever_the_upstream_does(
    service: Service, fake: Provider, uncollected: Callable[[], int], script: tuple[bytes | Act, ...]
) -> None:
    fake.script(*script)
    with connected(service.start(fake.url, timeouts=Timeouts(first_byte=0.3, idle=0.3))) as sock:
        sock.sendall(chat(BODY, (b"connection", b"close")))
        read_all(sock)
    assert settles(uncollected)


@pytest.mark.parametrize("script", [(Act.STALL,), (stream_head() + event(delta("hello")), Act.STALL)])
def test_a_client_that_leaves(
    service: Service, fake: Provider, uncollected: Callable[[], int], script: tuple[bytes | Act, ...]
) -> None:
    fake.script(*script)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(chat(BODY))
        assert fake.arrived.wait(5)
        if len(script) > 1:
            read_head(sock)
    assert fake.gone.wait(5)
    assert settles(uncollected)


def test_a_refused_request(service: Service, fake: Provider, uncollected: Callable[[], int]) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(chat(BODY, (b"authorization", b"a"), (b"authorization", b"b")))
        read_all(sock)
    assert settles(uncollected)
