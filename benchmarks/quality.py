"""How much of what a question needs survives compression: answer strings and evidence kept, without a model.

    python benchmarks/quality.py --data DIR [--sets nq hotpot] [--limit 500] [--rates 0.5 0.25] [--json FILE]

DIR holds `qa_*.jsonl.gz`, one object a line:
{"id", "lang", "question", "answers": [...], "documents": [{"title", "text", "is_gold"}],
"evidence": [{"doc", "start", "end"}]}, offsets in code points of that document's text. Any question-answering set with
passages can be brought into this form (SQuAD, XQuAD, HotpotQA, 2WikiMultihopQA, MuSiQue, Natural Questions with
retrieved distractors); none is part of this repository.

A record becomes one context: `[n] title`, a line break, the text, a blank line. The title lines are protected, as the
proxy protects them; they count in the tokens, and what they say does not count as kept. Rows:
  answers    records with one of the answers in the kept text (lower case, without punctuation), of the records whose
             gold documents hold one; for "no context": in the question itself
  evidence   characters of the evidence that are kept, mean over records
  sentences  sentences of the evidence wholly kept, mean over records
  kept       tokens really kept (o200k_base), titles included, mean over records
  ms         median of one request
The weights of `lexical` were chosen on the records of `--half tune`; `held` are the others. `--untitled` leaves the
title lines out.
"""

import argparse
import gzip
import json
import os
import platform
import re
import statistics
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

import compressors
from compressors import bm25, spans
from compressors.base import Compressor, Kept, Rate, Span, Task
from compressors.selection import keep, layout
from compressors.tokenizers import counter

SETS = {
    "nq": "qa_nq_multidoc",
    "hotpot": "qa_hotpot",
    "2wiki": "qa_2wiki",
    "musique": "qa_musique",
    "squad": "qa_squad",
    "xquad": "qa_xquad_11langs",
}
HALVES = ("tune", "held")


@dataclass(frozen=True, slots=True)
class Case:
    """A record as a task, and where in its text the answer must be looked for."""

    task: Task
    answers: tuple[str, ...]
    evidence: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    answered: float | None  # None: the gold documents hold no answer string
    evidence: float | None  # None: no evidence is marked
    sentences: float | None
    kept: float
    ms: float


@dataclass(frozen=True, slots=True)
class Row:
    set: str
    compressor: str
    rate: float
    records: int
    answers: float
    evidence: float
    sentences: float
    kept: float
    ms: float


