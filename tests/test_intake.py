"""What is refused at the door, and while a body comes."""

import pytest
from conftest import Service
from provider import Act, Provider, chunk
from raw import ask, connected, read_all, read_head, request, value

from proxy.asgi import Header
from proxy.errors import AmbiguousRequest, BodyTooLarge, HeadersTooLarge, Refused
from proxy.intake import check
from proxy.settings import Limits

LIMITS = Limits(body_bytes=100, header_bytes=200, headers=5)


def test_an_ordinary_request_passes_and_tells_its_length() -> None:
    headers = [(b"host", b"h"), (b"content-length", b"100"), (b"x_custom", b"1"), (b"cookie", b"a"), (b"cookie", b"b")]
    assert check(headers, b"/v1/files/..a/b.json", LIMITS) == 100
    assert check([(b"host", b"h")], b"/", LIMITS) is None


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([(b"content-length", b"1"), (b"content-length", b"1")], AmbiguousRequest),
        ([(b"host", b"a"), (b"host", b"b")], AmbiguousRequest),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], AmbiguousRequest),
        ([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], AmbiguousRequest),
        ([(b"content_length", b"1")], AmbiguousRequest),
        ([(b"x_laconic", b"off")], AmbiguousRequest),
        ([(b"x_laconic-policy", b"off")], AmbiguousRequest),
        ([(b"transfer_encoding", b"chunked")], AmbiguousRequest),
        ([(b"api_key", b"k")], AmbiguousRequest),
        ([(b"content-length", b"101")], BodyTooLarge),
        ([(b"a", b"1")] * 6, HeadersTooLarge),
        ([(b"a", b"1" * 200)], HeadersTooLarge),
    ],
)
def test_what_two_readers_could_understand_differently_or_is_too_large_is_refused(
    headers: list[Header], error: type[Refused]
) -> None:
    with pytest.raises(error):
        check(headers, b"/v1/models", LIMITS)


@pytest.mark.parametrize("path", [b"/v1/../admin", b"/v1/./x", b"/v1/%2e%2E/x", b"/v1/.%2e", b"/.."])
def test_a_path_that_climbs_is_refused(path: bytes) -> None:
    with pytest.raises(AmbiguousRequest, match="dot segment"):
        check([], path, LIMITS)


def test_errors_quote_no_value() -> None:
    with pytest.raises(AmbiguousRequest) as caught:
        check([(b"authorization", b"Bearer sk-secret"), (b"authorization", b"Bearer sk-other")], b"/", LIMITS)
    assert b"sk-" not in caught.value.body()


# Limits


def test_a_declared_body_over_the_limit_is_refused_unread(service: Service, fake: Provider) -> None:
    huge = request("POST", "/v1/chat/completions", b"", (b"content-length", b"%d" % (300 * 1024 * 1024)))
    status, headers, body = ask(service.start(fake.url), huge)
    assert status == 413
    assert b'"code":"body_too_large"' in body
    assert value(headers, b"connection") == b"close"
    assert fake.connections == 0


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/files"])
def test_a_body_without_a_length_is_counted_while_it_comes(service: Service, fake: Provider, target: str) -> None:
    url = service.start(fake.url, "balanced", limits=Limits(body_bytes=100_000))
    with connected(url) as sock:
        sock.sendall(request("POST", target, b"", (b"transfer-encoding", b"chunked")))
        for _ in range(3):
            sock.sendall(chunk(b"x" * 40_000))
        assert read_head(sock).startswith(b"HTTP/1.1 413")
    fake.wait_for(open=0)
    assert fake.requests == []


def test_a_large_file_streams_through_without_being_held(service: Service, fake: Provider) -> None:
    """The upstream has the first part while the client has not sent the last."""
    fake.read_bodies = False
    fake.script(Act.STALL)
    url = service.start(fake.url, "balanced")
    with connected(url) as sock:
        sock.sendall(request("POST", "/v1/files", b"", (b"content-length", b"10000000")) + b"x" * 100_000)
        assert fake.arrived.wait(5)
        assert fake.last.header("content-length") == [b"10000000"]


def test_a_body_that_stalls_is_not_waited_for(service: Service, fake: Provider) -> None:
    url = service.start(fake.url, "balanced", limits=Limits(body_idle_seconds=0.1))
    with connected(url) as sock:
        sock.sendall(request("POST", "/v1/chat/completions", b"", (b"content-length", b"10")) + b"hello")
        assert read_all(sock).startswith(b"HTTP/1.1 408")


def test_headers_over_the_limits_are_refused(service: Service, fake: Provider) -> None:
    url = service.start(fake.url, limits=Limits(headers=10, header_bytes=1000))
    assert ask(url, request("GET", "/v1/models", b"", *[(b"x-h", b"1")] * 11))[0] == 431
    assert ask(url, request("GET", "/v1/models", b"", (b"x-h", b"1" * 1000)))[0] == 431
    assert fake.requests == []


@pytest.mark.parametrize("declared", [True, False])
def test_a_client_that_sends_all_of_a_body_that_is_refused_reads_why(
    service: Service, fake: Provider, declared: bool
) -> None:
    url = service.start(fake.url, limits=Limits(body_bytes=1_000_000))
    body = bytes(1_800_000)
    length = (b"content-length", b"%d" % len(body)) if declared else (b"transfer-encoding", b"chunked")
    with connected(url) as sock:
        sock.sendall(request("POST", "/v1/chat/completions", b"", length))
        sock.sendall(body if declared else chunk(body) + b"0\r\n\r\n")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"body_too_large"' in answer
