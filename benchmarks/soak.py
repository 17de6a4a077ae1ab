"""A mixed load with chaos, for hours if you like: what grows, what breaks, what gets lost.

    python benchmarks/soak.py [--minutes 30] [--callers 8] [--workers N] [--only KIND ...]
        [--json FILE] [--plot FILE]

Against a real `laconic serve` and a provider of its own (`soaking/provider.py`), each a process: chats, streams,
conversations, models, uploads, big bodies; callers that are slow, stop or leave in every phase; a provider that fails,
limits, resets, tears, stalls and freezes; requests that are not valid or too large; a changed configuration now and
then, every third one invalid (`soaking/kinds.py` has the table).

Checked end to end: the provider says in each answer what it received, with a checksum of the answer itself. What is
not `compressed` must have arrived byte for byte; what is, with its roles, instruction and question. Each request that
took a route must be in the ledger exactly once, and upstream at most once. At the end nothing may be left open, and
SIGTERM must let running streams end. Slopes of memory, descriptors and threads are told with intervals, and judged from
25 minutes on. Exit status: 0; 1 where any of this does not hold. FILE is written as it goes: a run that is interrupted
has one, too.
"""

import argparse
import asyncio
import json
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn, TimeRemainingColumn

sys.path.append(str(Path(__file__).parent))

from soaking import config, showing
from soaking.book import Book, leaks, logged, missing, records, repeated
from soaking.callers import Caller
from soaking.kinds import KINDS, Kind
from soaking.processes import Served, serving
from soaking.provider import State, collect
from soaking.watching import Sample, family, sample, slopes

SAMPLES = 400
LEAST_BETWEEN, MOST_BETWEEN = 0.5, 5.0
"""Seconds between two samples."""
RELOADS = 40
LAST_STREAMS = 20
SLOW = next(kind for kind in KINDS if kind.name == "slow stream")


@dataclass
class Soak:
    """One run: what it is told, and what it has found so far."""

    seconds: float
    callers: int
    served: Served
    kinds: Sequence[Kind]
    file: Path | None
    book: Book = field(default_factory=Book)
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    serials: Iterator[int] = field(default_factory=lambda: count(1))
    began: float = field(default_factory=time.monotonic)
    pids: set[int] = field(default_factory=set)
    restarts: int = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def over(self) -> bool:
        return self.elapsed >= self.seconds or self.served.process.poll() is not None

    async def run(self, progress: Progress) -> None:
        """The load, until its time is over, the server is gone, or it is cancelled."""
        self.pids = set(family(self.served.process.pid))
        work = [self.load(Random(number)) for number in range(self.callers)]
        await asyncio.gather(self.watch(progress), self.change(), *work)

    async def load(self, chance: Random) -> None:
        caller = Caller(self.served.port, chance)
        weights = [kind.weight for kind in self.kinds]
        while not self.over:
            kind = chance.choices(self.kinds, weights)[0]
            self.book.note(await caller.call(kind, next(self.serials)))
        await caller.close()

    async def watch(self, progress: Progress) -> None:
        pause = min(max(self.seconds / SAMPLES, LEAST_BETWEEN), MOST_BETWEEN)
        bar = progress.add_task("soaking", total=self.seconds)
        while not self.over:
            self.look()
            self.write()
            told = f"{self.book.requests:,} requests, {self.book.wrongs} wrong, {self.samples[-1].resident:.0f} MB"
            progress.update(bar, completed=self.elapsed, description=told)
            await asyncio.sleep(pause)

    async def change(self) -> None:
        """SIGHUPs, each with another configuration."""
        pause = max(self.seconds / RELOADS, 1.0)
        for content in config.changes(self.served.provider):
            await asyncio.sleep(pause)
            if self.over:
                return
            self.served.reload(content)
            self.book.reloads += 1

    def look(self) -> None:
        self.samples.append(sample(self.served.process.pid, self.elapsed))
        here = set(family(self.served.process.pid))
        self.restarts += len(self.pids - here)
        self.pids = here

    async def end(self) -> State:
        """Idle, then SIGTERM while streams run. What the provider saw."""
        state = await asyncio.to_thread(collect, self.served.provider)
        callers = [Caller(self.served.port, Random(number)) for number in range(LAST_STREAMS)]
        streams = [asyncio.ensure_future(caller.call(SLOW, next(self.serials))) for caller in callers]
        await asyncio.sleep(0.3)
        status = await asyncio.to_thread(self.served.stop)
        for stream in streams:
            self.book.note(await stream)
        for caller in callers:
            await caller.close()
        if status != 0:
            self.problems.append(f"SIGTERM: exit status {status}")
        return state

    def judge(self, state: State) -> None:
        """All that must hold."""
        if self.book.wrongs:
            self.problems.append(f"{self.book.wrongs} answers are wrong")
        if self.restarts:
            self.problems.append(f"{self.restarts} processes of the server ended before it was told to")
        self.problems += missing(self.book, records(self.served.ledger), state.seen)
        self.problems += repeated(state)
        self.problems += leaks(slopes(self.samples), self.samples[-1].seconds)
        self.problems += logged(self.served.log.read_text("utf-8", "replace").splitlines())

    def write(self) -> None:
        if self.file is None:
            return
        counts = {
            name: {"requests": it.sent, "wrong": it.wrong, "statuses": it.statuses, "outcomes": it.outcomes}
            for name, it in self.book.tallies.items()
        }
        document = {
            "python": platform.python_version(),
            "seconds": round(self.samples[-1].seconds, 1) if self.samples else 0,
            "callers": self.callers,
            "requests": self.book.requests,
            "wrong": self.book.wrongs,
            "wrong_answers": self.book.wrong,
            "reloads": self.book.reloads,
            "restarts": self.restarts,
            "problems": self.problems,
            "slopes_per_hour": {name: asdict(it) for name, it in slopes(self.samples).items()},
            "kinds": counts,
            "samples": [asdict(it) for it in self.samples],
        }
        config.write(self.file, json.dumps(document, indent=1) + "\n")