class PlainBm25:
    """The anchor: BM25 over sentences, each on its own, whole words."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        parts = layout(task)
        query = spans.terms(task.question)
        numbers = {word: i for i, word in enumerate(dict.fromkeys(query), 1)}
        ids = [[numbers.get(word, 0) for word in spans.terms(task.text[a:b])] for a, b in parts.units]
        ranking = bm25.rank(ids, [numbers[word] for word in query], len(numbers) + 1, k1=1.5)
        return keep(parts, ranking.scores.round(4).tolist())


class NoContext:
    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [Kept(()) for _ in tasks]


def methods() -> dict[str, Compressor]:
    return {
        "lexical": compressors.load("lexical"),
        "passages": compressors.load("passages"),  # ranking alone, by BM25
        "bm25-sentences": PlainBm25(),
        "ends": compressors.load("ends"),
        "random": compressors.load("random"),
        "no context": NoContext(),
    }


def records(folder: Path, name: str, half: str, limit: int) -> list[dict[str, Any]]:
    """At most `limit` records of one half, the same ones every time, spread over the file."""
    with gzip.open(folder / f"{SETS[name]}.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    found = [record for record in found if half == "all" or HALVES[zlib.crc32(record["id"].encode()) % 2] == half]
    found.sort(key=lambda record: zlib.crc32(b"order" + record["id"].encode()))
    return found[:limit]


def case(record: dict[str, Any], titled: bool = True) -> Case:
    parts: list[str] = []
    titles: list[Span] = []
    documents: list[Span] = []
    at = 0
    for number, document in enumerate(record["documents"], 1):
        title = f"[{number}] {document['title']}\n" if titled else ""
        body = f"{document['text']}\n\n"
        titles.append((at, at + len(title)))
        documents.append((at + len(title), at + len(title) + len(document["text"])))
        parts += [title, body]
        at += len(title) + len(body)
    gold = folded(" \n ".join(document["text"] for document in record["documents"] if document["is_gold"]))
    starts = [start for start, _ in documents]
    return Case(
        task=Task("".join(parts), Rate(1), record["question"], tuple(titles), tuple(documents)),
        answers=tuple(a for a in map(folded, record["answers"]) if a and a in gold),
        evidence=spans.merge((starts[e["doc"]] + e["start"], starts[e["doc"]] + e["end"]) for e in record["evidence"]),
    )


def folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def judge(case: Case, compressor: Compressor, rate: float) -> Outcome:
    old = case.task
    task = Task(old.text, Rate(rate), old.question, old.protected, old.documents)
    start = time.perf_counter()
    kept = compressor.compress([task])[0].spans
    ms = (time.perf_counter() - start) * 1000
    shown = folded(spans.join(task.text, spans.intersect(kept, task.documents)) if kept else task.question)
    whole = [
        unit
        for start, end in case.evidence
        for a, b in spans.sentences(task.text[start:end])
        if (unit := (start + a, start + len(task.text[start : start + b].rstrip())))[0] < unit[1]
    ]
    count = counter(task.encoding).count
    return Outcome(
        answered=float(any(a in shown for a in case.answers)) if case.answers else None,
        evidence=_size(spans.intersect(kept, case.evidence)) / _size(case.evidence) if case.evidence else None,
        sentences=statistics.fmean(_size(spans.intersect(kept, (u,))) == u[1] - u[0] for u in whole) if whole else None,
        kept=count(spans.join(task.text, kept)) / count(task.text),
        ms=ms,
    )


def _size(found: Sequence[Span]) -> int:
    return sum(end - start for start, end in found)


def measure(name: str, cases: Sequence[Case], rates: Sequence[float], console: Console) -> Iterator[Row]:
    for rate in rates:
        for title, compressor in methods().items():
            label = f"{name} {title} {rate:g}"
            outcomes = [
                judge(case, compressor, rate)
                for case in track(cases, label, console=console, transient=True, disable=not console.is_terminal)
            ]
            yield Row(
                set=name,
                compressor=title,
                rate=rate,
                records=len(cases),
                answers=_mean([o.answered for o in outcomes]),
                evidence=_mean([o.evidence for o in outcomes]),
                sentences=_mean([o.sentences for o in outcomes]),
                kept=_mean([o.kept for o in outcomes]),
                ms=round(statistics.median(o.ms for o in outcomes), 2),
            )


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), 3) if known else 0.0


def table(rows: Sequence[Row]) -> Table:
    shown = Table("set", "compressor", *[f"{what}\n{rate:g}" for rate in _rates(rows) for what in WHAT])
    for name in dict.fromkeys(row.set for row in rows):
        for compressor in dict.fromkeys(row.compressor for row in rows):
            found = [row for row in rows if (row.set, row.compressor) == (name, compressor)]
            shown.add_row(name, compressor, *[f"{getattr(row, what):.3g}" for row in found for what in WHAT])
        shown.add_section()
    return shown


WHAT = ("answers", "evidence", "sentences", "kept", "ms")


def _rates(rows: Sequence[Row]) -> list[float]:
    return list(dict.fromkeys(row.rate for row in rows))


def machine() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
        model = next(line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with qa_*.jsonl.gz")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--limit", type=int, default=500, help="records a set (default 500)")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.5, 0.25])
    parser.add_argument("--half", choices=("all", *HALVES), default="all")
    parser.add_argument("--untitled", action="store_true", help="texts only, a blank line apart")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows: list[Row] = []
    for name in given.sets:
        cases = [case(record, not given.untitled) for record in records(given.data, name, given.half, given.limit)]
        rows += measure(name, cases, given.rates, console)
    console.print(table(rows))
    if given.json:
        command = ["DIR" if word == str(given.data) else word for word in sys.argv[1:]]
        result = {
            "machine": machine(),
            "date": datetime.now(UTC).date().isoformat(),
            "command": " ".join(["python benchmarks/quality.py", *command]),
            "rows": [asdict(row) for row in rows],
        }
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
