"""Settings: read once from file, environment and flags; frozen; secrets masked in repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from policies.base import Policy
from policies.routes import Route


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, each measured on its own."""

    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 300.0
    total: float = 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    body_bytes: int = 64 * 1024 * 1024
    header_bytes: int = 64 * 1024
    headers: int = 200
    connections: int = 10_000
    head_seconds: float = 30.0  # the longest a client may take for its headers
    body_idle_seconds: float = 60.0  # the longest a client may pause while it sends a body
    unread_seconds: float = 300.0  # the longest a client may leave what it was sent unread
    drain_seconds: float = 30.0
    requests: int = 2000  # under way at the same time
    held_bytes: int = 1024 * 1024 * 1024  # of bodies that are read whole, at the same time


@dataclass(frozen=True, slots=True)
class Upstream:
    """`url` is what a client would use as base URL; a path in it (`/v1`) stands for the client's `/v1`.

    `key` replaces the caller's Authorization where given (read from the environment or a file, never from the config).
    `max_concurrent`: requests that it is sent at the same time.
    """

    name: str
    url: str
    key: str | None = field(default=None, repr=False)
    timeouts: Timeouts = Timeouts()
    max_concurrent: int = 1000


@dataclass(frozen=True, slots=True)
class Key:
    """Somebody who may use this service. `hash`: SHA-256 of the key, lower-case hex; `routes` None: all of them;
    `floor`: what an `x-laconic` header would say that each of its requests carries."""

    name: str
    hash: str = field(repr=False)
    routes: frozenset[str] | None = None
    floor: str | None = None
    requests_per_minute: int | None = None
    usd_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """Who may see metrics and reports: `port` puts them on a listener of their own, `key_hash` (SHA-256 in hex) behind
    a key; with neither, whoever reaches a service that listens on loopback and has no keys."""

    host: str = "127.0.0.1"
    port: int | None = None
    key_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Compression:
    """`deadline_ms` covers queueing and computing; `workers` threads (None: as many as suit what they do), `queue`
    waiting tasks at most; `cache_mb` for what compressors found, 0: none is kept. `usd_per_second`: what a second of
    compressing costs whoever runs this; `bypass_share`: of conversations that are sent as they come, to compare."""

    deadline_ms: float = 1500.0
    workers: int | None = None
    queue: int = 64
    cache_mb: int = 64
    usd_per_second: float = 0.0
    bypass_share: float = 0.01


@dataclass(frozen=True, slots=True)
class Guarding:
    """What the quality guard does on a route: the share of requests whose original is sent too, what that may cost a
    day, how much worse answers may agree (0.05: 5 points), how sure it must be, and after how many hours a level is
    tried again (None: when an operator says so)."""

    share: float = 0.02
    usd_per_day: float = 1.0
    margin: float = 0.05
    confidence: float = 0.95
    recover_hours: float | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """`path` None: nothing is recorded. `share` of the chat requests; `max_mb` of the file (MiB) end it."""

    path: str | None = None
    share: float = 1.0
    max_mb: int = 100
    redact: bool = True


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a name of a compressor stands for: a registered one (`use`) and its settings, None for its defaults."""

    use: str
    settings: Struct | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    upstreams: Mapping[str, Upstream]
    routes: tuple[Route, ...]  # first match wins; without a match a request is refused
    policies: Mapping[str, Policy]
    host: str = "127.0.0.1"
    port: int = 8787
    workers: int = 1  # processes
    open: bool = False  # whoever reaches it may use it, wherever it listens
    keys: tuple[Key, ...] = ()  # none: nobody needs one
    admin: Admin = Admin()
    limits: Limits = Limits()
    compression: Compression = Compression()
    ledger: str | None = None  # path of the SQLite file; None: not kept
    prices: Mapping[str, object] = field(default_factory=dict)  # overrides, see proxy.pricing
    compressors: Mapping[str, Chosen] = field(default_factory=dict)  # other names are those of `compressors`
    guards: Mapping[str, Guarding] = field(default_factory=dict)  # by route; others have no quality guard
    recording: Recording = Recording()
