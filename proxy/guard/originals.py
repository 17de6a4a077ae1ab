"""The original of a request, sent again by ourselves: what goes out, what it will cost at most, what it did cost."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import ClassVar, TypeGuard

import httpx
import msgspec

from policies.routes import Route
from proxy import upstream
from proxy.asgi import Header, Scope
from proxy.guard.answers import BOUND, Answer
from proxy.guard.witness import Whole
from proxy.headers import plain
from proxy.json_walk import Walk
from proxy.pricing import Price
from proxy.savings import Measured, Usage
from proxy.settings import Settings, Upstream

_DROPPED = frozenset((b"idempotency-key", b"content-encoding", b"content-length"))
_MILLION = 1_000_000
_BYTES = 3  # of a body or an answer to a token, at least
_SPARE = 1.25  # what is set aside for each expected token
_AT_LEAST = 500  # tokens of an answer that are set aside where its usage is not known
_PAUSE = 60.0  # seconds, where the upstream does not say
_LONGEST = 86_400.0


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request that went out compressed. In memory only, and only until its answers are compared: `body` is the
    client's, `scope` holds its headers and credentials."""

    settings: Settings
    route: Route
    scope: Scope
    body: bytes
    measured: Measured

    @property
    def destination(self) -> Upstream:
        return self.settings.upstreams[self.route.upstream]


class Overloaded(Exception):
    """The upstream wants no more requests (429, 503), for so many seconds."""

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(status, seconds)
        self.status, self.seconds = status, seconds


async def send(transport: httpx.AsyncBaseTransport, request: Request, call: upstream.Call) -> Whole | None:
    """What the upstream says to the original, its body empty where it is too large; None where it refuses. Raises
    `Overloaded`, `UpstreamError`, `httpx.TransportError` and `TimeoutError`."""
    async with asyncio.timeout(request.destination.timeouts.total):
        response = await upstream.send(transport, request.destination, call)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            if response.status_code in (429, 503):
                raise Overloaded(response.status_code, pause(response.headers.get("retry-after", "")))
            if response.status_code != 200:
                return None
            body = bytearray()
            async for chunk in response.stream:
                body += chunk
                if len(body) > BOUND:
                    return Whole(response.headers.raw, b"")
            return Whole(response.headers.raw, bytes(body))
        finally:
            await response.stream.aclose()


def pause(retry_after: str) -> float:
    """Seconds, from the header: a number or a date (RFC 9110); at most a day."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(retry_after).astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return _PAUSE
    return min(max(seconds, 1.0), _LONGEST) if isfinite(seconds) else _PAUSE


def call(request: Request) -> upstream.Call:
    """To the same place with the same headers, except what would make the provider take it for a repetition."""
    body = unstreamed(request.body)
    path: bytes = request.scope["raw_path"][len(request.route.path) :]
    query: bytes = request.scope["query_string"]
    headers: list[Header] = [h for h in plain(request.scope["headers"]) if h[0] not in _DROPPED]
    return upstream.Call("POST", path + b"?" + query if query else path, headers, body, len(body))


def unstreamed(body: bytes) -> bytes:
    """The body asking for its answer in one piece: then the provider says what it billed. Nothing else changes."""
    try:
        source = body.decode()
        pieces: list[str] = []
        at = 0
        for start, end, value in _Flags(source).spans():
            pieces += source[at:start], value
            at = end
    except (ValueError, RecursionError):
        return body
    return "".join((*pieces, source[at:])).encode()


class _Flags(Walk):
    once = frozenset(("stream", "stream_options"))
    _INSTEAD: ClassVar = {"stream": "false", "stream_options": "null"}

    def spans(self) -> list[tuple[int, int, str]]:
        """Where the values of the two keys lie, and what to put there."""
        found: list[tuple[int, int, str]] = []
        for key, at in self._members(self._space(0)):
            self._value(at)
            if key in self._INSTEAD:
                found.append((at, self._end, self._INSTEAD[key]))
        return found


class _Bounds(msgspec.Struct):
    max_tokens: object = None
    max_completion_tokens: object = None
    n: object = None


def longest(body: bytes) -> float | None:
    """Tokens of an answer, all its choices together, that the request allows; None where it does not say."""
    try:
        bounds = msgspec.json.decode(body, type=_Bounds)
    except (ValueError, RecursionError):
        return None
    most = [value for value in (bounds.max_tokens, bounds.max_completion_tokens) if _count(value)]
    return max(most) * (bounds.n if _count(bounds.n) else 1) if most else None


def _count(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def estimate(price: Price, request: Request, answer: Answer) -> float:
    """USD that one original will hardly cost more than, by what the compressed request was billed, or by its size, and
    by the longest answer that it allows. Walks the body."""
    usage = answer.usage or Usage()
    removed = (request.measured.tokens_before or 0) - (request.measured.tokens_after or 0)
    sent = usage.input + removed if usage.input is not None else len(request.body) / _BYTES
    said = usage.output if usage.output is not None else _AT_LEAST + len(answer.text) / _BYTES
    bound = longest(request.body)
    return _uncached(price, _SPARE * sent, _SPARE * said if bound is None else max(said, bound))


def cost(price: Price, usage: Usage | None) -> float | None:
    """USD of an answer; where it is not said what came from a cache, at the price without one. None: not known."""
    if usage is None or usage.input is None or usage.output is None:
        return None
    exact = price.cost(usage)
    return _uncached(price, usage.input, usage.output) if exact is None else exact


def _uncached(price: Price, sent: float, said: float) -> float:
    assert price.output is not None  # requests of a model without one are not taken
    return (sent * max(price.input, price.cache_write or 0.0) + said * price.output) / _MILLION
