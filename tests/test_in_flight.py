"""Too many requests at once, in all or to one upstream."""

import socket
from contextlib import ExitStack

import pytest
from conftest import UNDRAWN, Service, Told
from provider import Act, Provider, whole
from raw import ask, chat, connected, read_all, read_head, request
from test_access import error, until

from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.pipeline import Pipeline
from proxy.server import running
from proxy.settings import Limits, Settings, Upstream


def bounded(url: str, requests: int = 2000, concurrent: int = 1000) -> Settings:
    upstreams = {"fake": Upstream("fake", url, max_concurrent=concurrent), "other": Upstream("other", url)}
    routes = (Route("a", "fake", "off", path="/a"), Route("b", "other", "off", path="/b"))
    return Settings(upstreams, routes, PRESETS, limits=Limits(requests=requests), compression=UNDRAWN)


def hold(stack: ExitStack, url: str, target: str, fake: Provider, number: int) -> list[socket.socket]:
    """Requests that wait for their answers."""
    held = []
    for n in range(number):
        fake.script(Act.STALL)
        held.append(stack.enter_context(connected(url)))
        held[-1].sendall(request("GET", target))
        until(lambda n=n: len(fake.requests) > n)  # type: ignore[misc]
    return held


def test_a_saturated_upstream_is_spared_and_others_are_served(service: Service, fake: Provider, told: Told) -> None:
    url = service.start_with(bounded(fake.url, concurrent=2))
    with ExitStack() as stack:
        held = hold(stack, url, "/a/v1/models", fake, 2)
        status, headers, body = ask(url, request("GET", "/a/v1/models"))
        assert (status, *error(body)) == (503, "laconic_error", "upstream_saturated")
        assert dict(headers)[b"retry-after"] == b"1"
        assert told.one().error == "upstream_saturated"
        assert ask(url, request("GET", "/b/v1/models"))[0] == 200
        assert len(fake.requests) == 3
        held[0].close()
        until(lambda: ask(url, request("GET", "/a/v1/models"))[0] == 200)


def test_too_many_requests_at_once_are_refused_and_pages_still_answer(service: Service, fake: Provider) -> None:
    url = service.start_with(bounded(fake.url, requests=3))
    with ExitStack() as stack:
        held = hold(stack, url, "/b/v1/models", fake, 3)
        status, headers, body = ask(url, request("GET", "/a/v1/models"))
        assert (status, error(body)[1], dict(headers)[b"retry-after"]) == (503, "overloaded", b"1")
        assert ask(url, request("GET", "/healthz"))[0] == 200
        held[0].close()
        until(lambda: ask(url, request("GET", "/a/v1/models"))[0] == 200)


def test_bodies_that_take_too_much_memory_are_refused_until_others_have_gone(service: Service, fake: Provider) -> None:
    url = service.start(fake.url, "balanced", limits=Limits(held_bytes=1_000_000))
    with connected(url) as first:
        first.sendall(request("POST", "/v1/chat/completions", b"", (b"content-length", b"900000")) + bytes(800_000))
        until(lambda: ask(url, chat(bytes(400_000)))[0] == 503)
        status, headers, body = ask(url, chat(bytes(400_000)))
        assert (status, error(body)[1], dict(headers)[b"retry-after"]) == (503, "overloaded", b"1")
        assert ask(url, request("POST", "/v1/files", bytes(2_000_000)))[0] == 200, "what streams is not held"
    until(lambda: ask(url, chat(b" " * 400_000 + b"{}"))[0] == 200)


def test_clients_that_still_send_what_was_refused_take_nobodys_place(service: Service, fake: Provider) -> None:
    limits = Limits(requests=3, held_bytes=1_000_000, body_bytes=5_000_000)
    url = service.start(fake.url, "balanced", limits=limits)
    with ExitStack() as stack:
        for _ in range(6):
            sock = stack.enter_context(connected(url))
            sock.sendall(
                request("POST", "/v1/chat/completions", b"", (b"content-length", b"4000000")) + bytes(1_200_000)
            )
            assert read_head(sock).startswith(b"HTTP/1.1 503")
            assert ask(url, chat(b"{}"))[0] == 200, "while that one may go on sending"


@pytest.mark.parametrize("end", ["answered", "refused", "cut", "no route", "unreachable"])
def test_however_a_request_ends_it_is_not_counted_any_more(fake: Provider, end: str) -> None:
    settings = bounded(fake.url if end != "unreachable" else "http://127.0.0.1:1")
    app = create_app(lambda: settings, Pipeline(UNDRAWN))
    with running(app) as url:
        for _ in range(3):
            if end == "cut":
                fake.script(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", Act.RESET)
            target = "/nowhere" if end == "no route" else "/a/../x" if end == "refused" else "/a/v1/models"
            with connected(url) as sock:
                sock.sendall(request("GET", target, b"", (b"connection", b"close")))
                read_all(sock)
        under_way = app._parts.under_way
        until(lambda: under_way.total == 0)
        assert +under_way.by_upstream == {}


def test_the_providers_own_429_and_503_pass_as_they_are(service: Service, fake: Provider) -> None:
    url = service.start(fake.url)
    for status in (429, 503):
        fake.script(whole(b'{"error":"theirs"}', (b"retry-after", b"17"), status=status))
        got, headers, body = ask(url, request("GET", "/v1/models"))
        assert (got, dict(headers)[b"retry-after"], body) == (status, b"17", b'{"error":"theirs"}')
