"""Single headers are read in any case, and what we write fits into one."""

import pytest

from proxy.asgi import Header
from proxy.headers import bearer_token, connection_named, content_coding, is_event_stream, is_json, printable


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(b"authorization", b"Bearer sk-1")], b"sk-1"),
        ([(b"authorization", b"bearer  sk-1 ")], b"sk-1"),
        ([(b"authorization", b"Basic abc")], b""),
        ([], b""),
    ],
)
def test_the_bearer_token(headers: list[Header], token: bytes) -> None:
    assert bearer_token(headers) == token


@pytest.mark.parametrize(
    ("value", "coding"), [(b"GZIP", b"gzip"), (b"identity", b""), (b"", b""), (b"gzip, br", b"gzip, br")]
)
def test_the_content_coding(value: bytes, coding: bytes) -> None:
    assert content_coding([(b"content-encoding", value)]) == coding


def test_kinds_of_content() -> None:
    assert is_json([(b"content-type", b"Application/JSON; charset=utf-8")])
    assert not is_json([(b"content-type", b"text/event-stream")])
    assert is_event_stream([(b"content-type", b"text/event-stream; charset=utf-8")])
    assert not is_event_stream([])


def test_headers_for_the_next_neighbour_only() -> None:
    assert connection_named([(b"connection", b"X-A, close"), (b"connection", b"x-b")]) == {b"x-a", b"close", b"x-b"}


def test_what_is_written_into_a_header_is_printable_ascii() -> None:
    assert printable("naïve\r\nx-evil: 1\x00") == b"na?ve??x-evil: 1?"
