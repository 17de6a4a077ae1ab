"""Schemathesis, by OpenAI's own description, against a mock of the provider, directly and through the proxy.

    python benchmarks/blackbox/openapi.py --description openapi.yaml --schemathesis COMMAND --steady COMMAND
        [--policy balanced] [--examples 5] [--operations REGEX] [--phases examples,coverage,fuzzing]

The description is openapi.yaml of openai/openai-openapi, COMMAND `schemathesis` (PyPI) and the mock server `steady`
(npm, @stdy/cli). Both runs make the same requests: the generation is deterministic. Not that nothing fails counts, for
the mock has faults of its own, but that the same fails with and without us.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parent.parent))

from blackbox.beside import mocked, program, tell, versioned

Case = tuple[str, str, str]
"""An operation, and either a status of an answer or a check that failed."""


def run(given: argparse.Namespace, url: str, description: Path) -> Counter[Case]:
    """How often each operation was answered in which way, and failed which check."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "events.ndjson")
        command = [program(given.schemathesis), "run", str(description), "--url", url.removesuffix("/v1"), "--no-color"]
        command += ["--phases", given.phases, "--max-examples", str(given.examples), "--continue-on-failure"]
        command += ["--generation-deterministic", "--no-shrink"]
        command += ["--suppress-health-check", "all", "--header", "Authorization: Bearer sk-none"]
        command += ["--report", "ndjson", "--report-ndjson-path", str(report)]
        command += ["--include-path-regex", given.operations] if given.operations else []
        ended = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if not report.exists():
            raise SystemExit(ended.stdout.decode()[-3000:] + ended.stderr.decode()[-3000:])
        return Counter(case for line in report.read_bytes().splitlines() for case in cases(json.loads(line)))


def cases(event: Any) -> Iterator[Case]:
    """What one event of the report tells of answers and checks."""
    recorder = event.get("ScenarioFinished", {}).get("recorder", {})
    label = recorder.get("label", "")
    for interaction in recorder.get("interactions", {}).values():
        answer = interaction.get("response")
        yield label, "status", str(answer["status_code"]) if answer else "none"
    for checks in recorder.get("checks", {}).values():
        yield from ((label, "failed", check["name"]) for check in checks if check["status"] == "failure")


def show(console: Console, direct: Counter[Case], through: Counter[Case]) -> list[str]:
    """Prints totals by status and check; gives a line for each operation that differs."""
    table = Table("", "direct", "through Laconic")
    for kind in sorted({(way, name) for _, way, name in (*direct, *through)}):
        counts = [sum(n for case, n in it.items() if case[1:] == kind) for it in (direct, through)]
        table.add_row(" ".join(kind), *(f"{n:,}" for n in counts))
    console.print(table)
    return [
        f"{' '.join(case)}: {direct[case]} directly, {through[case]} through the proxy"
        for case in dict.fromkeys((*direct, *through))
        if direct[case] != through[case]
    ]


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--description", type=Path, required=True, metavar="FILE")
    parser.add_argument("--schemathesis", required=True, metavar="COMMAND")
    parser.add_argument("--steady", required=True, metavar="COMMAND")
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--examples", type=int, default=5, help="for each operation (default 5)")
    parser.add_argument("--operations", metavar="REGEX", help="only paths that match")
    parser.add_argument("--phases", default="examples,coverage,fuzzing")
    given = parser.parse_args(words)
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory() as folder, mocked(given.steady, given.description, given.policy) as pair:
        description = versioned(given.description, Path(folder))
        direct, through = run(given, pair.direct, description), run(given, pair.through, description)
    return tell(show(console, direct, through), console)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
