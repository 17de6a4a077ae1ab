"""What Laconic itself may answer instead of the provider.

LaconicError
+-- Refused                  nothing went upstream
|   +-- AmbiguousRequest     400  two readers could understand the request differently
|   +-- NoRoute              404  no configured route takes it
|   +-- BodyStalled          408  the client stopped sending
|   +-- HeadersStalled       408
|   +-- BodyTooLarge         413
|   +-- HeadersTooLarge      431
|   +-- TooManyConnections   503  open at once
+-- UpstreamError
|   +-- UpstreamUnreachable  502  no connection could be made
|   +-- UpstreamBroken       502  it broke off, or its answer was not HTTP
|   +-- UpstreamTimeout      504  a time limit of the upstream has passed
+-- ClientLeft               499  nobody is there to be told

No message quotes the request: it could hold a prompt or a key.
"""

from typing import ClassVar

import msgspec


class LaconicError(Exception):
    """Carries its HTTP status and the `code` of an error body in OpenAI's shape. `retry_after`: seconds until it is
    worth trying again, None where nobody can say."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry_after: int | None = None

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


class HeadersTooLarge(Refused):
    status = 431
    code = "headers_too_large"


class TooManyConnections(Refused):
    status = 503
    code = "too_many_connections"
    retry_after = 1


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
