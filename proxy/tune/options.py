"""What `laconic tune` may be told. Read whenever the command line is: imports next to nothing."""

import argparse
from dataclasses import dataclass
from pathlib import Path

OUT = Path("laconic.policy.toml")


@dataclass(frozen=True, slots=True)
class Options:
    """See `add` for what each stands for."""

    traffic: tuple[Path, ...]
    out: Path = OUT
    plot: Path | None = None
    upstream: str | None = None
    key_env: str | None = None
    budget_usd: float = 1.0
    quality: float = 0.95
    model: str | None = None
    requests: int = 200
    seconds: float = 600.0
    models: bool = True

    @property
    def answers(self) -> Path:
        return self.out.with_suffix(".answers.jsonl")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("traffic", nargs="+", type=Path, metavar="TRAFFIC", help="what [recording] wrote")
    parser.add_argument("--config", metavar="FILE", type=Path, help="for prices, the deadline and usd_per_second")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default {OUT}")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the frontier (needs laconic[plot])")
    parser.add_argument("--upstream", metavar="URL", help="ask it for answers; without it, quality is an estimate")
    parser.add_argument("--key-env", metavar="NAME", help="the environment variable with its key")
    parser.add_argument(
        "--budget-usd", type=float, default=1.0, metavar="N", help="for answers in this run (default 1)"
    )
    parser.add_argument("--quality", type=float, default=0.95, metavar="Q", help="at least, 0 to 1 (default 0.95)")
    parser.add_argument("--model", help="take all requests to name this model")
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="of so many, drawn (default 200)")
    parser.add_argument("--seconds", type=float, default=600, metavar="S", help="for trying policies (default 600)")
    parser.add_argument("--no-models", action="store_true", help="only compressors that run no model")


def options(given: argparse.Namespace) -> Options | str:
    """What was given, or what is wrong with it."""
    if not 0 < given.quality <= 1:
        return "--quality must be above 0 and at most 1"
    if given.requests < 1:
        return "--requests must be at least 1"
    if not given.seconds > 0 or not given.budget_usd > 0:
        return "--seconds and --budget-usd must be above 0"
    if given.key_env is not None and given.upstream is None:
        return "--key-env is of no use without --upstream"
    names = ("out", "plot", "upstream", "key_env", "budget_usd", "quality", "model", "requests", "seconds")
    return Options(tuple(given.traffic), **{n: getattr(given, n) for n in names}, models=not given.no_models)
