"""`laconic compress`: shortens texts from standard input or a JSON Lines file; no proxy, no request."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

from msgspec import Struct
from rich.console import Console
from rich.progress import track

from compressors import Budget, Compressor, Task, load, settings_of
from compressors.spans import join
from compressors.tokenizers import counter
from policies.tables import Complaint, keys, read
from proxy.loading import is_neural

START = b'{"id": '  # of each line that this command writes


@dataclass(frozen=True, slots=True)
class Shortening:
    """How texts are to be shortened. `question` stands for records that bring none of their own; `settings` are the
    compressor's, None for its defaults."""

    compressor: str
    budget: Budget
    question: str = ""
    encoding: str = "o200k_base"
    settings: Struct | None = None


@dataclass(frozen=True, slots=True)
class Result:
    text: str
    spans: tuple[tuple[int, int], ...]
    tokens_before: int
    tokens_after: int
    ms: float
    without: str = ""  # why the compressor did without its model, "" where it did not


class BadSetting(ValueError):
    """A compressor does not take a setting, or not this value; the message says what it takes."""


class BadRecord(ValueError):
    """A line of the input file cannot be used; the message says which and why."""


def settings_for(name: str, given: Mapping[str, str]) -> Struct | None:
    """The settings of a compressor from flags of the same names. Raises `BadSetting`, `UnknownCompressor`."""
    shape = settings_of(name)
    for key in given:
        if shape is None or key not in keys(shape):
            takes = f"it takes {', '.join(keys(shape))}" if shape else "it takes no settings"
            hint = "; whose tokens to count is said with --target" * (key == "model")
            raise BadSetting(f"--{key}: {name} has no such setting ({takes}){hint}")
    complaints: list[Complaint] = []
    settings = read(shape, dict(given), (), complaints) if shape else None
    if complaints:
        raise BadSetting(f"--{complaints[0].path[-1]} may be {complaints[0].allowed}")
    return settings


def opened(how: Shortening) -> Compressor:
    """The compressor that is asked for, its model loaded. Raises `CompressionError`."""
    compressor = load(how.compressor, how.settings)
    if is_neural(compressor):
        compressor.warm_up()
    return compressor


def shorten_text(text: str, how: Shortening, compressor: Compressor, question: str = "") -> Result:
    """Spans are code points of `text`; the result never holds more tokens than the original."""
    task = Task(text, how.budget, question or how.question, encoding=how.encoding)
    started = perf_counter()
    (kept,) = compressor.compress([task])
    ms = (perf_counter() - started) * 1000
    without = getattr(compressor, "lacks", "") or str(kept.fallback) if kept.fallback else ""
    before, after = counter(how.encoding).count_all([text, join(text, kept.spans)])
    if after >= before:
        return Result(text, ((0, len(text)),) if text else (), before, before, ms, without)
    return Result(join(text, kept.spans), kept.spans, before, after, ms, without)


def shorten_lines(source: Path, target: Path, how: Shortening, errors: TextIO) -> int:
    """Reads `{id, text, question?}` a line, appends `{id, text, spans, tokens_before, tokens_after, ms}` a line,
    and `without_model`, why, where the model had no part in it.

    Records whose id already stands in `target` are passed over, so that a run that was stopped goes on where it was.
    Lines that cannot be used are reported to `errors` and left out. Returns how many there were."""
    compressor = opened(how)
    done = _done(target)
    bad = 0
    with source.open(encoding="utf-8") as lines, target.open("a", encoding="utf-8") as out:
        total = sum(1 for _ in source.open("rb"))
        for number, line in _progress(lines, total, errors):
            try:
                record = _record(line, source, number)
            except BadRecord as error:
                print(error, file=errors)
                bad += 1
                continue
            if record is None or record["id"] in done:
                continue
            result = shorten_text(record["text"], how, compressor, record.get("question") or "")
            row = {"id": record["id"], "text": result.text, "spans": result.spans}
            row |= {"tokens_before": result.tokens_before, "tokens_after": result.tokens_after}
            row |= {"ms": round(result.ms, 3)} | ({"without_model": result.without} if result.without else {})
            out.write(json.dumps(row) + "\n")
            out.flush()
    return bad


def _progress(lines: TextIO, total: int, errors: TextIO) -> Iterator[tuple[int, str]]:
    console = Console(file=errors)
    numbered = enumerate(lines, 1)
    if not console.is_terminal:
        return numbered
    return iter(track(numbered, "compressing", total=total, console=console))


def _record(line: str, source: Path, number: int) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadRecord(f"{source}:{number}: not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str) or "id" not in record:
        raise BadRecord(f'{source}:{number}: expected an object with "id" and a string "text"')
    if not isinstance(record.get("question"), str | None) or not isinstance(record["id"], str | int):
        raise BadRecord(f'{source}:{number}: "question" must be a string, "id" a string or a whole number')
    return record


def _done(target: Path) -> set[str | int]:
    """Ids that `target` holds. A last line that a stopped run left unfinished is taken away."""
    if not target.exists():
        return set()
    raw = target.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    try:
        ids = {json.loads(line)["id"] for line in whole.splitlines() if line.strip()}
    except (ValueError, TypeError, KeyError):
        ids = None
    rest = raw[len(whole) :]
    if ids is None or not (rest.startswith(START) or START.startswith(rest)):
        raise BadRecord(f"{target}: holds something else than results of this command; name another file with --out")
    if rest:
        target.write_bytes(whole)
    return ids
