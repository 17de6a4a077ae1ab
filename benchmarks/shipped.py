"""The models on board on this machine: how quick, how soon there, how large.

    python benchmarks/shipped.py [--rounds 5] [--json FILE]

Each round is a process of its own; medians, and the best round for speed, since other work on a machine only makes it
slower. Texts are the samples of the demo, repeated under changing numbers until there are 8,000 pieces.

  load       from the import of the compressor to its first result, in ms
  first      the first text after `warm_up`, 2,000 pieces, in ms
  again      another question about the same text, in ms: its passages are known (pruner only)
  pieces/s   8,000 pieces in texts of 2,000, everything around the model included
  resident   MB of the process before and after, mapped files included
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

SAMPLES = ("handbook", "manual", "contract", "meeting")
QUESTIONS = ("How much is paid towards a desk chair?", "Which credit is due when availability falls?")
KNOWN = ("load", "first", "again", "pieces/s", "before", "resident")
TEXTS = 4


def texts() -> list[str]:
    """Each of about 2,000 pieces, no two alike."""
    plain = [files("proxy.demo").joinpath(f"samples/{name}.md").read_text("utf-8") for name in SAMPLES]
    return [f"Edition {n}.\n\n{plain[n % len(plain)]}" for n in range(TEXTS)]


def resident() -> float:
    """MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def measured(name: str) -> dict[str, float]:
    """One round, in this process."""
    from compressors import Rate, Task, load
    from compressors.checkpoint import open_checkpoint
    from compressors.tokenizers import counter

    counter("o200k_base").count("")
    before, began = resident(), perf_counter()
    compressor: Any = load(name)
    compressor.warm_up()
    found = {"load": (perf_counter() - began) * 1000, "before": before}
    tasks = [Task(text, Rate(0.4), QUESTIONS[0]) for text in texts()]
    pieces = sum(len(open_checkpoint(f"laconic/{name}").tokenizer.encode(task.text)) for task in tasks)
    spent = [_timed(compressor, task) for task in tasks]
    found |= {"first": spent[0] * 1000, "pieces/s": pieces / sum(spent)}
    if name == "pruner":
        found["again"] = _timed(compressor, Task(tasks[0].text, Rate(0.4), QUESTIONS[1])) * 1000
    return found | {"resident": resident()}


def _timed(compressor: Any, task: Any) -> float:
    began = perf_counter()
    compressor.compress([task])
    return perf_counter() - began


def rounds(name: str, count: int) -> dict[str, float]:
    runs: list[dict[str, float]] = []
    for _ in range(count):
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return middle | {"pieces/s": max(run["pieces/s"] for run in runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one)))
        return
    found = {name: rounds(name, given.rounds) for name in ("pruner", "classifier")}
    table = Table("model", *KNOWN)
    for name, values in found.items():
        table.add_row(name, *(f"{values[key]:,.0f}" if key in values else "" for key in KNOWN))
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
