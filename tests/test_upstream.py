"""Which headers go on, where a path leads, and what the upstream's failures are called."""

import httpx
import pytest

from proxy.asgi import Header
from proxy.errors import LaconicError, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream import Call, base, meaning, request_headers, response_headers, target

WHERE = base("https://api.example.com/v1")


def sent(headers: list[Header], body: bytes = b"", length: int | None = None, key: str | None = None) -> list[Header]:
    return request_headers(Call("POST", b"/v1/x", headers, body, length), WHERE, key)


HOST = (b"host", b"api.example.com")


@pytest.mark.parametrize(
    ("given", "forwarded"),
    [
        ([(b"host", b"127.0.0.1:8787")], []),
        ([(b"authorization", b"Bearer sk-1")], [(b"authorization", b"Bearer sk-1")]),
        ([(b"accept-encoding", b"gzip, br")], [(b"accept-encoding", b"gzip, br")]),
        ([(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")], [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]),
        ([(b"x-laconic", b"off"), (b"x-laconic-anything", b"1")], []),
        ([(b"connection", b"keep-alive"), (b"keep-alive", b"timeout=5")], []),
        ([(b"connection", b"X-Mine , close"), (b"x-mine", b"1"), (b"x-other", b"2")], [(b"x-other", b"2")]),
        ([(b"te", b"trailers"), (b"trailer", b"x"), (b"upgrade", b"h2c"), (b"proxy-authorization", b"Basic x")], []),
        ([(b"transfer-encoding", b"chunked"), (b"expect", b"100-continue")], []),
        ([(b"x-empty", b"")], [(b"x-empty", b"")]),
        ([], []),
    ],
)
def test_request_headers_go_on_in_order_less_those_that_end_here(given: list[Header], forwarded: list[Header]) -> None:
    assert sent(given) == [HOST, *forwarded]


def test_the_length_is_that_of_the_body_that_goes_out() -> None:
    assert sent([(b"content-length", b"9")], b"short", 5) == [HOST, (b"content-length", b"5")]
    assert sent([], b"", 0) == [HOST, (b"content-length", b"0")]


def test_a_stream_of_unknown_length_goes_out_in_chunks() -> None:
    call = Call("POST", b"/v1/x", [(b"transfer-encoding", b"chunked")], httpx.AsyncByteStream(), None)
    assert request_headers(call, WHERE, None) == [HOST, (b"transfer-encoding", b"chunked")]


def test_the_callers_key_is_replaced_only_where_the_upstream_has_one() -> None:
    own = (b"authorization", b"Bearer sk-own")
    assert sent([(b"authorization", b"Bearer sk-caller")], key="sk-own") == [HOST, own]
    assert sent([], key="sk-own") == [HOST, own]


@pytest.mark.parametrize(
    ("url", "path", "leads_to"),
    [
        ("https://h/v1", b"/v1/models?limit=2", b"/v1/models?limit=2"),
        ("https://h/v1/", b"/v1/models", b"/v1/models"),
        ("https://h", b"/v1/models", b"/v1/models"),
        ("https://h/openai/v1", b"/v1/models", b"/openai/v1/models"),
        ("https://h/api/paas/v4", b"/v1/models", b"/api/paas/v4/models"),
        ("https://h/v1", b"/dashboard", b"/dashboard"),
        ("https://h/openai/v1", b"/dashboard", b"/openai/dashboard"),
        ("https://h/v1", b"/v10/models", b"/v10/models"),
        ("https://h/v1", b"/v1?x=1", b"/v1?x=1"),
        ("https://h/v1", b"/v1/a%2Fb/%7Euser?q=%20+", b"/v1/a%2Fb/%7Euser?q=%20+"),
    ],
)
def test_the_upstreams_path_stands_for_v1_and_the_rest_is_sent_as_written(
    url: str, path: bytes, leads_to: bytes
) -> None:
    assert target(base(url), path) == leads_to


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://h/v1", b"h"), ("http://h:8000", b"h:8000"), ("https://h:443", b"h"), ("http://[::1]:8", b"[::1]:8")],
)
def test_the_host_header_is_the_upstreams(url: str, host: bytes) -> None:
    assert base(url).host == host


def test_response_headers_stay_repeated_and_in_order() -> None:
    given = [(b"set-cookie", b"a=1"), (b"x-request-id", b"r"), (b"set-cookie", b"b=2"), (b"retry-after", b"3")]
    dropped = [(b"connection", b"x-hop"), (b"x-hop", b"1"), (b"transfer-encoding", b"chunked"), (b"x-laconic-ms", b"1")]
    assert response_headers(httpx.Response(200, headers=given + dropped)) == given


@pytest.mark.parametrize(("status", "kept"), [(200, True), (304, False), (204, False)])
def test_the_length_of_a_body_that_never_comes_is_dropped(status: int, kept: bool) -> None:
    length = (b"content-length", b"10")
    assert (length in response_headers(httpx.Response(status, headers=[length]))) is kept


@pytest.mark.parametrize(
    ("failure", "error", "status"),
    [
        (httpx.ConnectError("x"), UpstreamUnreachable, 502),
        (httpx.ConnectTimeout("x"), UpstreamTimeout, 504),
        (httpx.ReadTimeout("x"), UpstreamTimeout, 504),
        (httpx.WriteTimeout("x"), UpstreamTimeout, 504),
        (httpx.ReadError("x"), UpstreamBroken, 502),
        (httpx.RemoteProtocolError("x"), UpstreamBroken, 502),
    ],
)
def test_failures_have_a_status_of_their_own(
    failure: httpx.TransportError, error: type[LaconicError], status: int
) -> None:
    ours = meaning(failure)
    assert type(ours) is error
    assert ours.status == status
