"""The tests of openai-python against a mock of the provider, directly and through the proxy: the same must fail.

    python benchmarks/blackbox/openai_python.py --checkout DIR --python PYTHON --steady COMMAND [--policy balanced]
        [--tests tests/api_resources ...]

DIR is a checkout of openai/openai-python at a release, PYTHON an interpreter that has its test requirements, COMMAND
the mock server that the suite is made for (`npm install @stdy/cli`). The description is the one in the checkout.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

sys.path.append(str(Path(__file__).parent.parent))

from blackbox.beside import compare, junit, mocked, program, tell

DESCRIPTION = Path("api_reference", "openapi.transformed.yml")


def results(given: argparse.Namespace, url: str) -> dict[str, str]:
    """What became of each test against this base URL."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [program(given.python), "-m", "pytest", "-q", "-n", "0", f"--junit-xml={report}", *given.tests]
        environment = {**os.environ, "TEST_API_BASE_URL": url, "DEFER_PYDANTIC_BUILD": "false"}
        environment.pop("PYTHONPATH", None)
        ended = subprocess.run(command, cwd=given.checkout, env=environment, capture_output=True, check=False)
        if not report.exists():
            raise SystemExit(ended.stdout.decode()[-3000:] + ended.stderr.decode()[-3000:])
        return junit(report)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkout", type=Path, required=True, metavar="DIR")
    parser.add_argument("--python", required=True)
    parser.add_argument("--steady", required=True, metavar="COMMAND")
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--tests", nargs="+", default=["tests"])
    given = parser.parse_args(words)
    console = Console()
    with mocked(given.steady, given.checkout / DESCRIPTION, given.policy) as pair:
        direct, through = results(given, pair.direct), results(given, pair.through)
    return tell(compare(direct, through, console), console)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
