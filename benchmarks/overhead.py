"""What Laconic adds to a request: time, requests per second, streaming delay, memory, time to start.

    python benchmarks/overhead.py [--seconds 2] [--rounds 3] [--workers N] [--litellm PYTHON]
        [--json benchmarks/results/overhead.json]

A provider that costs next to nothing (`fastprovider.py`), the targets in front of it, each in a process of its own, and
a load client on raw sockets (`load.py`) share this machine. All targets are measured in turn, several rounds over; the
median round counts. `words` is `balanced` without its models, `words audited` the same in audit mode. Compare
ratios of one run, not milliseconds across machines. `nginx` is measured where it is on the PATH: no proxy is faster.
`off, N workers` is `laconic serve --workers N`. `LiteLLM` is its proxy as it comes: one worker, no database, a model
that leads to the provider, run by an environment's PYTHON that has `litellm[proxy]`; without streams, which it
writes anew, pauses, and more than 32 at a time. Bodies are retrieval questions with passages of their own.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import load
from rich.console import Console
from rich.table import Table
from soaking.watching import sample

HERE = Path(__file__).parent
NGINX = """
worker_processes 1; daemon off; error_log /dev/null; pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; keepalive_requests 1000000000;
  client_body_buffer_size 1m; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_buffering off; proxy_set_header Connection ""; }}
  }}
}}
"""
BARE = """
import sys
from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.pipeline import Pipeline
from proxy.server import listen, serve
from proxy.settings import Settings, Upstream
settings = Settings({"up": Upstream("up", sys.argv[1])}, (Route("all", "up", "off"),), PRESETS)
app = create_app(lambda: settings, Pipeline(settings.compression))
serve(app, listen("127.0.0.1", int(sys.argv[2])), settings.limits)
"""
CONFIG = """
[compression]
cache_mb = 0                # bodies come again; so does every passage
[compressor.pruner]
cache_mb = 0
[policy.words]              # balanced without a model
extends = "balanced"
context.compressor = "lexical"
history.compressor = "whitespace"
history.ranges = [{ rate = 1.0 }]
[policy."words audited"]
extends = "words"
mode = "audit"
"""
LITELLM = """
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "{upstream}", api_key: none}}
litellm_settings: {{telemetry: false}}
"""
LOCAL = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # nobody but the load client reaches it
}
COMMAND = "import sys; from proxy.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Case:
    kilobytes: int
    concurrency: int
    stream: bool = False
    pause_seconds: float = 0.0

    @property
    def name(self) -> str:
        kind = "stream, " if self.stream else "paced, " if self.pause_seconds else ""
        return f"{kind}{self.kilobytes} KB, c={self.concurrency}"


CASES = (Case(8, 1), Case(40, 1), Case(8, 32), Case(40, 32), Case(8, 64), Case(8, 256))
ALONE, LOADED = Case(8, 1), Case(8, 32)
YARDSTICKS = ("direct", "nginx", "LiteLLM")
STREAM = Case(8, 1, stream=True)
PACED = Case(8, 1, pause_seconds=0.01)
"""Compression takes milliseconds, after which caches are cold; only an `off` that pauses as long compares with it."""


@dataclass
class Target:
    """Something that listens. `start_seconds` from the process's start to the first 200 of `/readyz`; `cases` are
    those that it can be measured in. Of a process with children, `resident_mb` is the sum."""

    name: str
    port: int
    pid: int
    start_seconds: float | None = None
    cases: tuple[Case, ...] = (*CASES, PACED, STREAM)

    def resident_mb(self) -> float:
        return sample(self.pid, 0).resident


@dataclass(frozen=True)
class Result:
    """Of one target and case: medians over the rounds, in milliseconds. `compression` is what answers say of it."""

    target: str
    case: str
    p50: float
    p99: float
    per_second: float
    compression: float | None = None
    shortened: float | None = None  # the share of the answers that say so
    first_p50: float | None = None
    event_p50: float | None = None
    event_p99: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description="What Laconic adds to a request.")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each target and case in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, metavar="N", help="measure `laconic serve --workers N`, too")
    parser.add_argument("--litellm", metavar="PYTHON", help="of an environment with litellm[proxy], to measure that")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    with ExitStack() as stack:
        targets = _targets(stack, options.workers, options.litellm)
        results = _measure(targets, options.seconds, options.rounds)
        machine = f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        about = [{"target": t.name, "start_seconds": t.start_seconds, "resident_mb": t.resident_mb()} for t in targets]
        _show(Console(width=180), machine, targets, results)
    if options.json:
        document = {"machine": machine, "seconds": options.seconds, "rounds": options.rounds, "targets": about}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({**document, "results": [asdict(r) for r in results]}, indent=1) + "\n")


# Targets


def _targets(stack: ExitStack, workers: int | None, litellm: str | None) -> list[Target]:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    provider = _port()
    python = [sys.executable]
    found = [stack.enter_context(_running("direct", provider, [*python, str(HERE / "fastprovider.py"), str(provider)]))]
    if nginx := shutil.which("nginx"):
        port = _port()
        config = Path(folder, "nginx.conf")
        config.write_text(NGINX.format(folder=folder, port=port, upstream=provider))
        found.append(stack.enter_context(_running("nginx", port, [nginx, "-c", str(config)])))
    upstream = f"http://127.0.0.1:{provider}/v1"
    port = _port()
    found.append(
        stack.enter_context(_running("off, no meters", port, [*python, "-c", BARE, upstream, str(port)], True))
    )
    config = Path(folder, "laconic.toml")
    config.write_text(CONFIG)
    ours = {policy: ["--policy", policy] for policy in ("off", "words audited", "words", "balanced")}
    if workers:
        ours[f"off, {workers} workers"] = ["--policy", "off", "--workers", str(workers)]
    for name, more in ours.items():
        port = _port()
        flags = ["serve", "--config", str(config), "--upstream", upstream, "--port", str(port), *more]
        os.environ["LACONIC_LEDGER"] = str(Path(folder, f"{name}.sqlite"))
        found.append(stack.enter_context(_running(name, port, [*python, "-c", COMMAND, *flags], True)))
    if litellm:
        found.append(stack.enter_context(_litellm(litellm, upstream, Path(folder))))
    return found


@contextmanager
def _litellm(python: str, upstream: str, folder: Path) -> Iterator[Target]:
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(upstream=upstream))
    port = _port()
    flags = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    os.environ.update(LOCAL)
    with _running("LiteLLM", port, [str(Path(python).parent / "litellm"), *flags]) as target:
        load.run(port, bodies(ALONE), load.Pace(1, 5.0))  # it imports much with its first request
        yield replace(target, cases=tuple(case for case in CASES if case.concurrency < 64))


@contextmanager
def _running(name: str, port: int, command: list[str], ready: bool = False) -> Iterator[Target]:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(port, ready):
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise RuntimeError(f"{name} does not start: {' '.join(command[:2])}")
            time.sleep(0.01)
        yield Target(name, port, process.pid, time.perf_counter() - began if ready else None)
    finally:
        process.terminate()
        process.wait()


def _answers(port: int, ready: bool) -> bool:
    try:
        if ready:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
        else:
            socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def bodies(case: Case) -> list[bytes]:
    return load.bodies(case.kilobytes, case.stream)


# Measuring


def _measure(targets: Sequence[Target], seconds: float, rounds: int) -> list[Result]:
    found: dict[tuple[str, str], list[Result]] = {}
    console = Console(stderr=True)
    for number in range(rounds):
        for case in (*CASES, PACED, STREAM):
            console.print(f"round {number + 1} of {rounds}: {case.name}")
            sent = bodies(case)
            for target in (t for t in targets if case in t.cases):
                times = load.run(target.port, sent, load.Pace(case.concurrency, seconds, case.pause_seconds))
                found.setdefault((target.name, case.name), []).append(_result(target.name, case.name, times))
    return [_median(results) for results in found.values()]


def _result(target: str, case: str, times: load.Times) -> Result:
    return Result(
        target,
        case,
        _quantile(times.latency, 0.5),
        _quantile(times.latency, 0.99),
        len(times.latency) / times.seconds,
        median(times.compression) if times.compression else None,
        times.shortened / len(times.latency) if times.compression else None,
        median(times.first) if times.first else None,
        _quantile(times.events, 0.5) if times.events else None,
        _quantile(times.events, 0.99) if times.events else None,
    )


def _median(rounds: Sequence[Result]) -> Result:
    def middle(name: str) -> float | None:
        values = [value for value in (getattr(result, name) for result in rounds) if value is not None]
        return median(values) if values else None

    first = rounds[0]
    numbers = {name: middle(name) for name in Result.__annotations__ if name not in ("target", "case")}
    return Result(first.target, first.case, **numbers)  # type: ignore[arg-type]  # the first three are always there


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


# Showing


def _show(console: Console, machine: str, targets: Sequence[Target], results: Sequence[Result]) -> None:
    of = {(result.target, result.case): result for result in results}
    console.print(f"[bold]{machine}[/bold]; a provider, the target and the load client share it")
    _show_latency(console, targets, of)
    _show_throughput(console, targets, of)
    _show_ratios(console, targets, of)
    _show_rest(console, [target for target in targets if STREAM in target.cases], of)


Results = dict[tuple[str, str], Result]


def _show_latency(console: Console, targets: Sequence[Target], of: Results) -> None:
    cases = [case.name for case in CASES if case.concurrency <= 32]
    table = Table("target", *cases, title="milliseconds a request: p50 / p99 (added to direct)")
    for target in targets:
        cells = []
        for case in cases:
            it, direct = of[target.name, case], of["direct", case]
            added = f" (+{it.p50 - direct.p50:.3f} / +{it.p99 - direct.p99:.3f})" if it is not direct else ""
            cells.append(f"{it.p50:.3f} / {it.p99:.3f}{added}")
        table.add_row(target.name, *cells)
    console.print(table)


def _show_throughput(console: Console, targets: Sequence[Target], of: Results) -> None:
    table = Table("target", *(case.name for case in CASES), title="requests a second (share of direct)")
    for target in targets:
        cells = []
        for case in CASES:
            it = of[target.name, case.name] if case in target.cases else None
            cells.append("" if it is None else _rate(it, of["direct", case.name]))
        table.add_row(target.name, *cells)
    console.print(table)


def _rate(it: Result, direct: Result) -> str:
    shortened = "" if it.shortened is None else f", {it.shortened:.0%} shortened"
    return f"{it.per_second:,.0f} ({it.per_second / direct.per_second:.1%}{shortened})"


def _show_ratios(console: Console, targets: Sequence[Target], of: Results) -> None:
    """How many times as long a request takes, and how many times as many there are, against each yardstick."""
    yardsticks = [target.name for target in targets if target.name in YARDSTICKS]
    columns = [f"{what} to {name}" for what in ("p50", "requests/s") for name in yardsticks]
    table = Table("target", *columns, title=f"ratios: p50 of {ALONE.name}, requests a second of {LOADED.name}")
    for target in targets:
        slower = [of[target.name, ALONE.name].p50 / of[name, ALONE.name].p50 for name in yardsticks]
        more = [of[target.name, LOADED.name].per_second / of[name, LOADED.name].per_second for name in yardsticks]
        table.add_row(target.name, *(f"{ratio:.3g}x" for ratio in (*slower, *more)))
    console.print(table)


def _show_rest(console: Console, targets: Sequence[Target], of: Results) -> None:
    columns = (
        "first event, added ms",
        "an event, added ms p50 / p99",
        "paced: compression ms",
        "the rest, ms",
        "to off",
    )
    table = Table("target", *columns, "resident MB", "start to ready, s", title="streams, compression, process")
    direct, off = of["direct", STREAM.name], of["off", PACED.name]
    for target in targets:
        it, plain = of[target.name, STREAM.name], of[target.name, PACED.name]
        rest = plain.p50 - (plain.compression or 0.0)
        table.add_row(
            target.name,
            f"{_less(it, direct, 'first_p50'):+.3f}",
            " / ".join(f"{_less(it, direct, name):+.3f}" for name in ("event_p50", "event_p99")),
            "" if plain.compression is None else f"{plain.compression:.3f}",
            f"{rest:.3f}",
            f"{rest / off.p50:.2f}x",
            f"{target.resident_mb():.0f}",
            "" if target.start_seconds is None else f"{target.start_seconds:.2f}",
        )
    console.print(table)


def _less(it: Result, direct: Result, name: str) -> float:
    return float(getattr(it, name)) - float(getattr(direct, name))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
