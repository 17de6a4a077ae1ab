"""Encoders in torch: any architecture that transformers knows, on a GPU or a CPU. Never a checkpoint's own code, never
pickled weights."""

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.checkpoint import Checkpoint
from compressors.encoders.place import dtype, load_torch
from compressors.encoders.pretrained import from_small, pretrained
from compressors.encoders.weights import GRAPH

Row = Sequence[int]


class TorchEncoder:
    """A model with a head for tokens. Rows of a batch are padded to the longest; what is padding is not looked at.

    A row's result varies with the batch by the noise of its precision: about 1e-6 of a probability in fp32, 1e-2 in
    bf16.
    """

    parallel = False  # torch uses all cores for one batch, and a GPU has one queue

    def __init__(self, checkpoint: Checkpoint, place: str, precision: str, head: bool = True) -> None:
        self.checkpoint = checkpoint
        self.head = head
        self.place = place
        self.dtype = dtype(place, precision)
        self.precision = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}[str(self.dtype).split(".")[1]]
        # A GPU is quick with many rows at once, padding included; a CPU pays for each token.
        self.budget, self.fill = (2048, 0.9) if place == "cpu" else (32768, 0.5)
        self._loading = threading.Lock()

    def run(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """(tokens, labels) for each row, without a head (tokens, hidden). The model is loaded on the first call."""
        with self._loading:
            model = self._model
        torch = load_torch()
        lengths = [len(row) for row in rows]
        packed = np.full((len(rows), 1 + max(lengths)), self._padding, np.int64)
        for line, row in zip(packed, rows, strict=True):
            line[: 1 + len(row)] = [len(row), *row]
        with torch.inference_mode():
            there = torch.from_numpy(packed).to(self.place)  # ids and lengths in one copy
            ids = there[:, 1:]
            real = torch.arange(ids.shape[1], device=ids.device) < there[:, :1]
            out = model(input_ids=ids, attention_mask=real.long())
            found = (out.logits if self.head else out.last_hidden_state).float().cpu().numpy()
        return [line[:length] for line, length in zip(found, lengths, strict=True)]

    @property
    def _padding(self) -> int:
        return self.checkpoint.config.get("pad_token_id") or 0

    @cached_property
    def _model(self) -> Any:
        auto, what = ("AutoModelForTokenClassification", "token classifier") if self.head else ("AutoModel", "encoder")
        if (self.checkpoint.folder / GRAPH).is_file():
            model = from_small(auto, self.checkpoint).to(self.dtype)
        else:
            model = pretrained(auto, self.checkpoint.folder, self.dtype, what)
        return model.to(self.place).eval()
