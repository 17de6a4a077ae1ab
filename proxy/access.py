"""Who calls, and whether he may. Pure: headers in, a key of the configuration out, or the reason for the refusal.

A caller shows his key as `x-laconic-key`, and then his Authorization is for the provider; or in the place of the
provider's key, and then it ends here. What it is compared with is the SHA-256 of the whole key, every one of them, each
in constant time. No key of ours stays in the headers that are handed on, wherever it stood.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from policies.routes import Route
from proxy.asgi import Header
from proxy.errors import RouteForbidden, Unauthorized
from proxy.override import asked, gentler
from proxy.settings import Key, Settings

OWN = b"x-laconic-key"
PLACES = frozenset((b"authorization", b"api-key", b"x-api-key"))
"""Where clients put the provider's key."""
MOST = 8
"""Different keys that one request may show: each is compared with all that are known."""


def admit(keys: Sequence[Key], headers: Sequence[Header]) -> tuple[Key, list[Header]]:
    """Whose request it is, and its headers without any key of ours, the key's floor put into `x-laconic`.

    Raises `Unauthorized`."""
    shown = dict.fromkeys(value for name, value in headers if name == OWN or name in PLACES)
    if len(shown) > MOST:
        raise Unauthorized("too many headers hold a key")
    owners = {value: owner(_token(value), keys) for value in shown}
    own = [value for name, value in headers if name == OWN]
    found = [key for value in own or owners if (key := owners[value])]
    if not found or len(own) > 1 or any(key is not found[0] for key in found):
        raise Unauthorized("no key of this service is given, or one that it does not know, or several")
    caller = found[0]
    kept = [(name, value) for name, value in headers if name != OWN and not (name in PLACES and owners[value])]
    return caller, kept if caller.floor is None else _lowered(kept, caller.floor)


def may_take(caller: Key, route: str) -> None:
    """Raises `RouteForbidden`."""
    if caller.routes is not None and route not in caller.routes:
        raise RouteForbidden(f"this key may not use the route {route!r}")


def needs_model(caller: Key | None, routes: Iterable[Route]) -> bool:
    """Whether the model decides what the caller may do: there is a route by model that is not his."""
    if caller is None or caller.routes is None:
        return False
    return any(route.model is not None and route.name not in caller.routes for route in routes)


def may_hide_model(caller: Key, routes: Iterable[Route]) -> None:
    """Raises `RouteForbidden` where a body whose model cannot be read might belong to a route that is not his."""
    if needs_model(caller, routes):
        raise RouteForbidden("this key may not use every model, and the model of this request cannot be read")


def owner(token: bytes, keys: Iterable[Key]) -> Key | None:
    """Whose key it is. All are compared, so that the time taken tells nothing."""
    digest = hashlib.sha256(token).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.hash):
            found = key
    return found


def fits(key_hash: str, headers: Sequence[Header]) -> bool:
    """Whether the bearer token is the key with this hash."""
    tokens = [_token(value) for name, value in headers if name == b"authorization"]
    return len(tokens) == 1 and hmac.compare_digest(hashlib.sha256(tokens[0]).hexdigest(), key_hash)


def new_key(name: str) -> tuple[str, str]:
    """A fresh random key, and the table for the configuration that lets it in."""
    key = f"laconic-{secrets.token_urlsafe(32)}"
    quoted = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    return key, f'[key.{quoted}]\nhash = "sha256:{hashlib.sha256(key.encode()).hexdigest()}"'


def exposed(settings: Settings) -> str:
    """Why a service with these settings must not be started, "" where it may: anybody could use it."""
    if is_loopback(settings.host) or settings.keys or settings.open:
        return ""
    return (
        f"listening on {settings.host} lets anyone who reaches port {settings.port} use it, and your upstream keys. "
        "Either listen on 127.0.0.1, or give callers keys ([key.NAME], see `laconic keys new`), or say that this is "
        "meant: open = true in [server], LACONIC_OPEN=true or --open"
    )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches the address. Of a name other than localhost, that is not known."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _token(value: bytes) -> bytes:
    """A credential without its scheme ("Bearer")."""
    return value.split()[-1] if value.strip() else b""


def _lowered(headers: list[Header], floor: str) -> list[Header]:
    wish = gentler(asked(headers), floor.encode("ascii"))
    return [*(header for header in headers if header[0] != b"x-laconic"), (b"x-laconic", wish)]
