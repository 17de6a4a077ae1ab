"""What single headers say. Headers are lists of raw pairs with names in lower case, as ASGI gives them."""

from collections.abc import Sequence

from proxy.asgi import Header

CREDENTIALS = frozenset((b"authorization", b"api-key", b"x-api-key", b"openai-organization", b"openai-project"))


CODINGS = frozenset((b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress"))


def value(headers: Sequence[Header], name: bytes) -> bytes:
    """The first value, in lower case; empty where there is none."""
    return next((value.strip().lower() for key, value in headers if key == name), b"")


def is_json(headers: Sequence[Header]) -> bool:
    return value(headers, b"content-type").startswith(b"application/json")


def is_form(headers: Sequence[Header]) -> bool:
    return value(headers, b"content-type").startswith(b"multipart/")


def is_event_stream(headers: Sequence[Header]) -> bool:
    return value(headers, b"content-type").startswith(b"text/event-stream")


def content_coding(headers: Sequence[Header]) -> bytes:
    """How the body is packed, as written; empty where it is plain."""
    coding = value(headers, b"content-encoding")
    return b"" if coding == b"identity" else coding


def known_coding(coding: bytes) -> str:
    """The coding's name, for a reason; a caller may write anything there, so others are not quoted."""
    return coding.decode("ascii") if coding in CODINGS else "unknown"


def bearer_token(headers: Sequence[Header]) -> bytes:
    """The caller's key; empty where there is none."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return b""


def credentials(headers: Sequence[Header]) -> list[bytes]:
    """All that says who calls, in order."""
    return [name + b":" + value for name, value in headers if name in CREDENTIALS]


def plain(headers: Sequence[Header]) -> list[Header]:
    """The headers of a request whose answer is to be read: it must not come packed."""
    return [(b"accept-encoding", b"identity"), *(h for h in headers if h[0] != b"accept-encoding")]


def connection_named(headers: Sequence[Header]) -> frozenset[bytes]:
    """Headers that a Connection header declares to be for the next neighbour only."""
    values = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def printable(text: str) -> bytes:
    """Fit for a header: printable ASCII, everything else replaced."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).encode("ascii")
