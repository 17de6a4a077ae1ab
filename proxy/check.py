"""Whether a configuration is valid, and whether all that it asks for can run here: what `laconic check` prints."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compressors import CompressionError, load
from policies.base import Mode
from policies.presets import PRESETS
from policies.routes import Route
from policies.rules import RulePolicy
from proxy.config import ConfigError, Problem
from proxy.settings import Settings


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


def check(read: Callable[[], Settings]) -> Checked:
    """`read` gives the settings or raises `ConfigError`, as `proxy.config.load` does. No file is written."""
    try:
        settings = read()
    except ConfigError as error:
        return Checked(problems=error.problems)
    return Checked((), (*_missing(settings), *_unwritable(settings.ledger)), _lines(settings))


def _missing(settings: Settings) -> list[str]:
    """One sentence for each compressor that a route can call for and that does not load."""
    used = [policy for name, policy in settings.policies.items() if name in {r.policy for r in settings.routes}]
    active = [policy for policy in used if isinstance(policy, RulePolicy) and policy.mode is not Mode.OFF]
    sentences = []
    for name in sorted({name for policy in active for name in policy.compressors}):
        try:
            load(name)
        except (CompressionError, ImportError, AttributeError) as error:
            sentences.append(f"the compressor {name!r} does not load: {error}")
    return sentences


def _unwritable(ledger: str | None) -> list[str]:
    """Why the ledger cannot be kept: its folder, or the nearest one above that is there, must take new files."""
    if ledger is None:
        return []
    file = Path(ledger)
    if file.is_dir():
        return [f"the ledger {file} is a folder"]
    nearest = next(folder for folder in (file, *file.absolute().parents) if folder.exists())
    may = os.access(nearest, os.W_OK) and (nearest.is_dir() or nearest == file)
    return [] if may else [f"the ledger {file} cannot be written: {nearest} does not allow it"]


def _lines(settings: Settings) -> tuple[str, ...]:
    routes = [_route(route, settings) for route in settings.routes]
    if not any(route.catches_all for route in settings.routes):
        routes.append("other requests: refused, since no route takes them")
    policies, upstreams = {r.policy for r in settings.routes}, {r.upstream for r in settings.routes}
    unused = [
        *(f"policy {name}: no route uses it" for name in settings.policies if name not in {*policies, *PRESETS}),
        *(f"upstream {name}: no route uses it" for name in settings.upstreams if name not in upstreams),
    ]
    return (*routes, *unused, f"ledger: {settings.ledger or 'none'}")


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
