"""What Laconic itself may answer instead of the provider.

LaconicError
+-- Refused                  nothing went upstream
|   +-- AmbiguousRequest     400  two readers could understand the request differently
|   +-- Unauthorized         401  it has no key that is known here
|   +-- RouteForbidden       403  its key may not use the route
|   +-- NoRoute              404  no configured route takes it
|   +-- BodyStalled          408  the client stopped sending
|   +-- HeadersStalled       408
|   +-- BodyTooLarge         413
|   +-- RateLimited          429  its key has sent too many
|   +-- BudgetSpent          429  its key has spent what it may spend today
|   +-- HeadersTooLarge      431
|   +-- TooManyConnections   503  open at once
|   +-- Overloaded           503  too many requests are under way
|   +-- UpstreamSaturated    503  too many of them to this upstream
+-- UpstreamError
|   +-- UpstreamUnreachable  502  no connection could be made
|   +-- UpstreamBroken       502  it broke off, or its answer was not HTTP
|   +-- UpstreamTimeout      504  a time limit of the upstream has passed
+-- ClientLeft               499  nobody is there to be told

No message quotes the request: it could hold a prompt or a key.
"""

from typing import ClassVar

import msgspec

from proxy.asgi import Header


class LaconicError(Exception):
    """Carries its HTTP status, the `code` of an error body in OpenAI's shape, and when to come again."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        """`retry_after`: seconds."""
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> list[Header]:
        """Of the answer, besides those of its body."""
        return [] if self.retry_after is None else [(b"retry-after", b"%d" % self.retry_after)]

    def body(self) -> bytes:
        """`{"error": {"message", "type", "param", "code"}}`; the type tells it from the provider's own errors."""
        error = {"message": str(self), "type": "laconic_error", "param": None, "code": self.code}
        return msgspec.json.encode({"error": error})


class Refused(LaconicError):
    status = 400
    code = "refused"


class AmbiguousRequest(Refused):
    status = 400
    code = "ambiguous_request"


class Unauthorized(Refused):
    status = 401
    code = "invalid_api_key"

    def headers(self) -> list[Header]:
        return [(b"www-authenticate", b"Bearer"), *super().headers()]


class RouteForbidden(Refused):
    status = 403
    code = "route_forbidden"


class NoRoute(Refused):
    status = 404
    code = "no_route"


class BodyStalled(Refused):
    status = 408
    code = "body_stalled"


class HeadersStalled(Refused):
    status = 408
    code = "headers_stalled"


class BodyTooLarge(Refused):
    status = 413
    code = "body_too_large"


class RateLimited(Refused):
    status = 429
    code = "rate_limited"


class BudgetSpent(Refused):
    status = 429
    code = "budget_spent"


class HeadersTooLarge(Refused):
    status = 431
    code = "headers_too_large"


class TooManyConnections(Refused):
    status = 503
    code = "too_many_connections"


class Overloaded(Refused):
    status = 503
    code = "overloaded"


class UpstreamSaturated(Refused):
    status = 503
    code = "upstream_saturated"


class UpstreamError(LaconicError):
    status = 502
    code = "upstream_error"


class UpstreamUnreachable(UpstreamError):
    status = 502
    code = "upstream_unreachable"


class UpstreamBroken(UpstreamError):
    status = 502
    code = "upstream_broken"


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "upstream_timeout"


class ClientLeft(LaconicError):
    status = 499
    code = "client_left"
