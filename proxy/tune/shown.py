"""What a run found: as a table, as a picture, and as the policy that was chosen."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from proxy.tune import TuneError
from proxy.tune.candidates import as_toml
from proxy.tune.frontier import frontier
from proxy.tune.options import Options
from proxy.tune.sweep import Tried

NAME = "tuned"
WRITTEN = "# Written by `laconic tune`"


def show(tried: Sequence[Tried], chosen: Tried, measure: str, console: Console) -> None:
    """A row a candidate, those that save most first."""
    best = frontier(tried)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("policy", overflow="fold")
    for name in ("net $", "gross $", "tokens saved", "ms", measure, ""):
        table.add_column(name, justify="right", overflow="fold")
    for one in sorted(tried, key=lambda t: (-t.saved.net, -t.quality)):
        saved, spread = one.saved, "" if one.spread is None else f" ±{one.spread:.3f}"
        mark = "chosen" if one is chosen else "frontier" if one in best else ""
        money = (f"{saved.net:.4f}", f"{saved.gross:.4f}", f"{saved.tokens:.1%}", f"{saved.seconds * 1000:.1f}")
        table.add_row(one.candidate.name, *money, f"{one.quality:.3f}{spread}", mark)
    console.print(table)


def policy(chosen: Tried, requests: int, measure: str) -> str:
    """The chosen policy as TOML, with what is known of it."""
    saved = chosen.saved
    known = (
        f"{WRITTEN} from {requests} requests: {chosen.candidate.name}.",
        f"# Net ${saved.net:.4f} for 1,000 requests (gross ${saved.gross:.4f}), {saved.tokens:.1%} of their tokens; "
        f"{measure} {chosen.quality:.3f}.",
    )
    return "\n".join((*known, as_toml(NAME, chosen.candidate.table)))


def check_files(options: Options) -> None:
    """Raises `TuneError` where something that this command did not write would be lost, or cannot be written."""
    _check(options.out, WRITTEN, "not written by this command, so it stays; name another file with --out")
    written = [options.out]
    if options.plot is not None:
        if find_spec("matplotlib") is None:
            raise TuneError("--plot needs matplotlib: pip install 'laconic[plot]'")
        _check(options.plot, "<?xml", "no picture, so it stays; name another file with --plot")
        written.append(options.plot)
    if options.upstream is not None:
        written.append(options.answers)
    places = [path.resolve() for path in (*options.traffic, *written)]
    if twice := next((path for path in written if places.count(path.resolve()) > 1), None):
        raise TuneError(f"{twice}: would be written over by another file of this run; name others")


def _check(path: Path, begins: str, otherwise: str) -> None:
    try:
        if path.exists() and not path.read_bytes().startswith(begins.encode()):
            raise TuneError(f"{path}: {otherwise}")
    except OSError as error:
        raise TuneError(f"{path}: {error.strerror}") from None
    folder = path.absolute().parent
    if not folder.is_dir():
        raise TuneError(f"{path}: there is no such folder")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise TuneError(f"{path}: may not be written")


def plot(tried: Sequence[Tried], chosen: Tried, measure: str, path: Path) -> None:
    """Net $ against quality as SVG. Needs matplotlib."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    best = frontier(tried)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="net $ saved for 1,000 requests", ylabel=measure, title="Policies on recorded requests"
    )
    axes.grid(alpha=0.3)
    axes.margins(x=0.15)
    axes.scatter([t.saved.net for t in tried], [t.quality for t in tried], s=20, color="0.65")
    axes.plot([t.saved.net for t in best], [t.quality for t in best], "o-", color="tab:blue", markersize=5)
    axes.plot(chosen.saved.net, chosen.quality, "o", color="tab:red", markersize=9)
    for one in best if chosen in best else (*best, chosen):
        place = (one.saved.net, one.quality)
        axes.annotate(one.candidate.name, place, (6, 4), textcoords="offset points", fontsize=8)
    with rc_context({"svg.hashsalt": "laconic"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
