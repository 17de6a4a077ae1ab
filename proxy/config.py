"""Settings from the configuration file, the environment and the command line; all that is wrong is told at once."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as File

from policies.tables import Complaint, Path
from proxy.sections import Sections
from proxy.settings import Settings
from proxy.toml_lines import line_of, lines

GIVEN = "default"
"""The name of the upstream that a flag or the environment gives. Whatever key the file has for another stays there."""
OVERRIDES = ("upstream", "host", "port", "workers", "policy", "ledger", "open")
"""What flags and `LACONIC_...` variables may say, besides `config`. The first and `policy` hold for every route."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a setting. `file`: the configuration file, an environment variable or a flag; `line` from 1,
    None where there is none; `key` dotted, as in `policy.rag.context.rate`."""

    file: str
    line: int | None
    key: str
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(filter(None, (place, self.key, self.message))) + (
            f"; allowed: {self.allowed}" * bool(self.allowed)
        )


class ConfigError(Exception):
    """The settings are of no use. `problems` is all that is wrong with them, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load(
    path: str | File | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str | int | None] | None = None,
) -> Settings:
    """The settings. Flags win over the environment, the environment over the file, the file over the defaults.

    `path`, or else LACONIC_CONFIG, names the file; neither: there is none. `flags` holds some of `OVERRIDES`, None
    where not given. Raises `ConfigError`.
    """
    environ = environ or {}
    file = str(path or environ.get("LACONIC_CONFIG") or "")
    text, data = _parse(file) if file else ("", {})
    complaints: list[Complaint] = []
    origins = _override(data, environ, flags or {})
    try:
        settings = Sections(environ, File(file).parent, complaints).settings(data)
    except (RuntimeError, ValueError) as error:  # of paths: a home that nobody has, a NUL
        raise ConfigError((Problem(file or "defaults", None, "", f"names a path that cannot be: {error}"),)) from None
    if complaints:
        where = lines(text)
        problems = dict.fromkeys(_problem(complaint, file or "defaults", where, origins) for complaint in complaints)
        raise ConfigError(tuple(sorted(problems, key=lambda problem: problem.line or 0)))
    return settings


def _parse(file: str) -> tuple[str, dict[str, object]]:
    try:
        text = File(file).read_bytes().decode()
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigError((Problem(file, None, "", f"cannot be read: {error.strerror}"),)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError((Problem(file, line, "", "is not UTF-8"),)) from None
    except RecursionError:
        raise ConfigError((Problem(file, None, "", "is nested too deep"),)) from None
    except ValueError as error:  # a number of 5,000 digits, too
        at = re.search(r"line (\d+)", str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        raise ConfigError((Problem(file, line, "", f"is not TOML: {error}"),)) from None


def _override(
    data: dict[str, object], environ: Mapping[str, str], flags: Mapping[str, str | int | None]
) -> dict[Path, str]:
    """Puts flags and environment into the tables of the file. Returns which paths came from which of them."""
    origins: dict[Path, str] = {}
    for name in OVERRIDES:
        variable = f"LACONIC_{name.upper()}"
        flag = flags.get(name)
        value: object = environ.get(variable) if flag is None else flag
        if value is None:
            continue
        if name in ("port", "workers") and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if name == "open":
            value = {"true": True, "false": False}.get(str(value).lower(), value)
        for path in _put(data, name, value):
            origins[path] = variable if flag is None else f"--{name}"
    return origins


def _put(data: dict[str, object], name: str, value: object) -> list[Path]:
    """Sets what an override stands for, and says where. What is no table stays, for the reader to complain about."""
    places: dict[str, tuple[str, str]] = {
        "host": ("server", "host"),
        "port": ("server", "port"),
        "open": ("server", "open"),
        "workers": ("server", "workers"),
        "ledger": ("ledger", "path"),
        "upstream": ("upstream", GIVEN),
    }
    paths: list[Path] = []
    if name in places:
        section, key = places[name]
        table = data.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = {"url": value} if name == "upstream" else value
            paths.append(places[name])
    if name in ("upstream", "policy"):
        routes = data.setdefault("route", [{"name": "default"}])
        for n, route in enumerate(routes if isinstance(routes, list) else []):
            if isinstance(route, dict):
                route[name] = GIVEN if name == "upstream" else value
                paths.append(("route", n, name))
    return paths


def _problem(complaint: Complaint, file: str, where: Mapping[Path, int], origins: Mapping[Path, str]) -> Problem:
    for n in range(len(complaint.path), 0, -1):
        if origin := origins.get(complaint.path[:n]):
            return Problem(origin, None, "", complaint.message, complaint.allowed)
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in complaint.path).lstrip(".")
    return Problem(file, line_of(complaint.path, where), key, complaint.message, complaint.allowed)
