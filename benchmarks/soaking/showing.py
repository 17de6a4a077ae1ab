"""The report of a soak: tables, a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from soaking.book import Book
from soaking.watching import Sample, Slope

UNITS = {"resident": "resident, MB", "descriptors": "descriptors", "threads": "threads"}


def show(console: Console, book: Book, samples: Sequence[Sample], slopes: Mapping[str, Slope]) -> None:
    table = Table("kind", "requests", "wrong", "answers by status", "by outcome", title="what was sent")
    for name, it in book.tallies.items():
        told = [" ".join(f"{key or 'none'}: {n}" for key, n in c.most_common()) for c in (it.statuses, it.outcomes)]
        table.add_row(name, f"{it.sent:,}", str(it.wrong or ""), *told)
    console.print(table)
    table = Table("", "first", "last", "most", "an hour, after the warm-up (95 %)", title="what it used")
    for name, unit in UNITS.items():
        values = [float(getattr(sample, name)) for sample in samples]
        slope = slopes.get(name)
        change = (
            "too few samples" if slope is None else f"{slope.per_hour:+.1f} ({slope.low:+.1f} to {slope.high:+.1f})"
        )
        if values:
            table.add_row(unit, *(f"{value:.0f}" for value in (values[0], values[-1], max(values))), change)
    console.print(table)


def draw(samples: Sequence[Sample], file: Path) -> None:
    """Raises `ImportError` without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(UNITS), 1, sharex=True, figsize=(9, 7))
    minutes = [sample.seconds / 60 for sample in samples]
    for (name, unit), axis in zip(UNITS.items(), axes, strict=True):
        axis.plot(minutes, [getattr(sample, name) for sample in samples], linewidth=1)
        axis.set_ylabel(unit)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
