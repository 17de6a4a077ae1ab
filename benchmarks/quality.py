"""The judge of every compressor: how much of what a question needs survives, at how many tokens, in how long.

    python benchmarks/quality.py --data DIR [--sets nq hotpot] [--rates 0.5 0.25] [--limit N] [--half held]
        [--biencoder FOLDER] [--reader FOLDER] [--model NAME=FOLDER ...] [--out benchmarks/results/quality]

DIR holds sets as `*.jsonl.gz`, one object a line; sets that are not there are left out, and said.
`qa_*`: {"id", "question", "answers": [...], "documents": [{"title", "text", "is_gold"}],
"evidence": [{"doc", "start", "end"}]}, offsets in code points of that document's text. Any question-answering set with
passages can be brought into this form (SQuAD, XQuAD, HotpotQA, 2WikiMultihopQA, MuSiQue, Natural Questions with
retrieved distractors). `dialogue_*`: {"id", "messages": [{"role", "content"}], "queries": [...]} of QMSum and SGD;
`compress_google`: {"id", "text", "keep_spans"}. None is part of this repository; the haystacks are made here.

What is measured of a record is in `judge/metrics.py`, the sets and how many records of each in `judge/sets.py`, the
rows in `judge/methods.py`. Records are split by document (`training/records.py`): `held` are those that nothing was
trained or tuned on. Rows whose weights are absent are left out, and said: `--biencoder` is a folder of
sentence-transformers (all-MiniLM-L6-v2; it saw pairs like those of nq and squad when it was made), `--reader` one that
`training/reader.py` made, `--model` a row of the LLMLingua family with a folder of its weights; `pruner` and
`classifier` run the models on board unless told otherwise.

Writes OUT.json, OUT.md and OUT_METRIC.png (pictures need matplotlib). What was measured already with the same code,
data and models is taken from the journal, so that a run that was broken off goes on; times are then of different
moments. `--untitled` leaves title lines out.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # for `training`, which is not installed

from judge import estimates, methods, plots, report, sets  # noqa: E402
from judge.estimates import Row  # noqa: E402
from judge.journal import Journal, code, digest, key  # noqa: E402
from judge.measure import PAIR, THRESHOLD, Measured, Plan, measure, sizes_for  # noqa: E402
from judge.methods import ENCODER, NOTHING, ORIGINAL, SENTENCE, Method  # noqa: E402
from judge.reading import Reader  # noqa: E402
from judge.sets import SETS, Wanted  # noqa: E402

from compressors.base import CompressionError  # noqa: E402


def chosen(given: argparse.Namespace) -> tuple[list[Method], list[str]]:
    """The rows that are asked for and can be measured here, and a line for each that cannot."""
    found = [*methods.simple()]
    asked = given.methods or [*(method.name for method in found), *methods.NAMES, ENCODER, NOTHING, ORIGINAL]
    absent: list[str] = []
    if given.biencoder and ENCODER in asked:
        found.append(methods.encoder(given.biencoder))
    elif ENCODER in asked:
        absent.append(f"{ENCODER}: no --biencoder FOLDER")
    folders = dict(text.split("=", 1) for text in given.model)
    for name in (name for name in methods.NAMES if name in asked):
        if name not in folders and name not in methods.OURS:
            absent.append(f"{name}: no --model {name}=FOLDER")
            continue
        try:
            found.append(methods.model(name, folders.get(name)))
        except CompressionError as error:
            absent.append(f"{name}: {error}")
    found += methods.ends_of_the_scale()
    return [method for method in found if method.name in asked], absent


def plan(given: argparse.Namespace, name: str, wanted: Wanted) -> Plan:
    own = SETS[name]
    sizes = (PAIR, THRESHOLD) if own.kind == SENTENCE else tuple(f"{rate:g}" for rate in given.rates)
    return Plan(name, own.kind, tuple(sets.load(given.data, name, wanted)), sizes, own.read)


def run(given: argparse.Namespace, console: Console) -> tuple[list[Row], list[str]]:
    """All rows, and what had to be left out."""
    found, absent = chosen(given)
    reader = Reader(given.reader, given.threads) if given.reader else None
    absent += [] if reader else ["the reader's rows: no --reader"]
    journal = Journal(given.journal)
    wanted = Wanted(given.half, given.limit, not given.untitled)
    same = (code(), wanted, machine())
    rows: list[Row] = []
    for name in given.sets:
        if SETS[name].file and not sets.path(given.data, name).is_file():
            absent.append(f"{name}: no {sets.path(given.data, name).name}")
            continue
        this = plan(given, name, wanted)
        data = digest([sets.path(given.data, name)]) if SETS[name].file else ""
        measured = []
        for method in (m for m in found if this.kind in m.kinds):
            eye = reader if reader and method.reads and this.read else None
            about = (
                method.name,
                method.version,
                method.most,
                sizes_for(this, method),
                eye and (eye.version, this.read),
            )
            measured.append(_measured(journal, key(*same, name, data, *about), this, method, eye, console))
        rows += estimates.rows(this.kind, measured)
    return rows, absent


def _measured(
    journal: Journal, known: str, this: Plan, method: Method, eye: Reader | None, console: Console
) -> Measured:
    if (before := journal.get(known)) is not None:
        console.print(f"{this.name} {method.name}: measured before")
        return before
    shown = partial(
        track,
        description=f"{this.name} {method.name}",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    start = datetime.now(UTC)
    result = measure(this, method, eye, shown)
    journal.add(known, result)
    console.print(
        f"{this.name} {method.name}: {len(result.positions)} records, {(datetime.now(UTC) - start).seconds} s"
    )
    return result


def machine() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
        model = next(line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def command(words: Sequence[str]) -> str:
    """The command without this machine's folders."""
    return " ".join(["python benchmarks/quality.py", *map(_nameless, words)])


