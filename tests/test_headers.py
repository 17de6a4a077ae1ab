"""Single headers are read in any case, and what we write fits into one."""

import pytest

from proxy.asgi import Header
from proxy.headers import (
    bearer_token,
    connection_named,
    content_coding,
    credentials,
    is_event_stream,
    is_json,
    known_coding,
    plain,
    printable,
)


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


def test_only_codings_that_are_known_are_quoted() -> None:
    assert [known_coding(coding) for coding in (b"gzip", b"br", b"gzip, br", b"sk-secret")] == [
        *("gzip", "br", "unknown", "unknown")
    ]


def test_kinds_of_content() -> None:
    assert is_json([(b"content-type", b"Application/JSON; charset=utf-8")])
    assert not is_json([(b"content-type", b"text/event-stream")])
    assert is_event_stream([(b"content-type", b"text/event-stream; charset=utf-8")])
    assert not is_event_stream([])


def test_headers_for_the_next_neighbour_only() -> None:
    assert connection_named([(b"connection", b"X-A, close"), (b"connection", b"x-b")]) == {b"x-a", b"close", b"x-b"}


def test_what_is_written_into_a_header_is_printable_ascii() -> None:
    assert printable("naïve\r\nx-evil: 1\x00") == b"na?ve??x-evil: 1?"


def test_callers_are_told_apart_by_all_that_says_who_they_are() -> None:
    headers: list[Header] = [(b"authorization", b"Bearer a"), (b"accept", b"b"), (b"openai-organization", b"c")]
    assert credentials(headers) == [b"authorization:Bearer a", b"openai-organization:c"]
    assert credentials([(b"accept", b"b")]) == []
    one, other = ([(b"authorization", b"Bearer sk-" + 40 * b"a" + end)] for end in (b"1", b"2"))
    assert credentials(one) != credentials(other)


def test_an_answer_that_is_to_be_read_must_not_be_packed() -> None:
    headers: list[Header] = [(b"a", b"1"), (b"accept-encoding", b"gzip"), (b"accept-encoding", b"br"), (b"b", b"2")]
    assert plain(headers) == [(b"accept-encoding", b"identity"), (b"a", b"1"), (b"b", b"2")]
