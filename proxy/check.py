"""Whether a configuration is valid, and whether all that it asks for can run here: what `laconic check` prints."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from compressors import CompressionError, load
from policies.presets import PRESETS
from policies.routes import Route
from proxy.access import exposed
from proxy.chosen import called_for
from proxy.config import ConfigError, Problem
from proxy.loading import is_neural
from proxy.settings import Chosen, Key, Settings


@dataclass(frozen=True, slots=True)
class Checked:
    """`problems`: what is wrong with the settings; with any, nothing else is known. `obstacles`: why something that
    they ask for cannot run. `lines`: what they amount to, and what in them has no effect."""

    problems: tuple[Problem, ...] = ()
    obstacles: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems and not self.obstacles


def check(read: Callable[[], Settings], warm_up: bool = False) -> Checked:
    """`read` gives the settings or raises `ConfigError`, as `proxy.config.load` does. No file is written. `warm_up`:
    models are loaded and run once, too, which takes a while."""
    try:
        settings = read()
    except ConfigError as error:
        return Checked(problems=error.problems)
    kept = (*unwritable("ledger", settings.ledger), *unwritable("recording", settings.recording.path))
    why = exposed(settings)
    return Checked((), (*_missing(settings, warm_up), *kept, *([why] if why else [])), _lines(settings))


def _missing(settings: Settings, warm_up: bool) -> list[str]:
    """One sentence for each compressor that a route can call for and that does not load, or whose model does not."""
    sentences = []
    for name in called_for(settings):
        one = settings.compressors.get(name, Chosen(name))
        try:
            compressor = load(one.use, one.settings)
            if warm_up and is_neural(compressor):
                compressor.warm_up()
        except (CompressionError, ImportError, AttributeError) as error:
            sentences.append(f"the compressor {name!r} does not load: {error}")
    return sentences


def lacks(name: str, settings: Settings) -> str:
    """Why a compressor does without its model here, "" where it does not."""
    one = settings.compressors.get(name, Chosen(name))
    try:
        return str(getattr(load(one.use, one.settings), "lacks", ""))
    except (CompressionError, ImportError, AttributeError):  # said elsewhere
        return ""


def unwritable(what: str, path: str | None) -> list[str]:
    """Why a file cannot be kept: its folder, or the nearest one above that is there, must take new files."""
    if path is None:
        return []
    file = Path(path)
    if file.is_dir():
        return [f"the {what} {file} is a folder"]
    nearest = next(folder for folder in (file, *file.absolute().parents) if folder.exists())
    may = os.access(nearest, os.W_OK) and (nearest.is_dir() or nearest == file)
    return [] if may else [f"the {what} {file} cannot be written: {nearest} does not allow it"]


def _lines(settings: Settings) -> tuple[str, ...]:
    routes = [_route(route, settings) for route in settings.routes]
    if not any(route.catches_all for route in settings.routes):
        routes.append("other requests: refused, since no route takes them")
    routes.extend(_compressor(name, settings) for name in called_for(settings) if name in settings.compressors)
    routes.extend(f"compressor {name}: {why}" for name in called_for(settings) if (why := lacks(name, settings)))
    policies, upstreams = {r.policy for r in settings.routes}, {r.upstream for r in settings.routes}
    unused = [
        *(f"policy {name}: no route uses it" for name in settings.policies if name not in {*policies, *PRESETS}),
        *(f"compressor {name}: no route uses it" for name in settings.compressors if name not in called_for(settings)),
        *(f"upstream {name}: no route uses it" for name in settings.upstreams if name not in upstreams),
    ]
    return (*routes, *_access(settings), *unused, f"ledger: {settings.ledger or 'none'}")


def _access(settings: Settings) -> list[str]:
    """Who may come in, where that is not whoever reaches the port."""
    said = [_key(key) for key in settings.keys]
    if settings.keys:
        said += [
            f"upstream {name}: no key of its own; callers show theirs as x-laconic-key, beside the provider's"
            for name in dict.fromkeys(route.upstream for route in settings.routes)
            if settings.upstreams[name].key is None
        ]
    elif settings.open:
        said.append(f"open: anyone who can reach {settings.host}:{settings.port} may use it, and your upstream keys")
    if settings.admin.port is not None:
        keyed = " with a key" if settings.admin.key_hash else ""
        said.append(f"metrics and report: at {settings.admin.host}:{settings.admin.port}{keyed}")
    return said


def _key(key: Key) -> str:
    terms = [
        "every route" if key.routes is None else f"routes {', '.join(sorted(key.routes)) or 'none'}",
        f"x-laconic: {key.floor}" if key.floor else "",
        f"{key.requests_per_minute} requests a minute" if key.requests_per_minute else "",
        f"${key.usd_per_day:g} a day" if key.usd_per_day else "",
    ]
    return f"key {key.name}: {'; '.join(filter(None, terms))}"


def _compressor(name: str, settings: Settings) -> str:
    """What stands behind a name of the operator's own, with the settings that are not the defaults."""
    one = settings.compressors[name]
    given = msgspec.structs.asdict(one.settings) if one.settings else {}
    plain = msgspec.structs.asdict(type(one.settings)()) if one.settings else {}
    said = ", ".join(f"{key} {value}" for key, value in given.items() if value != plain[key])
    return f"compressor {name}: {one.use}" + f" ({said})" * bool(said)


def _route(route: Route, settings: Settings) -> str:
    conditions = [
        f"path {route.path}" if route.path else "",
        f"model {route.model}" if route.model is not None else "",
        f"header {route.header[0]} is {route.header[1]}" if route.header else "",
        f"key sha256:{route.key[:8]}…" if route.key else "",
    ]
    upstream = settings.upstreams[route.upstream]
    whose = "a key of its own" if upstream.key else "the caller's key"
    policy = settings.policies[route.policy]
    return (
        f"route {route.name} ({', '.join(filter(None, conditions)) or 'every request'}): {upstream.url} with {whose}, "
        f"policy {policy.name} ({policy.mode})"
    )
