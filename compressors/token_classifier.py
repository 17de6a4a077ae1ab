"""Token classification: how likely is each token to be kept, for rows of token ids."""

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, open_checkpoint
from compressors.device import RowModel, device
from compressors.encoders.engine import engine
from compressors.encoders.onnx import OnnxEncoder

_loaded: "WeakValueDictionary[tuple[Path, str, str], TokenClassifier]" = WeakValueDictionary()
_lock = threading.Lock()


class TokenClassifier:
    """A token classification model of two labels, of which 1 means "keep", on one device.

    `first` and `last` are the tokens around a text; `longest` is how many tokens a row may have, these included.
    The model is loaded with the first row. Safe to call from several threads; their rows are computed together.
    """

    def __init__(self, checkpoint: Checkpoint, name: str, precision: str) -> None:
        self.checkpoint = checkpoint
        self.device = device(name)
        self._model, self.engine = _engine(checkpoint, self.device.name, precision)
        around = checkpoint.tokenizer.encode("").ids
        if len(around) != 2:
            raise Unavailable(f"{checkpoint.folder}: the tokenizer puts {len(around)} tokens around a text, not two")
        self.first, self.last = around
        if len(checkpoint.config.get("id2label", "01")) < 2:
            raise Unavailable(f"{checkpoint.folder}: a model of one label does not tell what to keep")
        self.longest = _longest(checkpoint)

    @cached_property
    def version(self) -> str:
        """The checkpoint's, and what computes it: engine and precision."""
        return f"{self.checkpoint.version} {self.engine}"

    def keep(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """For each row of ids, special tokens included, the probability that each id is kept.

        Raises `Unavailable` where the model cannot be loaded or the device fails, `Cancelled`, and `ValueError` for a
        row that is empty or too long.
        """
        if wrong := [len(row) for row in rows if not 0 < len(row) <= self.longest]:
            raise ValueError(f"a row of {wrong[0]} tokens; between 1 and {self.longest} are possible")
        return [_keep(logits) for logits in self.device.rows(self._model, rows, [len(row) for row in rows])]


def token_classifier(model: str, device: str = "auto", precision: str = "auto") -> TokenClassifier:
    """The classifier of a checkpoint, one a process for each device and precision, kept as long as somebody holds it.

    Raises `Unavailable`.
    Models like BERT run in int8 or fp32 on a CPU without torch, int8 by default; others, and all on a GPU, in torch:
    bf16 or fp16 by default on a GPU, fp32 on a CPU.
    """
    checkpoint = open_checkpoint(model)
    key = (checkpoint.folder, device, precision)
    with _lock:
        if (found := _loaded.get(key)) is None:
            found = _loaded[key] = TokenClassifier(checkpoint, device, precision)
        return found


def _engine(checkpoint: Checkpoint, place: str, precision: str) -> tuple[RowModel[Any], str]:
    encoder, name = engine(checkpoint, place, precision)
    if isinstance(encoder, OnnxEncoder) and not encoder.shape.head:
        raise Unavailable(f"{checkpoint.folder} holds no token classifier: it has no labels for tokens")
    return encoder, name


def _longest(checkpoint: Checkpoint) -> int:
    """Positions that the model has; those of the RoBERTa family begin after the padding's."""
    config = checkpoint.config
    longest = config.get("max_position_embeddings")
    if not isinstance(longest, int):
        raise Unavailable(f"{checkpoint.folder}: config.json tells no max_position_embeddings")
    roberta = str(config.get("model_type")) in ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")
    return longest - (config.get("pad_token_id", 1) + 1 if roberta else 0)


def _keep(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The softmax's probability of label 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers[:, 1] / powers.sum(axis=1), np.float32)
