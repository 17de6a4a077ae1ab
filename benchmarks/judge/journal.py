"""What was measured before, by what it was measured with: long work goes on where it was broken off."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import compressors
from judge.measure import Measured

_SHOWN_ONLY = {"journal.py", "report.py", "plots.py", "estimates.py"}


class Journal:
    """A file of JSON lines, one a method on a set. A line whose end is missing is taken as not there. Several runs, of
    other sets, may share one; a last run of all sets then only puts together what they measured."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Measured] = {}
        if path.exists():
            for line in filter(None, path.read_text("utf-8").splitlines()):
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:  # the last one of a run that was killed
                    continue
                self._known[entry["key"]] = Measured(**entry["measured"])

    def get(self, key: str) -> Measured | None:
        return self._known.get(key)

    def add(self, key: str, measured: Measured) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        entry = json.dumps({"key": key, "measured": asdict(measured)})
        with self._path.open("ab", buffering=0) as lines:  # in one piece: another run may write to the same journal
            lines.write(f"\n{entry}\n".encode())
        self._known[key] = measured


def key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]


def code() -> str:
    """A digest of what decides the numbers: the compressors, and what judges them."""
    judge = [path for path in Path(__file__).parent.glob("*.py") if path.name not in _SHOWN_ONLY]
    return digest([*judge, *Path(compressors.__file__).parent.rglob("*.py")])


def digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
