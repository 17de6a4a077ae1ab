"""What the two rankers of sentence-transformers share: a model from a local folder, one caller at a time.

Never the network, never code or pickles from a checkpoint.
"""

import json
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from compressors import cancel
from compressors.base import Unavailable
from compressors.checkpoint import open_checkpoint
from compressors.rankers.base import Options, Scores
from compressors.rankers.bm25 import BM25

_AT_ONCE = 256  # texts between two looks at whether anybody still waits
_one_at_a_time = threading.Lock()
T = TypeVar("T")


class Encoder:
    """A ranker that runs a model of sentence-transformers. A blank query, which has no meaning to compare with, is
    left to BM25. Documents longer than the model reads are judged by their beginning."""

    name = ""
    default = ""

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def version(self) -> str:
        checkpoint = open_checkpoint(self._options.model or self.default)
        return f"{self.name}-1 {checkpoint.version} {self._options.device} {self._options.precision}"

    def warm_up(self) -> None:
        self._compare("", ["", ""])

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[Scores]:
        return [
            self._compare(_clean(query), list(map(_clean, group)))
            if query.strip() and group
            else BM25(self._options).score([query], [group])[0]
            for query, group in zip(queries, documents, strict=True)
        ]

    def _load(self, library: Any, folder: Path, device: str | None) -> Any:
        """The library's model of this folder."""
        raise NotImplementedError

    def _compare(self, query: str, documents: Sequence[str]) -> Scores:
        raise NotImplementedError

    def _in_turns(self, texts: Sequence[T], work: Callable[[Sequence[T]], Any]) -> list[Any]:
        """`work` on a few texts at a time, with a look at the watch between."""
        found = []
        for at in range(0, len(texts), _AT_ONCE):
            cancel.check()
            with _one_at_a_time:
                found.append(work(texts[at : at + _AT_ONCE]))
        return found

    @cached_property
    def model(self) -> Any:
        folder = open_checkpoint(self._options.model or self.default).folder
        _check(folder)
        try:
            import sentence_transformers
            import torch
        except ImportError as error:
            raise Unavailable(
                f"the {self.name} ranker needs sentence-transformers: pip install 'laconic[rankers]'"
            ) from error
        types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        device = None if self._options.device == "auto" else self._options.device
        with _one_at_a_time:
            try:
                model = self._load(sentence_transformers, folder, device).eval()
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise Unavailable(f"{folder} holds no {self.name} that can be loaded: {error}") from error
        wanted = self._options.precision
        if wanted == "auto":
            wanted = "fp16" if str(model.device).startswith("cuda") else "fp32"
        if wanted not in types:
            raise Unavailable(f"the {self.name} ranker runs in fp32, bf16 or fp16, not in {wanted}")
        return model.to(types[wanted])


def as_scores(values: Sequence[Any]) -> Scores:
    return np.concatenate([np.asarray(part, np.float64).reshape(-1) for part in values])


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which no tokenizer takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _check(folder: Path) -> None:
    """That none of the model's parts is code from elsewhere or a pickle."""
    modules = folder / "modules.json"
    parts = json.loads(modules.read_text("utf-8")) if modules.is_file() else []
    for part in parts:
        if not str(part.get("type", "")).startswith("sentence_transformers."):
            raise Unavailable(f"{folder} asks for code of its own ({part.get('type')}), which is never run")
        inside = folder / Path(str(part.get("path", ""))).name
        if (inside / "pytorch_model.bin").is_file() and not (inside / "model.safetensors").is_file():
            raise Unavailable(f"{inside} has pickled weights only; those are not read")
