"""Likeness of texts by words and by what they mean, where the encoder that ships with us can read them.

The mean of both: of a paraphrase half is forgiven, by its meaning; a changed figure or a dropped "not", which hardly
moves a vector, still counts by its word. The larger of the two would let these pass.
"""

import logging
from collections.abc import Sequence

import numpy as np

from compressors import CompressionError, Unavailable, languages
from compressors.embedding import Embedder, Text, embedder
from compressors.features import WINDOW
from compressors.pruner import PrunerSettings
from proxy.guard.compare import Likeness, word_f1

MODEL = "laconic/pruner"
LONGEST = 16 * WINDOW
"""Characters; longer texts are not even cut into pieces, which takes 0.4 ms a thousand and holds the interpreter.
English has four or five to a piece."""

log = logging.getLogger("laconic.guard")


class Meaning:
    """Loads the encoder with the first texts. For one thread; waits for the device."""

    def __init__(self) -> None:
        self._embedder: Embedder | None = None
        self._lost = False

    def likeness(self, texts: Sequence[str]) -> Likeness:
        """For these texts among each other. Words alone count for all of them where one is no English, is longer than
        the encoder's window, or there is no encoder: the measure is to be the same for each pair."""
        try:
            vectors = self._vectors(texts)
        except CompressionError as error:
            vectors = None
            if isinstance(error, Unavailable):
                self._lost = True
                log.warning("quality guard: words alone are compared, the encoder %s cannot be had: %s", MODEL, error)
        if vectors is None:
            return word_f1
        known = dict(zip(texts, vectors, strict=True))
        return lambda one, other: (word_f1(one, other) + max(0.0, float(known[one] @ known[other]))) / 2

    def _vectors(self, texts: Sequence[str]) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]] | None:
        """Of length 1, the mean of a text's pieces. None where the encoder is not for them."""
        if self._lost or max(map(len, texts)) > LONGEST or not languages.reads(("en",), " ".join(texts)):
            return None
        if self._embedder is None:
            self._embedder = embedder(MODEL, room=PrunerSettings().cache_mb * 2**20)  # the pruner's own, if it runs
        found = self._embedder.embed([Text("", (), (), text) for text in texts])
        pieces = [one.question for one in found if one is not None]
        if len(pieces) < len(texts) or not all(0 < len(vectors) < WINDOW - 2 for vectors in pieces):
            return None
        means = [vectors.mean(axis=0) for vectors in pieces]
        return [mean / max(1e-9, float(np.linalg.norm(mean))) for mean in means]
