"""What compression does to the bill where the provider discounts prefixes that it has seen: a simulation.

    python benchmarks/prompt_cache.py [--data DIR] [--limit N] [--policies words balanced] [--processes 2]
        [--workloads NAME ...] [--out benchmarks/results/prompt_cache]

Replays conversations, agent traces, retrieval and questions about shared documents, request by request, each through

  none       no compression
  naive      everything but the newest question is cut by what the newest question asks, again at each turn; of a text
             as much stays as `words` keeps of a context of that size, nothing is protected
  each turn  the rules of `words` (same compressors, rates, protection), with the newest question for every turn
  words      ours: `balanced` without models, through the proxy's own pipeline; other policies with --policies

to a simulated prompt cache (`promptcache/provider.py`) with the prices of five model lines, and prints what the input
costs. What the model answers is the same for all arms: the data's own answers.

DIR holds sets as `*.jsonl.gz`, one object a line; sets that are not there are left out, and said. All can be had from
their authors: Schema-Guided Dialogue, MT-Bench-101, QMSum and agent traces of tau-bench and SWE-agent
(`dialogue_*`: {"id", "source", "messages": [{"role", "content", "tool_call"}]}, QMSum with {"queries",
"general_queries"}: [{"query", "answer"}]), HotpotQA, Natural Questions with distractors, SQuAD, XQuAD (`qa_*`: {"id",
"lang", "question", "answers", "documents": [{"title", "text"}]}), SQuALITY and Evidence Inference (`longdoc_*`: {"id",
"text", "questions": [{"question", "answers" or "references"}]}) and questions about JSON (`toolqa_json`: {"id", "text",
"question", "answers"}). None is part of this repository. Without DIR a few texts of ours are used.

Writes OUT.json, OUT.md and OUT.png (the picture needs matplotlib).
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from rich.console import Console
from rich.progress import track

sys.path.append(str(Path(__file__).parent))

from promptcache import datasets, plots, table
from promptcache.arms import WORDS
from promptcache.datasets import SOURCES
from promptcache.replay import BLIND, Bill, Line, bills, groups
from promptcache.workloads import Workload

from policies.presets import PRESETS

HERE = Path(__file__).parent
Job = tuple[str, str, tuple[Line, ...]]


@lru_cache(maxsize=4)
def workload(folder: Path | None, name: str, limit: int) -> Workload:
    if folder:
        return datasets.load(folder, name, limit)
    return next(w for w in datasets.built_in(limit) if w.name == name)


def done(folder: Path | None, limit: int, job: Job) -> list[Bill]:
    name, arm, lines = job
    return bills(workload(folder, name, limit), arm, lines)


def names(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The workloads that can be had, and those that cannot."""
    if given.data is None:
        return [w.name for w in datasets.built_in(1)], []
    wanted = given.workloads or list(SOURCES)
    there = [name for name in wanted if datasets.path(given.data, name).is_file()]
    return there, [name for name in wanted if name not in there]


def run(given: argparse.Namespace, found: list[str], console: Console) -> Iterator[Bill]:
    arms = [*BLIND, *given.policies]
    jobs: list[Job] = [(name, arm, lines) for name in found for arm in arms for lines in groups(arm)]
    with ProcessPoolExecutor(given.processes) as pool:
        waiting = [pool.submit(done, given.data, given.limit, job) for job in jobs]
        for future in track(as_completed(waiting), "replaying", len(waiting), console=console):
            yield from future.result()


def machine() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
        model = next(line.partition(": ")[2] for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def command(words: Sequence[str]) -> str:
    """The command without this machine's folders."""
    return " ".join(["python benchmarks/prompt_cache.py", *("DIR" if Path(w).is_absolute() else w for w in words)])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the sets as *.jsonl.gz; without it: a few texts of ours")
    parser.add_argument("--workloads", nargs="+", choices=SOURCES, metavar="NAME", help="only these, of --data")
    parser.add_argument("--limit", type=int, default=80, help="requests a workload (default 80)")
    parser.add_argument("--policies", nargs="+", choices=[WORDS.name, *PRESETS], default=[WORDS.name], metavar="POLICY")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=HERE / "results" / "prompt_cache", help="without an ending")
    return parser


def main(words: Sequence[str]) -> int:
    given = arguments().parse_args(words)
    console = Console(width=None if sys.stdout.isatty() else 160)
    began = datetime.now(UTC)
    found, absent = names(given)
    if not found:
        console.print(f"none of the sets lies in {given.data}")
        return 2
    order = {name: n for n, name in enumerate(found)}
    rows = sorted(run(given, found, console), key=lambda bill: (order[bill.workload], bill.line, bill.arm))
    seconds = (datetime.now(UTC) - began).seconds
    about = {"date": began.date().isoformat(), "machine": machine(), "command": command(words), "seconds": str(seconds)}
    result = table.Result(tuple(rows), tuple(given.policies), tuple(absent), about)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.with_suffix(".json").write_text(table.as_json(result), "utf-8")
    given.out.with_suffix(".md").write_text(table.as_markdown(result), "utf-8")
    with suppress(ImportError):
        plots.draw(result, given.out.with_suffix(".png"))
    table.show(result, console)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
