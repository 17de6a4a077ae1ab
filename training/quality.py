"""Step 3: drops the examples that the model spoiled, and shows how the rest is spread.

    python -m training.quality ANNOTATED.jsonl EXAMPLES.jsonl --plots FOLDER

As in LLMLingua-2 (Pan et al., arXiv 2403.12968, section 4.3): first the 5 % with the highest variation rate go (the
model put in words that the text does not have), then, of the others, the 10 % with the highest alignment gap (it took
words from the text that could not be found again where they should stand). An example without such a flaw never goes,
even where fewer than 5 or 10 % have one.

FOLDER gets a histogram of each rate and of what was kept, with the border beyond which
examples went; for that, matplotlib must be there.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training import jsonl

VARIATION, GAP = 0.05, 0.10


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known of an example, see `training.annotate.Annotation`; `kept` is the share of the words."""

    variation: float
    gap: float
    kept: float


@dataclass(frozen=True, slots=True)
class Choice:
    """Examples by their places: those dropped for either rate, in order, and those that stay."""

    varied: tuple[int, ...]
    gapped: tuple[int, ...]
    stay: tuple[int, ...]


def choose(rates: Sequence[Rates], variation: float = VARIATION, gap: float = GAP) -> Choice:
    """Drops the shares `variation` and `gap`, rounded down. Of equals, the one that is worse by the other rate goes
    first, then the later one."""
    everything = range(len(rates))
    varied = _worst(everything, [(rate.variation, rate.gap) for rate in rates], variation)
    rest = [place for place in everything if place not in varied]
    gapped = _worst(rest, [(rate.gap, rate.variation) for rate in rates], gap)
    stay = tuple(place for place in rest if place not in gapped)
    return Choice(tuple(sorted(varied)), tuple(sorted(gapped)), stay)


def _worst(places: Sequence[int], flaws: Sequence[tuple[float, float]], share: float) -> set[int]:
    order = sorted(places, key=lambda place: (*flaws[place], place), reverse=True)
    return {place for place in order[: int(len(places) * share + 1e-9)] if flaws[place][0] > 0}


def read_rates(path: Path) -> list[Rates]:
    """Of what `training.annotate` wrote. Raises `jsonl.BadFile`."""
    found = []
    for number, record in jsonl.read(path):
        names = ("variation_rate", "alignment_gap", "rate")
        found.append(Rates(*(jsonl.number(record, name, f"{path}:{number}") for name in names)))
    return found


def draw(rates: Sequence[Rates], choice: Choice, folder: Path) -> list[Path]:
    """The histograms, into a folder that is made. Returns the files. Raises `ImportError` without matplotlib."""
    from training import plots  # only those who want plots need the library

    folder.mkdir(parents=True, exist_ok=True)
    varied, gapped, stay = (
        [rates[place] for place in places] for places in (choice.varied, choice.gapped, choice.stay)
    )
    found = {
        "variation_rate": plots.Histogram(
            "Variation rate: words of the short form that the text does not have",
            [rate.variation for rate in (*gapped, *stay)],
            [rate.variation for rate in varied],
        ),
        "alignment_gap": plots.Histogram(
            "Alignment gap: words taken from the text that were not found again in it",
            [rate.gap for rate in stay],
            [rate.gap for rate in gapped],
        ),
        "rate": plots.Histogram("Share of the words that the short form kept", [rate.kept for rate in stay]),
    }
    files = {folder / f"{name}.png": plot for name, plot in found.items()}
    for file, plot in files.items():
        plots.draw(plot, file)
    return list(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.quality", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="what training.annotate wrote")
    parser.add_argument("target", type=Path, help="is written anew, with the good lines as they are")
    parser.add_argument("--variation", type=_share, default=VARIATION, help="share to drop; default %(default)s")
    parser.add_argument("--gap", type=_share, default=GAP, help="share to drop of the rest; default %(default)s")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where histograms go")
    given = parser.parse_args(arguments)
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False)
    try:
        rates = read_rates(given.source)
        choice = choose(rates, given.variation, given.gap)
        _write(given.source, given.target, set(choice.stay))
        drawn = draw(rates, choice, given.plots) if given.plots else []
    except (jsonl.BadFile, OSError, ImportError) as error:
        console.print(f"quality: {error}")
        return 1
    console.print(_table(rates, choice))
    console.print(f"{len(choice.stay)} of {len(rates)} examples in {given.target}")
    for path in drawn:
        console.print(f"plot: {path}")
    return 0


def _write(source: Path, target: Path, stay: set[int]) -> None:
    with jsonl.rewrite(target) as out:
        for place, (_, record) in enumerate(jsonl.read(source)):
            if place in stay:
                out.write(jsonl.line(record))


def _table(rates: Sequence[Rates], choice: Choice) -> Table:
    shown = Table("", "examples", "variation rate", "alignment gap", "words kept")
    everything = range(len(rates))
    rows = (
        ("all", everything),
        ("dropped: variation", choice.varied),
        ("dropped: gap", choice.gapped),
        ("stay", choice.stay),
    )
    for name, places in rows:
        of = [rates[place] for place in places]
        means = [sum(values) / len(of) for values in zip(*((r.variation, r.gap, r.kept) for r in of), strict=True)]
        shown.add_row(name, str(len(of)), *(f"{mean:.3f}" for mean in means))
    return shown


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"not a share from 0 to below 1: {text}")
    return share


if __name__ == "__main__":
    sys.exit(main())
