"""A mock of the provider, and `laconic serve` in front of it: what the suites here run against, in turn."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table
from soaking.processes import COMMAND, answers, free_port, until

STEADY = ("query-array", "form-array", "query-object", "form-object")


@dataclass(frozen=True, slots=True)
class Pair:
    """Base URLs, each with `/v1`: the mock itself, and the same through the proxy."""

    direct: str
    through: str


def versioned(description: Path, folder: Path) -> Path:
    """A copy of OpenAI's description whose paths begin with `/v1`, as those of clients do."""
    text, count = re.subn(r"^  /(?!v1/)", "  /v1/", description.read_text("utf-8"), flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"{description} has no paths as openapi.yaml has them: two spaces and a slash")
    copy = folder / "openapi.yaml"
    copy.write_text(text, "utf-8")
    return copy


@contextmanager
def mocked(steady: str, description: Path, policy: str) -> Iterator[Pair]:
    """Both, while the block lasts. `steady`: the command of the mock server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mock, port = free_port(), free_port()
        formats = [f"--validator-{kind}-format=brackets" for kind in STEADY]
        options = ["--quiet", "--host", "127.0.0.1", "-p", str(mock), *formats]
        command = [sys.executable, "-c", COMMAND, "serve", "--port", str(port), "--policy", policy]
        command += ["--upstream", f"http://127.0.0.1:{mock}"]
        with (
            running([*steady.split(), *options, str(versioned(description, folder))], mock, "/_x-steady/health"),
            running(command, port, "/readyz", {"LACONIC_LEDGER": str(folder / "ledger.sqlite3")}),
        ):
            yield Pair(f"http://127.0.0.1:{mock}/v1", f"http://127.0.0.1:{port}/v1")


@contextmanager
def running(command: Sequence[str], port: int, path: str, more: Mapping[str, str] | None = None) -> Iterator[int]:
    """A server, ready, while the block lasts. Its process."""
    output = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(more or {})})
    try:
        until(lambda: answers(port, path), process, " ".join(command[:3]))
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def program(command: str) -> str:
    """Where a command is, whatever the working directory."""
    return str(Path(shutil.which(command) or command).absolute())


def junit(file: Path) -> dict[str, str]:
    """What became of each test of a JUnit report: passed, failed, error or skipped."""
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = {"failure": "failed"}.get(kinds[0], kinds[0]) if kinds else "passed"
    return found


def compare(direct: Mapping[str, str], through: Mapping[str, str], console: Console) -> list[str]:
    """Prints how many ended in which way, and gives a line for each that ended otherwise through the proxy."""
    ways = sorted({*direct.values(), *through.values()})
    table = Table("", *ways, "all")
    for name, results in (("direct", direct), ("through Laconic", through)):
        counts = [sum(result == way for result in results.values()) for way in ways]
        table.add_row(name, *(f"{n:,}" for n in (*counts, len(results))))
    console.print(table)
    names = dict.fromkeys((*direct, *through))
    pairs = ((name, direct.get(name, "absent"), through.get(name, "absent")) for name in names)
    return [f"{name}: {one} directly, {other} through the proxy" for name, one, other in pairs if one != other]


def tell(differences: Sequence[str], console: Console) -> int:
    """Prints the differences. The exit status: 0 where there are none."""
    for line in differences:
        console.print(line, markup=False, highlight=False)
    console.print(f"{len(differences)} differences")
    return 1 if differences else 0
