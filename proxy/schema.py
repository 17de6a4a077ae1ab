"""The keys of the configuration file: what each may hold, its default and what it is for. Policies have theirs in
`policies.written`, prices in `proxy.pricing`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from proxy.settings import Admin, Compression, Guarding, Limits, Recording, Timeouts, Upstream

_LIMITS, _COMPRESSION, _TIMEOUTS = Limits(), Compression(), Timeouts()
_GUARD, _RECORDING = Guarding(), Recording()
_ADMIN, _UPSTREAM = Admin(), Upstream("", "")

Port = Annotated[int, Meta(ge=0, le=65535, title="a whole number from 0 (any free port) to 65535")]
Amount = Annotated[int, Meta(ge=1, le=1_000_000, title="a whole number from 1 to 1000000")]
Few = Annotated[int, Meta(ge=1, le=64, title="a whole number from 1 to 64")]
Seconds = Annotated[float, Meta(gt=0, le=86_400, title="a number of seconds, above 0 and up to 86400")]
Milliseconds = Annotated[float, Meta(gt=0, le=600_000, title="a number of milliseconds, above 0 and up to 600000")]
Hours = Annotated[float, Meta(gt=0, le=87_600, title="a number of hours, above 0 and up to 87600")]
Text = Annotated[str, Meta(min_length=1, title="a string that is not empty")]
Hash = Annotated[str, Meta(pattern=r"^sha256:[0-9a-fA-F]{64}$")]
Tables = Annotated[dict[str, object], Meta(title="tables, one a name")]


class ServerTable(Struct):
    host: Annotated[Text, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="the port to listen on")] = 8787
    workers: Annotated[
        Few, Meta(description="processes that serve, with one ledger and one copy of each model; not threads")
    ] = 1
    drain_seconds: Annotated[Seconds, Meta(description="how long running requests may go on after SIGTERM")] = (
        _LIMITS.drain_seconds
    )
    head_seconds: Annotated[Seconds, Meta(description="the longest a client may take to send the headers")] = (
        _LIMITS.head_seconds
    )
    body_idle_seconds: Annotated[
        Seconds, Meta(description="the longest a client may pause inside a body, or fall behind 1,000 bytes a second")
    ] = _LIMITS.body_idle_seconds
    unread_seconds: Annotated[
        Seconds, Meta(description="the longest a client may leave what it was sent unread; then the connection is cut")
    ] = _LIMITS.unread_seconds
    max_connections: Annotated[Amount, Meta(description="more connections at once are refused with 503")] = (
        _LIMITS.connections
    )
    max_body_mb: Annotated[Amount, Meta(description="larger request bodies are refused, in MiB")] = (
        _LIMITS.body_bytes // 2**20
    )
    max_header_kb: Annotated[Amount, Meta(description="larger request heads are refused, in KiB")] = (
        _LIMITS.header_bytes // 2**10
    )
    max_headers: Annotated[Amount, Meta(description="more header lines are refused")] = _LIMITS.headers
    max_held_mb: Annotated[
        Amount, Meta(description="more bytes of chat bodies in memory at the same time are refused, in MiB")
    ] = _LIMITS.held_bytes // 2**20
    max_requests: Annotated[Amount, Meta(description="more requests at the same time are refused")] = _LIMITS.requests
    open: Annotated[
        bool,
        Meta(
            description="true: anyone who can reach this port may use it, and your upstream keys; asked for only "
            "beyond loopback and without `[key]`"
        ),
    ] = False


class KeyTable(Struct):
    hash: Annotated[
        Hash, Meta(title='"sha256:" and 64 hex digits', description="of the key; `laconic keys new` makes one")
    ]
    routes: Annotated[
        list[str] | None, Meta(title="a list of names of routes", description="those it may take; without it, all")
    ] = None
    floor: Annotated[
        Literal["off", "audit"] | Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(
            title='"off", "audit" or a number above 0 and up to 1',
            description="no request of this key is compressed further: as if each carried this as `x-laconic` header",
        ),
    ] = None
    requests_per_minute: Annotated[Amount | None, Meta(description="more are refused; so many may come at once")] = None
    usd_per_day: Annotated[
        Annotated[float, Meta(gt=0, le=1_000_000)] | None,
        Meta(title="a number above 0", description="what may be billed a day (UTC), in USD"),
    ] = None


class AdminTable(Struct):
    host: Annotated[Text, Meta(description="the address of the second listener")] = _ADMIN.host
    port: Annotated[
        Port | None, Meta(description="puts `/metrics` and `/report` on a second listener, off the first")
    ] = None
    key_hash: Annotated[
        Hash | None,
        Meta(title='"sha256:" and 64 hex digits', description="puts them behind a key (`Authorization: Bearer`)"),
    ] = None


class CompressionTable(Struct):
    deadline_ms: Annotated[
        Milliseconds, Meta(description="for queueing and computing; past it, the original is sent")
    ] = _COMPRESSION.deadline_ms
    workers: Annotated[
        Few | None,
        Meta(description="threads that compress, in each process; default: 2, or 8 in all where they wait for a model"),
    ] = None
    cache_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            title="a whole number from 0 to 1000000",
            description="memory for what compressors found in texts that come again, in MiB; 0: none",
        ),
    ] = _COMPRESSION.cache_mb
    queue: Annotated[
        Amount, Meta(description="requests that may wait for a thread of their process; more are sent as they are")
    ] = _COMPRESSION.queue
    usd_per_second: Annotated[
        float,
        Meta(
            ge=0, le=1000, title="a number from 0 to 1000", description="what a second of compressing costs you, in USD"
        ),
    ] = _COMPRESSION.usd_per_second
    bypass_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            title="a number from 0 to 1",
            description="the share of conversations, drawn at random, that is sent as it comes, to measure against",
        ),
    ] = _COMPRESSION.bypass_share


class CompressorTable(Struct):
    """What every compressor takes; the other keys are the settings of the one that is used."""

    use: Annotated[Text | None, Meta(description="the compressor; without it, the one that is called NAME")] = None


class LedgerTable(Struct):
    path: Annotated[
        Text | None, Meta(description='the SQLite file of savings; "off": none; default: in the user\'s state folder')
    ] = None


class RecordingTable(Struct):
    path: Annotated[Text | None, Meta(description="the file of chat requests, a JSON line each; without it: none")] = (
        None
    )
    share: Annotated[
        float, Meta(gt=0, le=1, title="a number above 0 and up to 1", description="of the requests, drawn at random")
    ] = _RECORDING.share
    max_mb: Annotated[Amount, Meta(description="recording ends when the file has this size, in MiB")] = (
        _RECORDING.max_mb
    )
    redact: Annotated[
        bool, Meta(description="stand-ins for addresses, numbers and keys; names of people cannot be found, and stay")
    ] = _RECORDING.redact


class UpstreamTable(Struct):
    url: Annotated[Text, Meta(description="what a client would use as base URL, with its /v1")]
    key_env: Annotated[
        Text | None, Meta(description="the environment variable with the key to send instead of the caller's")
    ] = None
    key_file: Annotated[Text | None, Meta(description="or the file with that key")] = None
    connect: Annotated[Seconds, Meta(description="longest wait for a connection")] = _TIMEOUTS.connect
    first_byte: Annotated[Seconds, Meta(description="longest wait for the answer to begin")] = _TIMEOUTS.first_byte
    idle: Annotated[Seconds, Meta(description="longest pause within an answer")] = _TIMEOUTS.idle
    total: Annotated[Seconds, Meta(description="longest exchange, all in all")] = _TIMEOUTS.total
    max_concurrent: Annotated[Amount, Meta(description="more requests to it at the same time are refused")] = (
        _UPSTREAM.max_concurrent
    )


class HeaderTable(Struct):
    name: Annotated[
        str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", title="a header name", description="in any case")
    ]
    value: Annotated[str, Meta(title="a glob", description="what the value must match")] = "*"


class GuardTable(Struct):
    share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            title="a number above 0 and up to 1",
            description="the share of compressed requests, drawn at random, whose original is sent too, twice",
        ),
    ] = _GUARD.share
    usd_per_day: Annotated[
        float, Meta(gt=0, le=1_000_000, title="a number above 0", description="what that may cost a day (UTC), in USD")
    ] = _GUARD.usd_per_day
    margin: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            title="a number from 0, below 1",
            description="how much worse answers may agree with the original's before compression steps down",
        ),
    ] = _GUARD.margin
    confidence: Annotated[
        float,
        Meta(ge=0.5, lt=1, title="a number from 0.5, below 1", description="how sure it must be to step down"),
    ] = _GUARD.confidence
    recover_hours: Annotated[
        Hours | None,
        Meta(description="when the level above is tried again; without it, when an operator says so"),
    ] = None


class RouteTable(Struct):
    name: Annotated[Text, Meta(description="what reports call this route")]
    path: Annotated[
        str, Meta(pattern=r"^/[^\s?#]*$", title="a path from /", description="prefix, cut off before forwarding")
    ] = ""
    model: Annotated[Text | None, Meta(title="a glob", description="what the request's model must match")] = None
    header: Annotated[
        dict[str, object] | None, Meta(title="a table of name and value", description="a header to have")
    ] = None
    key: Annotated[
        Hash | None,
        Meta(title='"sha256:" and 64 hex digits', description="the SHA-256 of the caller's key"),
    ] = None
    upstream: Annotated[Text | None, Meta(description="where to; may be left out where there is only one")] = None
    policy: Annotated[Text, Meta(description="what is shortened")] = "balanced"
    guard: Annotated[
        dict[str, object] | None, Meta(title="a table", description="the quality guard; {}: with its defaults")
    ] = None


class FileTable(Struct):
    server: Annotated[dict[str, object], Meta(title="a table")] = {}
    admin: Annotated[dict[str, object], Meta(title="a table")] = {}
    key: Tables = {}
    compression: Annotated[dict[str, object], Meta(title="a table")] = {}
    ledger: Annotated[dict[str, object], Meta(title="a table")] = {}
    recording: Annotated[dict[str, object], Meta(title="a table")] = {}
    upstream: Tables = {}
    route: Annotated[list[dict[str, object]], Meta(title="[[route]] tables")] = []
    policy: Tables = {}
    compressor: Tables = {}
    prices: Tables = {}