def _nameless(word: str) -> str:
    name, equals, path = word.rpartition("=")
    if not Path(path).is_absolute():
        return word
    return f"{name}{equals}{'DIR' if not equals and Path(path).is_dir() else 'FOLDER' if equals else 'FILE'}"


def write(given: argparse.Namespace, rows: Sequence[Row], absent: Sequence[str], console: Console) -> None:
    about = {"machine": machine(), "date": datetime.now(UTC).date().isoformat(), "command": command(sys.argv[1:])}
    result = {**about, "left_out": list(absent), "rows": [asdict(row) for row in rows]}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    lines = list(_about(about, absent))
    given.out.with_suffix(".md").write_text(report.markdown(rows, lines), encoding="utf-8")
    with suppress(ImportError):
        for path in plots.draw(rows, given.out):
            console.print(f"drawn: {path}")
    console.print(f"written: {given.out}.json, {given.out}.md")


def _about(about: dict[str, str], absent: Iterable[str]) -> Iterator[str]:
    yield f"{about['date']}, {about['machine']}: `{about['command']}`"
    yield (
        "Sets, metrics and rows are described in `benchmarks/quality.py` and `benchmarks/judge/`. In brackets: 95 % "
        "intervals (bootstrap over records). Every text is made of the spans that a method keeps; `original` is the "
        "text as it is, `no context` the question alone."
    )
    if lines := [f"* {line}" for line in absent]:
        yield "Left out:\n\n" + "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets as *.jsonl.gz")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", help="only these rows")
    parser.add_argument("--limit", type=int, help="records a set (default: each set's own number)")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.5, 0.33, 0.25, 0.15])
    parser.add_argument("--half", choices=sets.HALVES, default="held", help="of the split by document (default held)")
    parser.add_argument("--untitled", action="store_true", help="texts only, a blank line apart")
    parser.add_argument("--biencoder", type=Path, help="folder of a bi-encoder")
    parser.add_argument("--reader", type=Path, help="folder of an extractive reader")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help=", ".join(methods.NAMES))
    parser.add_argument("--threads", type=int, default=1, help="of the reader and the bi-encoder")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "quality", help="without an ending")
    parser.add_argument("--journal", type=Path, default=user_cache_path("laconic") / "quality.jsonl")
    return parser


def main() -> None:
    given = arguments().parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    rows, absent = run(given, console)
    write(given, rows, absent, console)
    for line in absent:
        console.print(f"left out: {line}")


if __name__ == "__main__":
    main()
