"""Files with one JSON object a line: read with errors that name the line, grown so that a killed run loses one line."""

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

Record = dict[str, Any]
T = TypeVar("T")


class BadFile(Exception):
    """A file does not hold what it should. The message begins with the file and the line."""


def read(path: Path) -> Iterator[tuple[int, Record]]:
    """The objects of a `.jsonl` or `.jsonl.gz` file, each with the number of its line; blank lines are passed over.

    Raises `BadFile` for a line that is no JSON object, and `OSError` where the file cannot be read.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _parsed(line, f"{path}:{number}")


def _parsed(line: bytes, where: str) -> Record:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadFile(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
    except UnicodeDecodeError:
        raise BadFile(f"{where}: not UTF-8") from None
    if not isinstance(record, dict):
        raise BadFile(f"{where}: expected an object in braces, not {type(record).__name__}")
    return record


def need(record: Mapping[str, Any], name: str, kind: type[T], where: str) -> T:
    """A field that must be there. Raises `BadFile` where it is not, or is of another kind."""
    value = record.get(name)
    if not isinstance(value, kind):
        found = "nothing" if value is None else type(value).__name__
        raise BadFile(f'{where}: "{name}" must be of type {kind.__name__}, there is {found}')
    return value


def name(record: Mapping[str, Any], where: str) -> str:
    """The id, which may be a whole number."""
    value = record.get("id")
    return str(value) if type(value) is int else need(record, "id", str, where)


def number(record: Mapping[str, Any], field: str, where: str) -> float:
    """A number that must be there. Raises `BadFile`."""
    value = record.get(field)
    return float(value) if type(value) is int else need(record, field, float, where)


def line(record: Mapping[str, Any]) -> bytes:
    """A record as a line. Lone surrogates, that UTF-8 has no bytes for, are written as escapes."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"


@contextmanager
def rewrite(path: Path) -> Iterator[BinaryIO]:
    """A file to be written as a whole: it takes its name, and the place of an older one, when the block ends well."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as out:
        yield out
    part.replace(path)


def repair(path: Path) -> int:
    """Mends the end of a file to which a killed run was writing; how many bytes of a half-written line were cut off."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        whole = _whole_lines(path)
        file.seek(whole)
        rest = file.read()
        if not rest:
            return 0
        try:
            complete = isinstance(json.loads(rest), dict)
        except ValueError:
            complete = False
        if complete:
            file.write(b"\n")
            return 0
        file.truncate(whole)
        return len(rest)


def _whole_lines(path: Path) -> int:
    """The size of the file up to and with its last line break."""
    at = path.stat().st_size
    with path.open("rb") as file:
        while at:
            start = max(0, at - 65_536)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
    return 0
