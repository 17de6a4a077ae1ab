"""Which route a request takes: path prefix, model glob, header, key."""

from dataclasses import dataclass


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
