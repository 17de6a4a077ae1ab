"""What is refused at the door."""

import pytest

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
