"""Fuzzes one target with atheris: `python fuzz/run.py TARGET --seconds N`. Needs `pip install laconic[fuzz]`.

What is found is written to `crash-...` in the folder given by `--out`, and the exit status is not 0.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("splice", "answer", "config", "spans", "connection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--out", default=".", help="folder for what is found")
    given = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("fuzz/run.py: atheris is missing: pip install 'laconic[fuzz]'")
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]
    with atheris.instrument_imports(include=["proxy", "compressors", "policies"]):
        target = importlib.import_module("targets").TARGETS[given.target]
    with tempfile.TemporaryDirectory() as corpus:
        for n, seed in enumerate(target.seeds):
            Path(corpus, f"seed-{n}").write_bytes(seed)
        options = [f"-max_total_time={given.seconds}", f"-artifact_prefix={given.out}/", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], corpus, *options], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
