"""What each arm saves, a panel a model line, bars by workload."""

from pathlib import Path

from promptcache.replay import LINES
from promptcache.table import Result

_COLOURS = ("#999999", "#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito's
_FLOOR = -1.0  # bars that go lower are cut off


def draw(result: Result, target: Path) -> None:
    """Raises `ImportError` without matplotlib."""
    from matplotlib.figure import Figure

    arms, workloads = result.arms[1:], result.workloads
    figure = Figure(figsize=(2.6 * len(LINES) + 2.5, 0.42 * len(workloads) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(LINES), sharey=True, squeeze=False)[0]
    height = 0.8 / len(arms)
    for panel, line in zip(panels, LINES, strict=True):
        for n, arm in enumerate(arms):
            values = [100 * max(_FLOOR, result.saving(w, line, arm)) for w in workloads]
            places = [row + n * height for row in range(len(workloads))]
            panel.barh(places, values, height, label=arm, color=_COLOURS[n % len(_COLOURS)])
        panel.axvline(0, color="black", linewidth=0.8)
        panel.set_title(line.name, fontsize=10)
        panel.grid(axis="x", alpha=0.25)
        panel.tick_params(labelsize=8)
        panel.set_xlabel("% saved", fontsize=8)
    panels[0].set_yticks([row + 0.4 - height / 2 for row in range(len(workloads))], workloads)
    panels[0].set_ylim(len(workloads) - height, -height)
    labels = panels[0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=len(arms), fontsize=8, frameon=False)
    figure.savefig(target, dpi=110, metadata={"Software": ""})
