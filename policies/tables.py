"""Configuration tables read into typed values, with every complaint and the place it is about.

A shape is a `msgspec.Struct`; its fields are the allowed keys, the `title` of a field's type says in words what is
allowed, the `description` what the key is for. msgspec stops at the first thing that is wrong, so each key is converted
by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

Path = tuple[str | int, ...]
"""Keys and list indexes from the top of the file: ("route", 0, "path")."""

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Complaint:
    """`path`: the key that is wrong; `message`: how; `allowed`: what could stand there instead, "" where nothing."""

    path: Path
    message: str
    allowed: str = ""


def read(shape: type[S], table: object, path: Path, complaints: list[Complaint]) -> S | None:
    """The table as a `shape`. What is wrong goes to `complaints`, and its default takes its place; None where there is
    no default or no table. Values never show up in a complaint, unless they are numbers: a secret may stand there."""
    if not isinstance(table, dict):
        complaints.append(Complaint(path, "is not a table", "a table of " + ", ".join(keys(shape))))
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    good: dict[str, object] = {}
    for key, value in table.items():
        if key not in fields:
            complaints.append(unknown((*path, key), key, fields))
            continue
        try:
            good[key] = msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError:
            complaints.append(Complaint((*path, key), f"{_given(value)} is out of place", allowed(fields[key].type)))
    lacking = [name for name, field in fields.items() if field.required and name not in good]
    complaints.extend(
        Complaint((*path, name), "is missing", allowed(fields[name].type)) for name in lacking if name not in table
    )
    return None if lacking else msgspec.convert(good, shape)


def unknown(path: Path, name: str, known: Iterable[str], what: str = "key") -> Complaint:
    """`name` is none of the `known`; the nearest of them is suggested."""
    known = sorted(known)
    close = get_close_matches(name, known, 1, 0.7)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return Complaint(path, f"no {what} is called {name!r}{hint}", ", ".join(known))


def keys(shape: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(shape)]


def allowed(kind: Any) -> str:
    """What a field of this type takes, in words: the title that stands nearest to it, or the choices."""
    metas, kind = _unwrap(kind)
    titles = [meta.title for meta in metas if meta.title]
    if titles:
        return titles[0]
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) is list:
        return f"a list of {allowed(get_args(kind)[0])}"
    if get_args(kind):
        return " or ".join(allowed(part) for part in get_args(kind) if part is not type(None))
    return {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a value")


def described(kind: object) -> str:
    """The description of a field's type; "" without one."""
    return next((meta.description for meta in _unwrap(kind)[0] if meta.description), "")


def _unwrap(kind: object) -> tuple[Sequence[msgspec.Meta], object]:
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return metas, getattr(kind, "__origin__", kind) if metas else kind


def _given(value: object) -> str:
    if isinstance(value, bool):
        return "a true or false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return "this string"
    return "a list" if isinstance(value, list) else "this value"
