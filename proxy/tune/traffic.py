"""Recorded requests, read back."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from proxy.savings import Usage
from proxy.shorten import Examined, Stages, examine
from proxy.tune import TuneError
from proxy.wire import UnknownShape

_STRETCH = 50
"""Requests that are drawn in one piece: what is served depends on what came before."""

_At = Annotated[float, msgspec.Meta(ge=0, lt=2**32)]


class _Line(msgspec.Struct):
    body: dict[str, Any]
    at: _At = 0.0
    route: str = ""
    usage: Usage | None = None


class _When(msgspec.Struct):
    at: _At = 0.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request, which came `at` (Unix seconds). `examined`: its segments and their tokens; `usage`: what its
    upstream billed, None where not said. `body`: as it is sent when answers are asked for: whole, not as a stream."""

    examined: Examined
    body: bytes = field(repr=False)
    usage: Usage | None = None
    at: float = 0.0
    route: str = ""

    @property
    def model(self) -> str:
        return self.examined.request.model

    @property
    def tokens(self) -> int:
        return sum(segment.tokens for segment in self.examined.segments)


@dataclass(frozen=True, slots=True)
class Traffic:
    """`requests` in the order in which they came; `found`: lines of all files; `unreadable`: those whose body is no
    chat request that we know how to read."""

    requests: tuple[Recorded, ...]
    found: int
    unreadable: int


def read(paths: Iterable[Path], most: int, model: str | None = None) -> Traffic:
    """At most so many requests; where there are more, stretches of them that lie evenly apart, the same ones in every
    run. `model` stands in for the one that they name.

    Raises `TuneError` where a file cannot be read, a line is no recorded request, or none is left."""
    lines = sorted((line for path in paths for line in _lines(path)), key=lambda line: _at(line[1]))
    chosen = _drawn(len(lines), most)
    requests = [found for n in chosen if (found := _recorded(*lines[n], model))]
    if not requests:
        raise TuneError("no chat request in what was recorded: nothing to tune for")
    return Traffic(tuple(requests), len(lines), len(chosen) - len(requests))


def _drawn(of: int, most: int) -> list[int]:
    if of <= most:
        return list(range(of))
    stretches = -(-most // _STRETCH)
    sizes = [most // stretches + (n < most % stretches) for n in range(stretches)]
    starts = [n * (of - sizes[0]) // max(1, stretches - 1) for n in range(stretches)]
    return [start + n for start, size in zip(starts, sizes, strict=True) for n in range(size)]


def _at(line: bytes) -> float:
    """0 where it says no time; what is wrong with it is found later."""
    try:
        return msgspec.json.decode(line, type=_When).at
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0.0


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
        return Recorded(examine(body, Stages()), body, read.usage, read.at, read.route)
    except UnknownShape:
        return None
