"""Quality against tokens kept: a picture a metric, a panel a set, a curve a method, bands for the intervals."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from judge.estimates import Row
from judge.methods import NOTHING, ORIGINAL
from judge.sets import SETS

METRICS = {
    "answers": "Answers kept",
    "evidence": "Evidence kept",
    "chain": "All evidence of a question kept",
    "numbers": "Numbers kept",
    "names": "Names kept",
    "negations": "Negations kept",
    "topics": "Words of reference answers kept",
    "slots": "Values of the dialogue kept",
    "f1": "F1 of a reader",
}
_ACROSS = 4
_MOST = 0.75  # tokens kept; who keeps more has not done what was asked
_COLOURS = {  # Okabe and Ito's, which most can tell apart; ours in the strong ones
    "lexical": "#0072B2",
    "pruner": "#D55E00",
    "classifier": "#009E73",
    "bm25 sentences": "#56B4E9",
    "bi-encoder sentences": "#CC79A7",
    "passages": "#E69F00",
    "random": "#999999",
    "random words": "#BBBBBB",
    "ends": "#666666",
    "word rarity": "#B8A000",
}
_OURS = ("lexical", "pruner", "classifier")


def draw(rows: Sequence[Row], target: Path) -> list[Path]:
    """`target_METRIC.png` for every metric that any row has. Raises `ImportError` without matplotlib."""
    from matplotlib.figure import Figure

    written = []
    for metric, title in METRICS.items():
        names = [n for n in SETS if any(_point(row, metric) and row.set == n and row.size not in "10" for row in rows)]
        if not names:
            continue
        across = min(_ACROSS, len(names))
        down = ceil(len(names) / across)
        figure = Figure(figsize=(3.1 * across, 2.7 * down + 0.9), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False)
        for panel, name in zip(panels.flat, names, strict=False):
            _panel(panel, [row for row in rows if row.set == name], metric, name)
        for panel in panels.flat[len(names) :]:
            panel.set_axis_off()
        figure.suptitle(f"{title}, against the share of tokens kept")
        curves = {label: line for p in panels.flat for line, label in zip(*p.get_legend_handles_labels(), strict=True)}
        figure.legend(curves.values(), curves.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
        path = target.with_name(f"{target.name}_{metric}.png")
        figure.savefig(path, dpi=110, metadata={"Software": ""})
        written.append(path)
    return written


def _point(row: Row, metric: str) -> bool:
    return metric in row.metrics and "kept" in row.metrics


def _panel(panel: Any, rows: Sequence[Row], metric: str, name: str) -> None:
    panel.set_title(name, fontsize=10)
    panel.grid(alpha=0.25)
    panel.tick_params(labelsize=8)
    panel.set_xlim(0, _MOST)
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method and _point(row, metric)]
        if method == NOTHING or not own:
            continue
        if method == ORIGINAL:
            panel.axhline(own[0].metrics[metric][0], color="black", linewidth=0.8, linestyle=":", label=ORIGINAL)
            continue
        own.sort(key=lambda row: row.metrics["kept"][0])
        kept = [row.metrics["kept"][0] for row in own]
        values, lows, highs = zip(*(row.metrics[metric] for row in own), strict=True)
        ours = method in _OURS
        colour = _COLOURS.get(method)
        (line,) = panel.plot(
            kept, values, color=colour, marker="o", markersize=3, linewidth=2 if ours else 1, label=method
        )
        if ours:
            panel.fill_between(kept, lows, highs, color=line.get_color(), alpha=0.12, linewidth=0)
