"""The causal language model itself, in torch: hidden states, a cache that can be cut back, surprises of tokens.

Logits are made only where a surprise is asked for, and a few hundred positions at a time: all of them for 8,000 tokens
of GPT-2 would take 1.6 GB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint
from compressors.encoders.place import dtype, load_torch
from compressors.encoders.pretrained import pretrained

Surprises = NDArray[np.float32]

_LOGITS = 2**24  # numbers a chunk of logits: 64 MB


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids, and from which on their surprise is asked for: 1 or later, since the first has nothing before it."""

    ids: Sequence[int]
    start: int = 1


class Engine:
    """The model itself; used on its device's threads only. Rows of a batch are padded on the right, where a causal
    model does not see it, so that a row's result varies with the batch by the noise of float arithmetic only."""

    parallel = False  # torch uses all cores for one batch, and a GPU has one queue

    def __init__(self, checkpoint: Checkpoint, place: str, precision: str) -> None:
        self.torch, self.dtype = load_torch(), dtype(place, precision)
        self.budget, self.fill = (1024, 0.9) if place == "cpu" else (16_384, 0.5)
        self.place = place
        self.model = (
            pretrained("AutoModelForCausalLM", checkpoint.folder, self.dtype, "causal language model").to(place).eval()
        )
        self.base, self.head = self.model.base_model, self.model.get_output_embeddings()
        config = self.model.config
        self.cap = getattr(config, "final_logit_softcapping", None)
        self.scale = (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
        self._verify(checkpoint.folder)

    def cache(self) -> Any:
        """An empty cache, of the kind that the installed transformers has for this model."""
        from transformers import DynamicCache

        return DynamicCache() if getattr(self.model, "_supports_cache_class", True) else None

    def crop(self, cache: Any, length: int) -> Any:
        if not length:
            return self.cache()
        if hasattr(cache, "crop"):
            cache.crop(length - cache.get_seq_length())  # below 0: so many fewer; above, releases differ
            return cache
        return tuple(tuple(part[..., :length, :] for part in layer[:2]) for layer in cache)

    def read(self, ids: Sequence[Sequence[int]], cache: Any = None) -> tuple[Any, Any]:
        """The last hidden states (rows, tokens, width) of rows of one length, and the cache after them."""
        with self.torch.inference_mode():
            keep = cache is not None or len(ids) == 1
            tensor = self.torch.tensor(ids, device=self.place)
            out = self.base(input_ids=tensor, past_key_values=cache, use_cache=keep)
        return out.last_hidden_state, out.get("past_key_values")

    def run(self, rows: Sequence[Row]) -> list[Surprises]:
        """All rows at once. The padding is on the right, where a causal model does not see it."""
        width = max(len(row.ids) for row in rows)
        hidden, _ = self.read([[*row.ids, *[0] * (width - len(row.ids))] for row in rows])
        asked = [hidden[i, row.start - 1 : len(row.ids) - 1] for i, row in enumerate(rows)]
        scores = self.surprise(self.torch.cat(asked), [j for row in rows for j in row.ids[row.start :]])
        return np.split(scores, np.cumsum([len(row.ids) - row.start for row in rows])[:-1])

    def surprise(self, hidden: Any, targets: Sequence[int]) -> Surprises:
        """-ln p of each target, given the hidden state of the token before it."""
        torch = self.torch
        if not len(targets):
            return np.empty(0, np.float32)
        step = max(1, _LOGITS // self.head.weight.shape[0])
        wanted = torch.tensor(targets, device=self.place)
        with torch.inference_mode():
            parts = [
                torch.nn.functional.cross_entropy(
                    self.logits(hidden[i : i + step]), wanted[i : i + step], reduction="none"
                )
                for i in range(0, len(targets), step)
            ]
            return torch.cat(parts).cpu().numpy()  # type: ignore[no-any-return]

    def logits(self, hidden: Any) -> Any:
        made = self.head(hidden).float() * self.scale
        return made if self.cap is None else self.cap * self.torch.tanh(made / self.cap)

    def _verify(self, folder: Path) -> None:
        """That this architecture's logits are made as `logits` has it, and that its cache can be cut back."""
        ids = list(range(1, 9))
        with self.torch.inference_mode():
            whole = self.model(input_ids=self.torch.tensor([ids], device=self.place)).logits[0].float()
            cache = self.crop(self.read([ids], self.cache())[1], 4)
            again = self.logits(self.read([ids[4:]], cache)[0][0])
        near = self.torch.finfo(self.model.dtype).eps * 256 * float(whole.abs().max())
        if not bool((whole[4:] - again).abs().max() <= near):
            raise Unavailable(f"{folder}: an architecture whose text cannot be read on from a cache cut back")
