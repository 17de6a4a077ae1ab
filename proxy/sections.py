"""The tables of a configuration file, one by one, into settings, with every complaint about them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path as File
from urllib.parse import urlsplit

from msgspec import structs
from platformdirs import user_state_path

import compressors
from policies import written
from policies.presets import PRESETS, TABLES
from policies.routes import Route
from policies.rules import RulePolicy
from policies.tables import Complaint, Path, read, unknown
from proxy.callers import admin, callers
from proxy.chosen import chosen
from proxy.pricing import parse_overrides
from proxy.schema import (
    CompressionTable,
    FileTable,
    GuardTable,
    HeaderTable,
    LedgerTable,
    RecordingTable,
    RouteTable,
    ServerTable,
    UpstreamTable,
)
from proxy.settings import Compression, Guarding, Limits, Recording, Settings, Timeouts, Upstream

OPENAI = {"openai": {"url": "https://api.openai.com/v1"}}
KEYS = {"key", "api_key", "token", "authorization", "secret", "password"}


class Sections:
    """Reads one part in each method; complaints go to the list that it was given."""

    def __init__(self, environ: Mapping[str, str], folder: File, complaints: list[Complaint]) -> None:
        self._environ = environ
        self._folder = folder
        self._complaints = complaints

    def settings(self, data: dict[str, object]) -> Settings:
        """Not to be used where there were complaints."""
        file = read(FileTable, data, (), self._complaints) or FileTable()
        server = read(ServerTable, file.server, ("server",), self._complaints) or ServerTable()
        compression = read(CompressionTable, file.compression, ("compression",), self._complaints) or CompressionTable()
        upstreams = self._upstreams(file.upstream or OPENAI)
        own = chosen(file.compressor, self._folder, self._complaints)
        policies = PRESETS | self._policies(file.policy, [*compressors.names(), *file.compressor])
        limits = Limits(
            body_bytes=server.max_body_mb * 2**20,
            header_bytes=server.max_header_kb * 2**10,
            headers=server.max_headers,
            connections=server.max_connections,
            held_bytes=server.max_held_mb * 2**20,
            head_seconds=server.head_seconds,
            body_idle_seconds=server.body_idle_seconds,
            unread_seconds=server.unread_seconds,
            drain_seconds=server.drain_seconds,
            requests=server.max_requests,
        )
        parse_overrides(file.prices, self._complaints)
        if not file.route and len(upstreams) > 1:
            self._complain(("upstream",), "are several, and no [[route]] says which takes what")
        routes = file.route or [{"name": "default", "upstream": next(iter(file.upstream or OPENAI))}]
        taken = self._routes(routes, list(file.upstream or OPENAI), policies)
        return Settings(
            upstreams=upstreams,
            routes=taken,
            policies=policies,
            host=server.host,
            port=server.port,
            workers=server.workers,
            open=server.open,
            keys=callers(file.key, [route.name for route in taken], self._complaints),
            admin=admin(file.admin, self._complaints),
            limits=limits,
            compression=Compression(
                deadline_ms=compression.deadline_ms,
                workers=compression.workers,
                queue=compression.queue,
                cache_mb=compression.cache_mb,
                usd_per_second=compression.usd_per_second,
                bypass_share=compression.bypass_share,
            ),
            ledger=self._ledger(file.ledger),
            prices=file.prices,
            compressors=own,
            guards=self._guards(file.route),
            recording=self._recording(file.recording),
        )

    def _complain(self, path: Path, message: str, allowed: str = "") -> None:
        self._complaints.append(Complaint(path, message, allowed))

    def _ledger(self, table: object) -> str | None:
        ledger = read(LedgerTable, table, ("ledger",), self._complaints) or LedgerTable()
        if ledger.path is None:
            return str(user_state_path("laconic") / "ledger.sqlite3")
        return None if ledger.path == "off" else str(self._file(ledger.path))

    def _recording(self, table: object) -> Recording:
        written = read(RecordingTable, table, ("recording",), self._complaints) or RecordingTable()
        path = None if written.path is None else str(self._file(written.path))
        return Recording(path, written.share, written.max_mb, written.redact)

    def _file(self, name: str) -> File:
        """A path in the file is relative to the folder of the file."""
        return self._folder / File(name).expanduser()

    def _upstreams(self, tables: Mapping[str, object]) -> dict[str, Upstream]:
        return {name: up for name, table in tables.items() if (up := self._upstream(name, table))}

    def _upstream(self, name: str, table: object) -> Upstream | None:
        at: Path = ("upstream", name)
        if isinstance(table, dict):
            for key in KEYS & table.keys():
                self._complain((*at, key), "keys don't belong in this file", "key_env or key_file")
            table = {key: value for key, value in table.items() if key not in KEYS}
        written = read(UpstreamTable, table, at, self._complaints)
        if written is None:
            return None
        if wrong := _wrong_url(written.url):
            self._complain((*at, "url"), wrong, "http or https, a host, and a path if need be")
        timeouts = Timeouts(written.connect, written.first_byte, written.idle, written.total)
        return Upstream(name, written.url.rstrip("/"), self._key(written, at), timeouts, written.max_concurrent)

    def _key(self, table: UpstreamTable, at: Path) -> str | None:
        if table.key_env is not None and table.key_file is not None:
            self._complain((*at, "key_file"), "contradicts 'key_env'", "one of key_env, key_file")
        if table.key_env is not None:
            at, key = (*at, "key_env"), self._environ.get(table.key_env, "").strip()
        elif table.key_file is not None:
            at = (*at, "key_file")
            try:
                key = self._file(table.key_file).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError):
                self._complain(at, "cannot be read", "a text file that holds the key and nothing else")
                return None
        else:
            return None
        if not key:
            self._complain(at, "names a place where no key is")
        elif not re.fullmatch(r"[!-~]+", key):
            self._complain(at, "names a key with characters that no header may carry")
        return key

    def _policies(self, tables: Mapping[str, object], known: Collection[str]) -> dict[str, RulePolicy]:
        for name in tables.keys() & PRESETS.keys():
            self._complain(("policy", name), "is the name of a preset", f'another name, with extends = "{name}"')
        found: list[Complaint] = []
        built = written.build(tables, TABLES, found, known)
        self._complaints.extend(replace(complaint, path=("policy", *complaint.path)) for complaint in found)
        return built

    def _routes(
        self, tables: list[dict[str, object]], upstreams: list[str], policies: Mapping[str, RulePolicy]
    ) -> tuple[Route, ...]:
        routes: list[Route] = []
        for n, table in enumerate(tables):
            route = self._route(table, ("route", n), upstreams, policies)
            if route is None:
                continue
            if route.name in (r.name for r in routes):
                self._complain(
                    ("route", n, "name"), f"{route.name!r} is taken by an earlier route", "a name of its own"
                )
            if earlier := next((r for r in routes if r.catches_all), None):
                self._complain(("route", n), f"is never reached: {earlier.name!r}, above, takes every request")
            routes.append(route)
        return tuple(routes)

    def _guards(self, tables: list[dict[str, object]]) -> dict[str, Guarding]:
        found: dict[str, Guarding] = {}
        for n, table in enumerate(tables):
            given, name = table.get("guard"), table.get("name")
            if isinstance(given, dict) and (
                written := read(GuardTable, given, ("route", n, "guard"), self._complaints)
            ):
                found[str(name)] = Guarding(**structs.asdict(written))
        return found

    def _route(self, table: object, at: Path, upstreams: list[str], policies: Mapping[str, RulePolicy]) -> Route | None:
        written = read(RouteTable, table, at, self._complaints)
        if written is None:
            return None
        if written.policy not in policies:
            self._complaints.append(unknown((*at, "policy"), written.policy, policies, "policy"))
        if written.upstream is None and len(upstreams) > 1:
            self._complain((*at, "upstream"), "is missing, and there are several", ", ".join(upstreams))
        elif written.upstream is not None and written.upstream not in upstreams:
            self._complaints.append(unknown((*at, "upstream"), written.upstream, upstreams, "upstream"))
        header = written.header and read(HeaderTable, written.header, (*at, "header"), self._complaints)
        return Route(
            name=written.name,
            upstream=written.upstream or upstreams[0],
            policy=written.policy,
            path=written.path.rstrip("/"),
            model=written.model,
            header=(header.name, header.value) if header else None,
            key=written.key and written.key.removeprefix("sha256:").lower(),
        )


def _wrong_url(url: str) -> str:
    """What is wrong with the base URL of an upstream, "" where nothing is. Never the URL: it could hold a password."""
    if re.search(r"[^!-~]", url):
        return "holds a character that no URL may"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no HTTP URL"
    if parts.username is not None or parts.password is not None:
        return "names a user: name the key with key_env or key_file"
    return "has a query or a fragment" if "?" in url or "#" in url else ""
