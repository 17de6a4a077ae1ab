"""Token classification: how likely is each token to be kept, for rows of token ids."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, missing, open_checkpoint

_loaded: dict[tuple[Path, str, str], "TokenClassifier"] = {}
_lock = threading.Lock()


class TokenClassifier:
    """A token classification model of two labels, of which 1 means "keep"."""

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str) -> None:
        self.checkpoint = checkpoint
        self.device, self.precision = device, precision  # not looked at yet
        self.version = f"{checkpoint.version[:16]}-fp32"
        around = checkpoint.tokenizer.encode("").ids
        if len(around) != 2:
            raise Unavailable(f"{checkpoint.folder}: the tokenizer puts {len(around)} tokens around a text, not two")
        self.first, self.last = around
        config = checkpoint.config
        offset = config["pad_token_id"] + 1 if "roberta" in config["model_type"] else 0
        self.longest: int = config["max_position_embeddings"] - offset
        self._model: Any = None
        self._running = threading.Lock()

    def keep(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """For each row of ids, special tokens included, the probability that each id is kept."""
        try:
            import torch
            from transformers import AutoModelForTokenClassification
        except ImportError as error:
            raise missing("torch", "gpu") from error
        found = []
        with self._running, torch.inference_mode():
            if self._model is None:
                self._model = AutoModelForTokenClassification.from_pretrained(
                    self.checkpoint.folder, use_safetensors=True, trust_remote_code=False
                ).eval()
            for row in rows:
                logits = self._model(input_ids=torch.tensor([list(row)])).logits[0].float()
                found.append(np.asarray(logits.softmax(-1)[:, 1].numpy(), np.float32))
        return found


def token_classifier(model: str, device: str = "auto", precision: str = "auto") -> TokenClassifier:
    """The classifier of a checkpoint, loaded once a process for each device and precision. Raises `Unavailable`."""
    checkpoint = open_checkpoint(model)
    key = (checkpoint.folder, device, precision)
    with _lock:
        if key not in _loaded:
            _loaded[key] = TokenClassifier(checkpoint, device, precision)
        return _loaded[key]
