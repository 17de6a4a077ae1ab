"""Histograms of examples: those that stay, and those that were dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

_STAY, _GONE = "#4878a8", "#c8553d"


@dataclass(frozen=True, slots=True)
class Histogram:
    """How the values of examples are spread: of those that stay, and of those that were dropped for theirs."""

    title: str
    stay: Sequence[float]
    dropped: Sequence[float] = ()


def draw(plot: Histogram, target: Path) -> None:
    """Writes the plot, in the format that the file's ending names. Counts are on a logarithmic axis, since what matters
    here is a thin tail."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    dropped = f"dropped: {len(plot.dropped):,}"
    if plot.dropped:
        dropped += f", from {min(plot.dropped):.3g} on"
        axes.axvline(min(plot.dropped), color=_GONE, linestyle="--", linewidth=1)
    labels = [f"stay: {len(plot.stay):,}", dropped][: 1 + bool(plot.dropped)]
    values = [plot.stay, plot.dropped][: len(labels)]
    axes.hist(values, bins=40, stacked=True, color=[_STAY, _GONE][: len(labels)], label=labels)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(title=plot.title, ylabel="examples", ylim=(0, None))
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    axes.legend()
    figure.savefig(target, dpi=150)
