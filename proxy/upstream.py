"""Where a request goes and with which headers; what the upstream's failures mean.

Headers are lists of raw pairs, never a mapping: repeated ones stay repeated, in order.
"""

from dataclasses import dataclass
from functools import lru_cache

import httpx

from proxy.asgi import Header
from proxy.errors import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.headers import connection_named
from proxy.settings import Upstream

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
"""Between two neighbours only (RFC 9110, 7.6.1)."""
NOT_FORWARDED = HOP_BY_HOP | {b"host", b"content-length", b"expect"}
"""The first two are set anew; `100-continue` has been answered by our own server."""
OURS = b"x-laconic"


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an upstream. `target` is the path and the query as the client wrote them, route prefix cut off;
    `length` the size of the body, None where the client did not say."""

    method: str
    target: bytes
    headers: list[Header]
    body: bytes | httpx.AsyncByteStream
    length: int | None


@dataclass(frozen=True, slots=True)
class Base:
    """An upstream's URL, taken apart once. `versioned` stands for the client's `/v1`, `root` for its `/`."""

    url: httpx.URL
    host: bytes
    root: bytes
    versioned: bytes


@lru_cache(maxsize=256)
def base(url: str) -> Base:
    """`https://host/v1` and `https://host` mean the same; `https://host/api/v4` has `/api/v4` in the place of `/v1`."""
    parsed = httpx.URL(url)
    path = parsed.raw_path.partition(b"?")[0].rstrip(b"/")
    root = path.removesuffix(b"/v1")
    return Base(parsed, parsed.netloc, root, path or b"/v1")


def target(where: Base, path: bytes) -> bytes:
    """The request target for a client's path and query."""
    if path.startswith(b"/v1") and path[3:4] in (b"/", b"?", b""):
        return where.versioned + path[3:]
    return where.root + path


def request_headers(call: Call, where: Base, key: str | None) -> list[Header]:
    """What goes upstream: the client's own headers, in order, less those that end here."""
    dropped = NOT_FORWARDED | connection_named(call.headers)
    if key is not None:
        dropped |= {b"authorization"}
    kept = [(b"host", where.host)]
    kept += [h for h in call.headers if h[0] not in dropped and not h[0].startswith(OURS)]
    if key is not None:
        kept.append((b"authorization", b"Bearer " + key.encode("ascii")))
    if call.length is not None:
        kept.append((b"content-length", b"%d" % call.length))
    elif not isinstance(call.body, bytes):
        kept.append((b"transfer-encoding", b"chunked"))
    return kept


def response_headers(response: httpx.Response) -> list[Header]:
    """What goes back to the client. The length of a body that never comes would confuse the server side."""
    headers = response.headers.raw
    dropped = HOP_BY_HOP | connection_named(headers)
    if response.status_code in (204, 304):
        dropped |= {b"content-length"}
    return [h for h in headers if h[0] not in dropped and not h[0].startswith(OURS)]


async def send(transport: httpx.AsyncBaseTransport, upstream: Upstream, call: Call) -> httpx.Response:
    """Sends a request and returns with the head of the answer. Raises `UpstreamError`."""
    where = base(upstream.url)
    limits = upstream.timeouts
    timeout = {
        "connect": limits.connect,
        "first_byte": limits.first_byte,
        "read": limits.idle,
        "write": limits.idle,
        "pool": limits.connect,
    }
    request = httpx.Request(
        call.method,
        where.url,
        headers=request_headers(call, where, upstream.key),
        stream=httpx.ByteStream(call.body) if isinstance(call.body, bytes) else call.body,
        extensions={"target": target(where, call.target), "timeout": timeout},
    )
    try:
        return await transport.handle_async_request(request)
    except httpx.TransportError as error:
        raise meaning(error) from error


def meaning(error: httpx.TransportError) -> UpstreamError:
    """Our error for one of httpx's."""
    if isinstance(error, httpx.TimeoutException):
        return UpstreamTimeout(str(error))
    if isinstance(error, httpx.ConnectError):
        return UpstreamUnreachable(str(error))
    return UpstreamBroken(str(error))
