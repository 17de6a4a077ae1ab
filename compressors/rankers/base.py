"""What ranks passages by a question: every ranker gives one number a passage, higher is better."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Options:
    """What a ranker may be told; each reads what concerns it. `model`: hub name or folder; empty: the ranker's own.
    `mode`: for perplexity, where the question stands (see `rankers.perplexity`)."""

    model: str = ""
    device: str = "auto"
    precision: str = "auto"
    mode: str = "after"


class Ranker(Protocol):
    """Ranks passages. Stateless between calls; made cheaply, its model is loaded when first used."""

    @property
    def version(self) -> str:
        """Algorithm, settings and the hash of the model. Raises `Unavailable` where the model is not there."""
        ...

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[Scores]:
        """For each query, one finite number a document of its own; comparable within the query only.

        A blank query asks how telling each document is by itself. Raises `CompressionError` where it cannot.
        """
        ...

    def warm_up(self) -> None:
        """Loads the model and runs it once. Raises `CompressionError` where that is not possible."""
        ...


def finite(scores: Sequence[float]) -> Scores:
    """A document of which nothing could be scored is as good as the worst."""
    found = np.array(scores, np.float64)
    known = np.isfinite(found)
    return np.where(known, found, found[known].min() if known.any() else 0.0)
