"""What weighs the features of a unit: a small hidden layer beside a linear one, in numpy, read from `head.json`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressors.base import Unavailable
from compressors.features import NAMES, WINDOW, Floats

FILE = "head.json"
_SOFT = 2.0  # logits below the best one that make a score about a third smaller
_WEIGHTS = ("mean", "scale", "hidden", "bias", "out", "skip")
_OPENING = NAMES.index("opening")


@dataclass(frozen=True, slots=True)
class Head:
    """`hidden` (features, units) with `bias`, then `out`; `skip` weighs the features themselves. They come in with
    `mean` taken off and divided by `scale`. `passage`: the share of its passage's best logit that each unit gets."""

    mean: Floats
    scale: Floats
    hidden: Floats
    bias: Floats
    out: Floats
    skip: Floats
    passage: float = 0.0

    def score(self, known: Floats) -> Floats:
        """For each row of `features.NAMES` how likely it is to be wanted, against the likeliest one: 0..1."""
        logits = self.logits(known)
        first = np.flatnonzero(known[:, _OPENING])  # every passage has its opening
        if len(first):
            best = np.maximum.reduceat(logits, first)
            logits = np.asarray(logits + self.passage * np.repeat(best, np.diff([*first, len(logits)])), np.float32)
        return np.asarray(2 / (1 + np.exp((logits.max(initial=-np.inf) - logits) / _SOFT)), np.float32)

    def logits(self, known: Floats) -> Floats:
        given = (known - self.mean) / self.scale
        inner = given @ self.hidden + self.bias
        # The usual approximation of GELU by tanh (Hendrycks and Gimpel, arXiv 1606.08415).
        inner = inner * 0.5 * (1 + np.tanh(0.7978845608 * (inner + 0.044715 * inner**3)))
        return np.asarray(inner @ self.out + given @ self.skip, np.float32)


def load(folder: Path) -> Head:
    """The head of a model folder. Raises `Unavailable` where it has none, or one for other features."""
    path = folder / FILE
    try:
        read: dict[str, Any] = json.loads(path.read_bytes())
        weights = {name: np.array(read[name], np.float32) for name in _WEIGHTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{path} is no head of a pruner: {error!r}") from error
    if read.get("features") != list(NAMES) or read.get("window") != WINDOW:
        raise Unavailable(f"{path} was made for other features than this version has")
    return Head(**weights, passage=float(read.get("passage", 0)))


def save(head: Head, folder: Path, facts: dict[str, Any]) -> None:
    """Writes `head.json`. `facts`: what else should stand there (layers, pooling, training)."""
    weights = {name: getattr(head, name).round(5).tolist() for name in _WEIGHTS}
    made = {"features": NAMES, "window": WINDOW, **facts, "passage": head.passage, **weights}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(made) + "\n", encoding="utf-8")
