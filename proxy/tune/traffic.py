"""Recorded requests, read back."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from proxy.savings import Usage
from proxy.shorten import Examined, Stages, examine
from proxy.tune import TuneError
from proxy.wire import UnknownShape

_SEED = 1
"""Of the choice among more requests than are wanted: the same ones in every run."""


class _Line(msgspec.Struct):
    body: dict[str, Any]
    route: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request. `examined`: its segments and their tokens; `usage`: what its upstream billed, None where not said.
    `original`: the body as it is sent when answers are asked for: whole, not as a stream."""

    examined: Examined
    body: bytes = field(repr=False)
    usage: Usage | None = None

    @property
    def model(self) -> str:
        return self.examined.request.model

    @property
    def tokens(self) -> int:
        return sum(segment.tokens for segment in self.examined.segments)


@dataclass(frozen=True, slots=True)
class Traffic:
    """`found`: lines of all files; `unreadable`: those whose body is no chat request that we know how to read."""

    requests: tuple[Recorded, ...]
    found: int
    unreadable: int


def read(paths: Iterable[Path], most: int, model: str | None = None) -> Traffic:
    """At most so many requests, evenly drawn where there are more. `model` stands in for the one that they name.

    Raises `TuneError` where a file cannot be read, a line is no recorded request, or none is left."""
    lines = [line for path in paths for line in _lines(path)]
    chosen = sorted(Random(_SEED).sample(range(len(lines)), min(most, len(lines))))
    requests = [found for n in chosen if (found := _recorded(*lines[n], model))]
    if not requests:
        raise TuneError("no chat request in what was recorded: nothing to tune for")
    return Traffic(tuple(requests), len(lines), len(chosen) - len(requests))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each line with its place."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TuneError(f"{path}: {error.strerror}") from None
    return ((f"{path}:{n}", line) for n, line in enumerate(raw.split(b"\n"), 1) if line.strip())


def _recorded(place: str, line: bytes, model: str | None) -> Recorded | None:
    try:
        read = msgspec.json.decode(line, type=_Line)
    except (msgspec.ValidationError, RecursionError) as error:
        raise TuneError(f"{place}: no recorded request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):  # a recorder was killed while it wrote
        return None
    if model is not None:
        read.body["model"] = model
    if read.body.pop("stream", False):
        read.body.pop("stream_options", None)
    body = json.dumps(read.body, ensure_ascii=False).encode(errors="replace")
    try:
        return Recorded(examine(body, Stages()), body, read.usage)
    except UnknownShape:
        return None
