"""Breaks each promise on purpose and demands that its tests fail: `python tests/sabotage.py [--only 7 14]`.

What is broken and which tests must fail stands in `sabotage.toml`. The tree is copied to a temporary folder. There one
break at a time is made and the tests that are to catch it are run, once they have passed without it. A test counts as
failed where it fails or errors by itself; one that cannot be collected, or that only finds a name or a module
missing, does not. Exit status: 0 where every break was caught by every test named for it, else 1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from xml.etree import ElementTree

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).parent
SKIPPED = (".git", "__pycache__", ".*_cache", ".venv", "node_modules", "results", "shared", "*.egg-info", ".hypothesis")
SECONDS = 60
"""That a test may take: some breaks make it hang."""
ACCIDENTS = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "UnboundLocalError")
"""Errors of a break that is itself badly written."""


@dataclass(frozen=True, slots=True)
class Break:
    """In `file`, `old` becomes `new`; each of `tests` (below `tests/`) must fail then."""

    promise: int
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def broken(self, text: str) -> str:
        """The text of the file after the break. Raises `ValueError` where `old` does not stand there exactly once."""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.file}: the old text of {self.what!r} stands there {found} times, not once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Sheet:
    promises: dict[int, str]
    breaks: tuple[Break, ...]


def read(path: Path = HERE / "sabotage.toml") -> Sheet:
    found = tomllib.loads(path.read_text("utf-8"))
    breaks = tuple(Break(**{**one, "tests": tuple(one["tests"])}) for one in found["break"])
    return Sheet({int(number): words for number, words in found["promises"].items()}, breaks)


def failed(tree: Path, tests: Iterable[str]) -> tuple[frozenset[str], str]:
    """Which of the tests fail by themselves in this tree, and the end of what pytest said."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    wanted = [f"tests/{test}" for test in dict.fromkeys(tests)]
    options = ["-q", "-p", "no:cacheprovider", f"--timeout={SECONDS}", f"--junitxml={report}", "--tb=line"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_DATABASE": "none"}
    run = [sys.executable, "-m", "pytest", *options, *wanted]
    done = subprocess.run(run, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()
    return frozenset(_failures(cases)), "\n".join(done.stdout.splitlines()[-15:])


def _failures(cases: Iterable[ElementTree.Element]) -> Iterator[str]:
    for case in cases:
        said = [child.get("message", "") for child in case if child.tag in ("failure", "error")]
        where = case.get("classname", "").removeprefix("tests.").replace(".", "/")
        if said and where and not said[0].startswith((*ACCIDENTS, "collection failure")):
            yield f"{where}.py::{case.get('name', '').partition('[')[0]}"


def caught(tree: Path, one: Break) -> tuple[frozenset[str], str]:
    """Which of a break's tests fail, with the break made in the tree and taken back afterwards."""
    file = tree / one.file
    text = file.read_text("utf-8")
    file.write_text(one.broken(text), "utf-8")
    try:
        return failed(tree, one.tests)
    finally:
        file.write_text(text, "utf-8")


def sabotage(breaks: Sequence[Break], promises: dict[int, str], console: Console) -> bool:
    """Whether every break was caught by all of its tests. Prints a table. Raises `ValueError` where the tree as it is
    does not pass, or the table does not fit it."""
    with tempfile.TemporaryDirectory(prefix="laconic-sabotage-") as folder:
        tree = Path(folder) / "tree"
        copytree(HERE.parent, tree, ignore=ignore_patterns(*SKIPPED))
        table = Table("", "promise", "what was broken", "test", "", title="Sabotage", title_justify="left")
        good, passed = True, set[tuple[str, ...]]()
        for one in track(breaks, "breaking", console=console):
            if one.tests not in passed:
                already, said = failed(tree, one.tests)
                if already or " passed" not in said:
                    raise ValueError(f"without any break: {', '.join(sorted(already))}\n{said}")
                passed.add(one.tests)
            found, said = caught(tree, one)
            for test in one.tests:
                mark = "caught" if test in found else "[bold red]NOT caught"
                table.add_row(str(one.promise), promises[one.promise], one.what, test, mark)
            console.print(f"{one.promise}: {one.what}")
            if missed := set(one.tests) - found:
                good = False
                console.print(f"[bold red]NOT caught[/bold red] by {', '.join(sorted(missed))}\n{escape(said)}")
    console.print(table)
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Breaks each promise on purpose; its tests must fail.")
    parser.add_argument("--only", nargs="+", type=int, metavar="N", help="numbers of promises")
    options = parser.parse_args(arguments)
    table = read()
    breaks = [one for one in table.breaks if not options.only or one.promise in options.only]
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        good = sabotage(breaks, table.promises, console)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    promises = len({one.promise for one in breaks})
    console.print(f"{len(breaks)} breaks of {promises} promises: {'all' if good else 'NOT all'} caught")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
