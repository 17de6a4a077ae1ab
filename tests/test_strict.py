"""What uvicorn and its parser let pass, and what they lose, is put right before it reaches anybody."""

import threading
import time

import pytest
from conftest import Service
from provider import Act, Provider, head, whole
from raw import connected, flood, more, read_all, read_head, request

from proxy.asgi import Header
from proxy.errors import AmbiguousRequest, Refused
from proxy.settings import Limits
from proxy.strict import check

CLOSE = (b"connection", b"close")
H2C: tuple[Header, ...] = (
    (b"connection", b"Upgrade, HTTP2-Settings"),
    (b"upgrade", b"h2c"),
    (b"http2-settings", b"AAEAAEAAAAIAAAAB"),
)
CHUNKED = (b"transfer-encoding", b"chunked")
HELLO = b"5\r\nhello\r\n0\r\n"


def test_an_offer_to_switch_protocols_costs_no_byte_of_the_request_and_of_the_next(
    service: Service, fake: Provider
) -> None:
    """Java's HttpClient and `curl --http2` make one with their first request, whose body the parser would drop."""
    last = request("GET", "/v1/last", b"", CLOSE)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("POST", "/v1/files", b"hello", *H2C))
        sock.sendall(request("POST", "/v1/files", b"", CHUNKED, *H2C) + HELLO + b"\r\n")
        sock.sendall(request("GET", "/v1/files", b"", *H2C) + last)
        assert read_all(sock).count(b"HTTP/1.1 200") == 4
    assert [r.body for r in fake.requests] == [b"hello", b"hello", b"", b""]
    assert fake.requests[0].header("upgrade") == []


def test_many_offers_at_once_are_no_trouble(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("GET", "/v1/a", b"", *H2C) * 1500 + request("GET", "/v1/last", b"", CLOSE))
        assert read_all(sock).count(b"HTTP/1.1 200") == 1501


@pytest.mark.parametrize("split", [1, 60, 120, 150, 172, 175])
def test_an_offer_in_two_pieces_is_read_the_same(service: Service, fake: Provider, split: int) -> None:
    data = request("POST", "/v1/files", b"hello", *H2C) + request("GET", "/v1/last", b"", CLOSE)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(data[:split])
        time.sleep(0.02)
        sock.sendall(data[split:])
        assert read_all(sock).count(b"HTTP/1.1 200") == 2
    assert [r.body for r in fake.requests] == [b"hello", b""]


def test_trailers_are_not_headers(service: Service, fake: Provider) -> None:
    trailers = b"x-sum: 1\r\nauthorization: Bearer sk-2\r\nhost: evil\r\nx-laconic: off\r\n\r\n"
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("POST", "/v1/files", b"", CHUNKED, CLOSE) + HELLO + trailers)
        assert read_all(sock).startswith(b"HTTP/1.1 200")
    assert fake.last.body == b"hello"
    assert fake.last.header("x-sum") == fake.last.header("authorization") == []


def test_a_trailer_without_an_end_is_not_read_for_ever(service: Service, fake: Provider) -> None:
    fake.read_bodies = False
    fake.script(Act.STALL)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("POST", "/v1/files", b"", CHUNKED) + HELLO + b"x: ")
        with pytest.raises(ConnectionError):
            flood(sock, b"y" * 65536, 30 * Limits().header_bytes // 4096)


def test_a_whole_request_is_answered_though_nonsense_follows(service: Service, fake: Provider) -> None:
    """It went upstream and is billed: a 400 in the place of its answer would be a lie."""
    go_on = threading.Event()
    fake.script(go_on, whole(b"{}"))
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("POST", "/v1/files", b"hello") + request("GET", "/v1/second") + b"nonsense\r\n\r\n")
        assert fake.arrived.wait(5)
        sock.sendall(b"more nonsense\r\n\r\n")
        go_on.set()
        answer = read_all(sock)
    assert answer.count(b"HTTP/1.1") == answer.count(b"HTTP/1.1 200") == 1
    assert len(fake.requests) == 1


def test_nonsense_within_a_body_is_answered_with_400(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url, "balanced")) as sock:
        sock.sendall(request("POST", "/v1/chat/completions", b"", CHUNKED) + b"5\r\nhelloX\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 400")
    assert fake.requests == []


def test_a_client_that_leaves_with_a_second_request_waiting_ends_the_first(service: Service, fake: Provider) -> None:
    fake.script(head(200, (b"content-length", b"5")) + b"h", Act.STALL)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("GET", "/v1/first") + request("GET", "/v1/second"))
        read_head(sock)
    assert fake.gone.wait(5)
    assert len(fake.requests) == 1


def scope(method: str = "GET", version: str = "1.1", *headers: Header) -> dict[str, object]:
    return {"method": method, "http_version": version, "headers": list(headers)}


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (scope("CONNECT"), Refused),
        (scope("TRACE"), Refused),  # the upstream would answer with its own key
        (scope("GET", "2.0"), AmbiguousRequest),
        (scope("GET", "0.9"), AmbiguousRequest),
        (scope("POST", "1.0", CHUNKED), AmbiguousRequest),
        (scope("POST", "1.1", (b"transfer-encoding", b"gzip, chunked")), AmbiguousRequest),
        (scope("POST", "1.1", (b"transfer-encoding", b"identity, chunked")), AmbiguousRequest),
        (scope("GET", "1.1", (b"connection", b"close, Authorization")), AmbiguousRequest),
        (scope("GET", "1.1", (b"connection", b"content-encoding")), AmbiguousRequest),
    ],
)
def test_what_parsed_well_and_is_read_in_two_ways_is_refused(asked: dict[str, object], error: type[Refused]) -> None:
    with pytest.raises(error):
        check(asked)


def test_ordinary_requests_pass() -> None:
    check(scope("POST", "1.1", (b"transfer-encoding", b"Chunked"), (b"connection", b"keep-alive, Upgrade, x-mine")))
    check(scope("GET", "1.0"))


@pytest.mark.parametrize("target", ["*", "ftp://a/v1/models", "v1/models"])
def test_a_target_that_is_no_path_reaches_nobody(service: Service, fake: Provider, target: str) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("OPTIONS", target))
        assert more(sock).startswith(b"HTTP/1.1 400")
    assert fake.connections == 0
