"""An extractive reader: the span that answers a question, by any checkpoint for question answering in a folder.

`training/reader.py` makes one. Long texts are read in windows; a span counts by how much more likely it is than [CLS],
"not here", of its own window, so that windows compare. Exact match and F1 as SQuAD has them (Rajpurkar et al., 2016).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compressors.checkpoint import open_checkpoint

PIECES = 384
OVERLAP = 64
LONGEST = 30
"""Word pieces of a window, those that two windows share, and those of an answer at most."""
_AT_ONCE = 24
Floats = npt.NDArray[np.float32]


class Reader:
    """Reads texts. The same texts give the same answers; batches do not matter but for rounding."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        import torch
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        self.version = open_checkpoint(str(folder)).version

    def answer(self, question: str, texts: Sequence[str]) -> list[str]:
        """The best span of each text; nothing for a text with nothing in it."""
        shown = [i for i, text in enumerate(texts) if text.strip()]
        found = [""] * len(texts)
        if not shown:
            return found
        coded = self._tokenizer(
            [question] * len(shown),
            [texts[i] for i in shown],
            truncation="only_second",
            max_length=PIECES,
            stride=OVERLAP,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        best = [-np.inf] * len(texts)
        owners = [shown[i] for i in coded["overflow_to_sample_mapping"]]
        for row, (start, end) in enumerate(self._logits(coded)):
            inside = np.array([part == 1 for part in coded.sequence_ids(row)])
            first, last, score = best_span(start, end, inside)
            owner = owners[row]
            if score > best[owner]:
                best[owner] = score
                offsets = coded["offset_mapping"][row]
                found[owner] = texts[owner][offsets[first][0] : offsets[last][1]]
        return found

    def _logits(self, coded: Any) -> list[tuple[Floats, Floats]]:
        rows = len(coded["input_ids"])
        order = sorted(range(rows), key=lambda i: len(coded["input_ids"][i]))
        found: dict[int, tuple[Floats, Floats]] = {}
        for at in range(0, rows, _AT_ONCE):
            group = order[at : at + _AT_ONCE]
            names = [name for name in ("input_ids", "token_type_ids", "attention_mask") if name in coded]
            padded = self._tokenizer.pad({k: [coded[k][i] for i in group] for k in names}, return_tensors="pt")
            with self._torch.inference_mode(), self._torch.autocast("cpu", self._torch.bfloat16):
                out = self._model(**padded)
            for i, start, end in zip(group, out.start_logits.float(), out.end_logits.float(), strict=True):
                size = len(coded["input_ids"][i])
                found[i] = start.numpy()[:size], end.numpy()[:size]
        return [found[i] for i in range(rows)]


def best_span(start: Floats, end: Floats, inside: npt.NDArray[np.bool_]) -> tuple[int, int, float]:
    """First and last piece of the best span among those `inside` the text, and how much better it is than none."""
    places = np.flatnonzero(inside)
    sums = start[places][:, None] + end[places][None, :]
    far = np.subtract.outer(places, places)
    sums = np.where((far <= 0) & (far > -LONGEST), sums, -np.inf)
    first, last = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(places[first]), int(places[last]), float(sums[first, last] - start[0] - end[0])


def normal(text: str) -> str:
    """SQuAD's: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def exact(found: str, answers: Sequence[str]) -> float:
    return max((float(normal(found) == normal(answer)) for answer in answers), default=0.0)


def f1(found: str, answers: Sequence[str]) -> float:
    """Of words in common with the answer that fits best."""
    return max((_f1(normal(found).split(), normal(answer).split()) for answer in answers), default=0.0)


def _f1(found: list[str], wanted: list[str]) -> float:
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted)) if common else 0.0
