"""What `structured` keeps of tool outputs: answers of look-ups in JSON, and sizes really reached, by kind of output.

    python benchmarks/structured.py --data DIR [--half held] [--rates 0.75 0.5 0.25] [--json FILE]

DIR holds `toolqa_json.jsonl.gz` ({"id", "source", "text", "question", "answers", ["path"]}, the answer once in the
text) and `toollog.jsonl.gz` ({"id", "kind", "text"}), one object a line; neither is part of this repository.

First table, over questions about JSON, for `structured` and two controls that keep as many tokens as it did:
`random rows` (the same units, drawn at random, so syntax stays whole) and `head` (the text up to that size):
  answers    records with every answer string in the kept text
  in place   of the questions that name a row by its number: the answer still stands at that number
  valid      results that json.loads reads
  kept       tokens really kept (o200k_base), all records together
Rate 1 is the lossless step alone. Second table, over other tool outputs without a question: tokens kept at each rate.
The weights of `structured` were chosen on the records of `--half tune`; `held` are the others.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from compressors import spans
from compressors.base import Kept, Rate, Task
from compressors.structured import Structured, layout
from compressors.structured.units import cuts, fit, own_texts
from compressors.tokenizers import counter

HALVES = ("tune", "held")
COUNT = counter("o200k_base").count
Method = Callable[[Task, int], str]


@dataclass(frozen=True, slots=True)
class Row:
    """`kept` and shares run from 0 to 1; None where no record counts."""

    set: str
    method: str
    rate: float
    records: int
    kept: float
    answers: float | None = None
    in_place: float | None = None
    valid: float | None = None
    ms: float = 0.0


def records(folder: Path, name: str, half: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [record for record in found if half == "all" or HALVES[_digest(record["id"]) % 2] == half]


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")


def structured(task: Task, _: int) -> str:
    return spans.join(task.text, kept(task).spans)


def kept(task: Task) -> Kept:
    return Structured().compress([task])[0]


def random_rows(task: Task, size: int) -> str:
    """The lossless result without units drawn at random until `size` tokens are left."""
    parts = layout(task.text)
    free = spans.merge(parts.free)
    own = own_texts(task.text, parts, free)
    draw = random.Random(_digest(task.text + task.question))
    stays = fit(parts.units, [COUNT(said) for said in own], [draw.random() for _ in parts.units], size, set())
    gone = spans.merge([*free, *cuts(parts.units, stays)])
    return spans.join(task.text, spans.complement(gone, len(task.text)))


def head(task: Task, size: int) -> str:
    low, high = 0, len(task.text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if COUNT(task.text[:middle]) <= size else (low, middle - 1)
    return task.text[:low]


def ask(name: str, found: Sequence[dict[str, Any]], rate: float) -> list[Row]:
    """One row a method; the controls are given the size that `structured` reached on the same record."""
    tasks = [Task(record["text"], Rate(rate), record["question"]) for record in found]
    start = time.perf_counter()
    results = {"structured": [structured(task, 0) for task in tasks]}
    ms = (time.perf_counter() - start) * 1000 / max(1, len(tasks))
    sizes = [COUNT(result) for result in results["structured"]]
    if rate < 1:
        for title, method in {"random rows": random_rows, "head": head}.items():
            results[title] = [method(task, size) for task, size in zip(tasks, sizes, strict=True)]
    return [_row(name, title, rate, found, shown, ms * (title == "structured")) for title, shown in results.items()]


def _row(name: str, title: str, rate: float, found: Sequence[dict[str, Any]], shown: Sequence[str], ms: float) -> Row:
    pairs = list(zip(found, shown, strict=True))
    placed = [_in_place(record, text) for record, text in pairs if "entry number" in record["question"]]
    return Row(
        set=name,
        method=title,
        rate=rate,
        records=len(found),
        kept=sum(map(COUNT, shown)) / sum(COUNT(record["text"]) for record in found),
        answers=statistics.fmean(all(str(answer) in text for answer in record["answers"]) for record, text in pairs),
        in_place=statistics.fmean(placed) if placed else None,
        valid=statistics.fmean(_loads(text) is not None for text in shown),
        ms=ms,
    )


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _in_place(record: dict[str, Any], text: str) -> bool:
    """Whether the path of the answer leads to it in the kept text, too."""
    value = _loads(text)
    for step in record["path"]:
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (IndexError, KeyError, TypeError):
            return False
    return bool(str(value) == record["answers"][0])


def sizes(found: Sequence[dict[str, Any]], rate: float) -> list[Row]:
    rows = []
    for kind in sorted({record["kind"] for record in found}):
        texts = [record["text"] for record in found if record["kind"] == kind]
        start = time.perf_counter()
        shown = [structured(Task(text, Rate(rate)), 0) for text in texts]
        ms = (time.perf_counter() - start) * 1000 / len(texts)
        share = sum(map(COUNT, shown)) / sum(map(COUNT, texts))
        rows.append(Row(kind, "structured", rate, len(texts), share, ms=ms))
    return rows


def table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    rates = list(dict.fromkeys(row.rate for row in rows))
    shown = Table(
        *[Column(title, no_wrap=True) for title in ("set", "n", "method")],
        *[f"{column}\n{rate:g}" for rate in rates for column in columns],
        padding=0,
    )
    for name, method in dict.fromkeys((row.set, row.method) for row in rows):
        found = {row.rate: row for row in rows if (row.set, row.method) == (name, method)}
        cells = [_cell(found.get(rate), column) for rate in rates for column in columns]
        shown.add_row(name, str(next(iter(found.values())).records), method, *cells)
    return shown


def _cell(row: Row | None, column: str) -> str:
    value = getattr(row, column, None)
    return "" if value is None else f"{value:.3f}" if column != "ms" else f"{value:.2g}"


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with toolqa_json and toollog")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.75, 0.5, 0.25])
    parser.add_argument("--half", choices=("all", *HALVES), default="held")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 190)
    questions = records(given.data, "toolqa_json", given.half)
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in questions:
        groups.setdefault(record["source"].rpartition("/")[2], []).append(record)
    asked = [row for rate in (1.0, *given.rates) for name, found in groups.items() for row in ask(name, found, rate)]
    console.print(table(asked, ("answers", "in_place", "valid", "kept")))
    outputs = records(given.data, "toollog", "all")
    reached = [row for rate in (1.0, *given.rates) for row in sizes(outputs, rate)]
    console.print(table(reached, ("kept", "ms")))
    if given.json:
        names = {str(given.data): "DIR", str(given.json): "FILE"}
        command = [names.get(word, word) for word in sys.argv[1:]]
        result = {
            "machine": machine(),
            "date": datetime.now(UTC).date().isoformat(),
            "command": " ".join(["python benchmarks/structured.py", *command]),
            "rows": [asdict(row) for row in asked + reached],
        }
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
