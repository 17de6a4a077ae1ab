"""The tables of a configuration file that say who may come in: `[key.NAME]` and `[admin]`."""

import hashlib
from collections.abc import Collection, Mapping

from policies.tables import Complaint, Path, read, unknown
from proxy.access import is_loopback
from proxy.schema import AdminTable, KeyTable
from proxy.settings import Admin, Key

CLEAR = {"key", "api_key", "token", "secret", "value", "password"}
"""What somebody might call the key itself."""
EMPTY = hashlib.sha256(b"").hexdigest()


def callers(tables: Mapping[str, object], routes: Collection[str], complaints: list[Complaint]) -> tuple[Key, ...]:
    """The keys. What is wrong with them goes to `complaints`."""
    found: list[Key] = []
    for name, table in tables.items():
        at: Path = ("key", name)
        written = read(KeyTable, _without_clear(table, at, complaints), at, complaints)
        if written is None:
            continue
        complaints.extend(unknown((*at, "routes"), r, routes, "route") for r in written.routes or () if r not in routes)
        key = Key(
            name=name,
            hash=_digits(written.hash),
            routes=None if written.routes is None else frozenset(written.routes),
            floor=None if written.floor is None else _floor(written.floor),
            requests_per_minute=written.requests_per_minute,
            usd_per_day=written.usd_per_day,
        )
        if twin := next((other.name for other in found if other.hash == key.hash), None):
            complaints.append(Complaint((*at, "hash"), f"is that of {twin!r}, too", "a key of its own"))
        if key.hash == EMPTY:
            complaints.append(Complaint((*at, "hash"), "is that of an empty key", "`laconic keys new` makes one"))
        found.append(key)
    return tuple(found)


def admin(table: object, complaints: list[Complaint]) -> Admin:
    """Who may see metrics and reports. What is wrong goes to `complaints`."""
    at: Path = ("admin",)
    written = read(AdminTable, _without_clear(table, at, complaints), at, complaints) or AdminTable()
    if written.port is None and written.host != AdminTable().host:
        complaints.append(Complaint((*at, "host"), "stands there without a port", "port, too"))
    if written.port is not None and written.key_hash is None and not is_loopback(written.host):
        said = f"is missing, and others reach {written.host}"
        complaints.append(Complaint((*at, "key_hash"), said, "`laconic keys new` prints one"))
    return Admin(written.host, written.port, written.key_hash and _digits(written.key_hash))


def _without_clear(table: object, at: Path, complaints: list[Complaint]) -> object:
    if not isinstance(table, dict):
        return table
    name = "key_hash" if at == ("admin",) else "hash"
    clear = CLEAR & table.keys()
    complaints.extend(Complaint((*at, key), "keys don't belong in this file", f'{name} = "sha256:…"') for key in clear)
    return {key: value for key, value in table.items() if key not in CLEAR}


def _floor(written: str | float) -> str:
    return written if isinstance(written, str) else f"{written:.6f}".rstrip("0").rstrip(".")


def _digits(written: str) -> str:
    return written.removeprefix("sha256:").lower()
