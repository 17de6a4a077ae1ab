"""Which route a request takes: path prefix, model glob, header, key."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Route:
    """Every condition that is given must hold. `path` is a prefix ("/rag") that is cut off before forwarding;
    `model` a glob; `header` a name and a glob for its value; `key` the SHA-256 of the caller's key, in hex."""

    name: str
    upstream: str
    policy: str
    path: str = ""
    model: str | None = None
    header: tuple[str, str] | None = None
    key: str | None = None

    @property
    def catches_all(self) -> bool:
        return not self.path and self.model is None and self.header is None and self.key is None


def match(
    routes: Iterable[Route], path: str, model: str, headers: Sequence[tuple[bytes, bytes]], key_hash: str | None
) -> Route | None:
    """The first route whose every condition holds; None: the request has no business here.

    `path` is the request's path without its query; `model` is the body's, "" where there is none or nobody needs it
    (`needs_model`); `key_hash` is `hash_key` of the caller's bearer token, None without one (`needs_key`).
    """
    for route in routes:
        if (
            (not route.path or path == route.path or path.startswith(route.path + "/"))
            and (route.model is None or fnmatchcase(model, route.model))
            and (route.header is None or _has(headers, *route.header))
            and (route.key is None or (key_hash is not None and hmac.compare_digest(key_hash, route.key)))
        ):
            return route
    return None


def needs_model(routes: Iterable[Route]) -> bool:
    """Whether some route looks at the model, so that the body must be read before a route can be named."""
    return any(route.model is not None for route in routes)


def needs_key(routes: Iterable[Route]) -> bool:
    """Whether some route looks at the caller's key, so that it must be hashed."""
    return any(route.key is not None for route in routes)


def hash_key(token: bytes) -> str:
    """The form in which a caller's bearer token stands in a route: SHA-256, lower-case hex."""
    return hashlib.sha256(token).hexdigest()


def _has(headers: Sequence[tuple[bytes, bytes]], name: str, glob: str) -> bool:
    wanted = name.lower().encode("latin-1")
    return any(key.lower() == wanted and fnmatchcase(value.decode("latin-1"), glob) for key, value in headers)