async def soak(it: Soak, console: Console) -> None:
    """Runs, ends and judges. Ctrl-C ends the load early; what there is by then is judged."""
    columns = (*Progress.get_default_columns()[:2], TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        running = asyncio.ensure_future(it.run(progress))
        with stopping(it):
            await running
    if it.served.process.poll() is None:
        it.judge(await it.end())
    else:
        it.problems.append(f"the server ended by itself with status {it.served.process.returncode}")
        it.judge(collect(it.served.provider))


@contextmanager
def stopping(it: Soak) -> Iterator[None]:
    """SIGINT and SIGTERM end the load, not the program."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        it.seconds = 0.0

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--callers", type=int, default=8, help="requests at a time (default 8)")
    parser.add_argument("--workers", type=int, metavar="N", help="passed to `laconic serve`")
    parser.add_argument("--only", nargs="+", choices=[k.name for k in KINDS], metavar="KIND", help="to find a fault")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write what was found, as it goes")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture (needs matplotlib)")
    return parser


def main(words: Sequence[str]) -> int:
    given = arguments().parse_args(words)
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), given.workers) as served:
        kinds = [kind for kind in KINDS if not given.only or kind.name in given.only]
        it = Soak(given.minutes * 60, given.callers, served, kinds, given.json)
        asyncio.run(soak(it, console))
    it.write()
    showing.show(console, it.book, it.samples, slopes(it.samples))
    if given.plot:
        with suppress(ImportError):
            showing.draw(it.samples, given.plot)
    seconds = it.samples[-1].seconds
    rate = f"{it.book.requests:,} requests in {seconds:.0f} s ({it.book.requests / seconds:.0f} a second)"
    console.print(f"{rate}, {it.book.reloads} reloads, {it.restarts} restarts")
    for line in (*it.book.wrong, *it.problems):
        console.print(line, style="red", markup=False)
    console.print("an invariant is broken" if it.problems else "all invariants hold")
    return 1 if it.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
