"""What a trained classifier gives: how well it keeps what pairs keep, and what of dialogues it keeps at a rate."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from compressors.words import read
from training.classifier_rows import batch, cut
from training.classifier_sources import WORD, Floats, Labelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ROWS = 64


def scores(model: Any, tokenizer: "Tokenizer", texts: Sequence[Labelled], longest: int = 512) -> list[Floats]:
    """How likely each word of each text is kept: the mean of its pieces, in the order of `words`."""
    found: list[Floats] = []
    rows = [list(cut(text, 0, tokenizer, longest)) for text in texts]
    flat = [row for own in rows for row in own]
    order = sorted(range(len(flat)), key=lambda i: len(flat[i].ids))
    kept: list[Floats] = [np.zeros(0, np.float32)] * len(flat)
    place = next(model.parameters()).device
    for start in range(0, len(order), _ROWS):
        numbers = order[start : start + _ROWS]
        group = batch([flat[i] for i in numbers])
        with torch.inference_mode():
            ids, mask = (torch.from_numpy(part).to(place) for part in (group.ids, group.mask))
            share = model(input_ids=ids, attention_mask=mask).logits.float().softmax(-1)[..., 1].cpu().numpy()
        for i, values in zip(numbers, share, strict=True):
            kept[i] = values[1 : len(flat[i].ids) - 1]
    at = 0
    for text, own in zip(texts, rows, strict=True):
        pieces = np.concatenate(kept[at : at + len(own)]) if own else np.zeros(0, np.float32)
        at += len(own)
        found.append(_of_words(text.text, pieces, tokenizer))
    return found


def _of_words(text: str, pieces: Floats, tokenizer: "Tokenizer") -> Floats:
    middle = read(text, tokenizer).first
    edges = np.array(words(text), np.intp).reshape(-1, 2)
    first, last = np.searchsorted(middle, edges[:, 0]), np.searchsorted(middle, edges[:, 1])
    sums = np.append(0, np.cumsum(pieces, dtype=np.float64))
    return np.asarray((sums[last] - sums[first]) / np.maximum(last - first, 1), np.float32)


def words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in WORD.finditer(text)]


def kept_words(text: Labelled) -> NDArray[np.bool_]:
    return np.array([text.target[a:b].mean() > 0.5 for a, b in words(text.text)], bool)


def thresholds(model: Any, tokenizer: "Tokenizer", texts: Sequence[Labelled]) -> float:
    """The threshold with the best F1 of kept words."""
    score = np.concatenate(scores(model, tokenizer, texts))
    gold = np.concatenate([kept_words(text) for text in texts])
    return float(max(np.arange(0.2, 0.71, 0.01), key=lambda t: f1(score >= t, gold)).round(2))


def pair_metrics(model: Any, tokenizer: "Tokenizer", texts: Sequence[Labelled], threshold: float) -> dict[str, float]:
    """F1 of kept words, over all words: at the threshold, and where each text keeps as many as its pair does."""
    score = scores(model, tokenizer, texts)
    gold = [kept_words(text) for text in texts]
    even = [
        np.argsort(np.argsort(-s, kind="stable"), kind="stable") < g.sum() for s, g in zip(score, gold, strict=True)
    ]
    every, truth = np.concatenate(score), np.concatenate(gold)
    return {
        "texts": len(texts),
        "keep_f1": round(f1(every >= threshold, truth), 4),
        "keep_f1_at_gold_rate": round(f1(np.concatenate(even), truth), 4),
        "auc": round(auc(every, truth), 4),
        "kept": round(float((every >= threshold).mean()), 3),
        "gold_kept": round(float(truth.mean()), 3),
    }


def _places(score: Floats) -> NDArray[np.intp]:
    """The place of each score among all, the best first."""
    return np.argsort(np.argsort(-score, kind="stable"), kind="stable")


def f1(found: NDArray[np.bool_], gold: NDArray[np.bool_]) -> float:
    return float(2 * (found & gold).sum() / max(1, found.sum() + gold.sum()))


def auc(score: Floats, gold: NDArray[np.bool_]) -> float:
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    pos, neg = gold.sum(), (~gold).sum()
    return float((ranks[gold].sum() - pos * (pos + 1) / 2) / max(1, pos * neg))
