"""What `--workers N` brings and costs: throughput of one and of several processes, in turns, and the memory of several
processes that share one copy of the models against as many that do not. Linux.

    python benchmarks/workers.py --json benchmarks/results/workers.json

The load, the provider and the service share the cores of one machine: with few of them, what several processes could
serve on cores of their own is more than is measured here.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import load
from overhead import COMMAND, CONFIG, HERE, Case, _answers, _port, _processor, bodies
from rich.console import Console
from rich.table import Table

POLICIES = ("off", "words", "balanced")
CASE = Case(16, 16)
COUNTS = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description="One process and several.")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each target in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    machine = f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        config = Path(folder, "laconic.toml")
        config.write_text(CONFIG)
        provider = _port()
        stack.enter_context(_running(provider, [str(HERE / "fastprovider.py"), str(provider)], False))
        speed = _speed(config, provider, options.seconds, options.rounds)
        memory = [_memory(config, provider, count) for count in COUNTS]
    _show(machine, speed, memory)
    if options.json:
        document = {"machine": machine, "case": CASE.name, "seconds": options.seconds, "rounds": options.rounds}
        options.json.write_text(json.dumps({**document, "speed": speed, "memory": memory}, indent=1) + "\n")


@contextmanager
def _running(port: int, command: Sequence[str], ready: bool = True) -> Iterator[int]:
    """The process's number. It is asked often enough for each worker to have been asked."""
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL) as process:
        try:
            answers = 0
            while answers < (24 if ready else 1):
                answers = answers + 1 if _answers(port, ready) else 0
                time.sleep(0 if answers else 0.05)
            yield process.pid
        finally:
            process.terminate()


def _serve(config: Path, provider: int, policy: str, workers: int, port: int) -> list[str]:
    flags = ["--config", str(config), "--upstream", f"http://127.0.0.1:{provider}/v1", "--port", str(port)]
    flags += ["--policy", policy, "--workers", str(workers), "--ledger", f"{config}.{port}.sqlite"]
    return ["-c", COMMAND, "serve", *flags]


def _speed(config: Path, provider: int, seconds: float, rounds: int) -> list[dict[str, object]]:
    found: dict[tuple[str, int], list[load.Times]] = {}
    with ExitStack() as stack:
        ports = {(policy, workers): _port() for policy in POLICIES for workers in (1, 2)}
        for (policy, workers), port in ports.items():
            stack.enter_context(_running(port, _serve(config, provider, policy, workers, port)))
        sent = bodies(CASE)
        for _ in range(rounds):
            for key, port in {("direct", 1): provider, **ports}.items():
                times = load.run(port, sent, load.Pace(CASE.concurrency, seconds))
                found.setdefault(key, []).append(times)
    return [
        {
            "policy": policy,
            "workers": workers,
            "requests_per_second": round(median(len(t.latency) / t.seconds for t in times)),
            "median_ms": round(median(median(t.latency) for t in times), 2),
        }
        for (policy, workers), times in found.items()
    ]


def _memory(config: Path, provider: int, count: int) -> dict[str, object]:
    """Proportional set size in MB, shared pages divided among those that share them, after some requests."""
    found: list[float] = []
    for workers, ports in ((count, [_port()]), (1, [_port() for _ in range(count)])):
        with ExitStack() as stack:
            pids = [
                stack.enter_context(_running(port, _serve(config, provider, "balanced", workers, port)))
                for port in ports
            ]
            for port in ports:
                load.run(port, bodies(CASE), load.Pace(8, 2.0))
            found.append(sum(_resident(each) for pid in pids for each in _family(pid)) / 1024)
    return {"processes": count, "together_mb": round(found[0]), "alone_mb": round(found[1])}


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _resident(pid: int) -> int:
    """kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def _show(machine: str, speed: Sequence[dict[str, object]], memory: Sequence[dict[str, object]]) -> None:
    console = Console(width=120)
    console.print(f"{machine}; {CASE.name}", highlight=False)
    for rows in (speed, memory):
        grid = Table(*rows[0])
        for row in rows:
            grid.add_row(*map(str, row.values()))
        console.print(grid)


if __name__ == "__main__":
    main()
