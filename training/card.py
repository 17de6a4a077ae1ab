"""The README of a model that ships: what it is, what it was trained on and under which licences, what it reaches."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from compressors.checkpoint import digest
from training.export_drift import Drift


class Data(Struct, frozen=True):
    """A set that a model was trained on."""

    name: str
    origin: str
    licence: str


class Card(Struct, frozen=True, forbid_unknown_fields=True):
    """What people say about a model; what is measured at export is added. `about` and `limits`: paragraphs."""

    title: str
    about: tuple[str, ...]
    base: str
    licence: str
    data: tuple[Data, ...]
    metrics: Mapping[str, float | str]
    limits: tuple[str, ...]
    made: str


def written(card: Card, drift: Drift, folder: Path) -> str:
    """The card in Markdown, for the files that lie in `folder`."""
    files = sorted(path for path in folder.iterdir() if path.name != "README.md")
    return "\n".join(
        [
            f"# {card.title}\n",
            *(f"{paragraph}\n" for paragraph in card.about),
            f"Licence: {card.licence}. Starts from {card.base}. Made by `{card.made}`.\n",
            "## Trained on\n",
            "| set | origin | licence |\n|---|---|---|",
            *(f"| {data.name} | {data.origin} | {data.licence} |" for data in card.data),
            "\nOf each the part that may be trained on, split by document (`training/`); measured is the rest.",
            "\n## Measured\n",
            "| what | |\n|---|--:|",
            *(f"| {what} | {_number(value)} |" for what, value in card.metrics.items()),
            f"\nWhat int8 changes, on {drift.texts} held texts: rank correlation of the scores with those of float32 "
            f"{drift.rank:.4f}; {drift.metric} {drift.before:.4f} before, {drift.after:.4f} after.\n",
            "## What it is not\n",
            *(f"* {limit}" for limit in card.limits),
            "\n## Files\n",
            "| file | bytes | sha256 |\n|---|--:|---|",
            *(f"| `{path.name}` | {path.stat().st_size:,} | `{digest(path)}` |" for path in files),
            "",
        ]
    )


def _number(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
