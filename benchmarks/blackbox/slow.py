"""slowhttptest, wrk and h2load against `laconic serve`: is it there for others meanwhile?

    python benchmarks/blackbox/slow.py [--seconds 20] [--connections 500] [--config FILE]

slowhttptest holds connections that send their head or their body a few bytes at a time, or read their answer so; wrk
and h2load (HTTP/1.1) load it. A well-behaved caller asks twice a second meanwhile: how many of its requests were
answered, and how late. FILE is put before the proxy's configuration, for other limits (`[server]`). Tools that are not
on the PATH are passed over.
"""

import argparse
import csv
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parent.parent))

from overhead import Case, bodies
from soaking.processes import COMMAND, free_port
from soaking.watching import sample

from blackbox.beside import running

HERE = Path(__file__).parent
PAUSE_SECONDS = 0.5
RATE = re.compile(r"Requests/sec: +([\d.]+)|, ([\d.]+) req/s")
WRONG = re.compile(r"Non-2xx or 3xx responses: (\d+)|(\d+) failed")
CONFIG = '[[route]]\nname = "all"\nupstream = "up"\npolicy = "off"\n[upstream.up]\nurl = "http://127.0.0.1:{port}/v1"\n'
WRK = 'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\nwrk.body = io.open("{body}"):read("*a")\n'


@dataclass
class Asked:
    """What the well-behaved caller met: milliseconds of each answer, and how many never came."""

    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0


def attacks(url: str, folder: Path, seconds: int, connections: int) -> dict[str, list[str]]:
    """The commands, run one after the other. What slowhttptest finds, it writes to a file named after the attack."""
    body, script = folder / "body.json", folder / "post.lua"
    body.write_bytes(bodies(Case(8, 1))[0])
    script.write_text(WRK.format(body=body))
    chat, few = f"{url}/v1/chat/completions", str(min(connections, 64))
    slow = ["slowhttptest", "-c", str(connections), "-r", "200", "-l", str(seconds), "-p", "3", "-g", "-u", chat]
    return {
        "slow heads": [*slow, "-o", str(folder / "slow heads"), "-H", "-i", "5"],
        "slow bodies": [*slow, "-o", str(folder / "slow bodies"), "-B", "-i", "5", "-s", "65536"],
        "slow readers": [*slow, "-o", str(folder / "slow readers"), "-X", "-w", "1", "-y", "8", "-n", "5", "-z", "8"],
        "wrk": ["wrk", "-t1", f"-c{few}", f"-d{seconds}s", "-s", str(script), chat],
        "h2load": ["h2load", "--h1", f"-c{few}", "-D", str(seconds), "-d", str(body), chat],
    }


@contextmanager
def asking(port: int) -> Iterator[Asked]:
    """Asks twice a second while the block lasts, each time on a connection of its own."""
    found, over = Asked(), threading.Event()
    sent = bodies(Case(8, 1))[0]
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    def ask() -> None:
        while not over.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            try:
                httpx.post(
                    url, content=sent, headers={"content-type": "application/json"}, timeout=10
                ).raise_for_status()
            except httpx.HTTPError:
                found.failed += 1
            else:
                found.milliseconds.append((time.perf_counter() - began) * 1000)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def told(name: str, folder: Path, output: str) -> str:
    """What the tool found, in a few words."""
    file = folder / f"{name}.csv"
    if not file.exists():
        rate, wrong = RATE.search(output), WRONG.search(output)
        failed = next(filter(None, wrong.groups()), "0") if wrong else "0"
        return f"{next(filter(None, rate.groups()))} requests/s, {failed} failed" if rate else "no result"
    with file.open() as lines:
        rows = [{key: int(value) for key, value in row.items() if key and value} for row in csv.DictReader(lines)]
    held, last = max(row["Connected"] for row in rows), rows[-1]
    return f"{held} held at most, {last['Connected']} at the end, {last['Closed']} closed"


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="for each attack (default 20)")
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--config", type=Path, metavar="FILE")
    given = parser.parse_args(words)
    table = Table(
        "attack", "what the tool found", "others answered", "p50 ms", "most ms", "resident MB", "descriptors after"
    )
    with tempfile.TemporaryDirectory() as name:
        folder, up, port = Path(name), free_port(), free_port()
        more = given.config.read_text("utf-8") if given.config else ""
        (folder / "laconic.toml").write_text(more + CONFIG.format(port=up))
        command = [
            sys.executable,
            "-c",
            COMMAND,
            "serve",
            "--config",
            str(folder / "laconic.toml"),
            "--port",
            str(port),
        ]
        with (
            running([sys.executable, str(HERE.parent / "fastprovider.py"), str(up)], up, "/"),
            running(command, port, "/readyz", {"LACONIC_LEDGER": str(folder / "ledger.sqlite3")}) as pid,
        ):
            for attack, tool in attacks(f"http://127.0.0.1:{port}", folder, given.seconds, given.connections).items():
                if shutil.which(tool[0]) is None:
                    table.add_row(attack, f"{tool[0]} is not installed")
                    continue
                with asking(port) as asked:
                    ended = subprocess.run(tool, capture_output=True, text=True, check=False)
                after = sample(pid, 0)
                times = asked.milliseconds or [float("nan")]
                answered = f"{len(asked.milliseconds)} of {len(asked.milliseconds) + asked.failed}"
                figures = (f"{median(times):.1f}", f"{max(times):.0f}", f"{after.resident:.0f}", str(after.descriptors))
                table.add_row(attack, told(attack, folder, ended.stdout), answered, *figures)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
