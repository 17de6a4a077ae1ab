"""What quantising changes: the order of scores, and what is kept in the end, before and after on the same texts.

Measured on texts that nothing was trained on: questions about passages for a pruner, pairs of a sentence and its
compression for a classifier. "Before" is the same model in float32.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressors import spans
from compressors.base import Rate, Span, Task
from compressors.pruner import Pruner, PrunerSettings
from compressors.token_classifier import token_classifier
from compressors.words import read as read_words
from training.classifier_sources import pair_part
from training.records import HELD, Record, part, read

RATE = 0.25
SETS = ("qa_nq_multidoc", "qa_musique", "qa_hotpot", "qa_2wiki", "qa_squad")
PAIRS = "compress_google"


@dataclass(frozen=True, slots=True)
class Drift:
    """`rank`: the mean over texts of the rank correlation of scores. `before` and `after`: the task's metric."""

    texts: int
    rank: float
    metric: str
    before: float
    after: float


def of_pruner(before: Path, after: Path, data: Path, each: int) -> Drift:
    """`each`: so many held records of every set that lies in `data`."""
    cases = [case for name in SETS for case in _cases(data / f"{name}.jsonl.gz", each)]
    if not cases:
        raise ValueError(f"no held record of {', '.join(SETS)} in {data}")
    tasks = [task for task, _ in cases]
    found = [
        Pruner(PrunerSettings(model=str(folder), device="cpu", precision=precision))
        for folder, precision in ((before, "fp32"), (after, "int8"))
    ]
    ranks = [correlation(a, b) for a, b in zip(*(pruner.scores(tasks) for pruner in found), strict=True) if len(a) > 2]
    kept = [float(np.mean([_recall(pruner, *case) for case in cases])) for pruner in found]
    return Drift(len(cases), float(np.mean(ranks)), f"share of the evidence kept at {RATE:.0%}", *kept)


def of_classifier(before: Path, after: Path, data: Path, most: int) -> Drift:
    """`most`: so many held pairs."""
    records = [r for r in read(data / f"{PAIRS}.jsonl.gz") if pair_part(r["text"]) == HELD][:most]
    scores = [list(_keep(folder, records, precision)) for folder, precision in ((before, "fp32"), (after, "int8"))]
    ranks = [correlation(a[0], b[0]) for a, b in zip(*scores, strict=True) if len(a[0]) > 2]
    return Drift(len(records), float(np.mean(ranks)), "keep-F1 at the rate of the pair", *map(_f1, scores))


def correlation(one: Sequence[float] | NDArray[np.float32], other: Sequence[float] | NDArray[np.float32]) -> float:
    """Spearman's, ties by their mean rank. 1 where all of one are equal: there is no order to be lost."""
    first, second = (_ranks(np.asarray(values, np.float64)) for values in (one, other))
    if not (first.std() and second.std()):
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places], np.float64)


def _cases(path: Path, most: int) -> Iterator[tuple[Task, tuple[Span, ...]]]:
    records = [r for r in read(path) if part(r) == HELD] if path.is_file() else []
    for record in records[:most]:
        yield _case(record)


def _case(record: Record) -> tuple[Task, tuple[Span, ...]]:
    text, titles, documents = "", [], []
    for document in record["documents"]:
        start = len(text)
        text += f"{document['title']}\n"
        titles.append((start, len(text)))
        documents.append((len(text), len(text) + len(document["text"])))
        text += f"{document['text']}\n\n"
    evidence = spans.merge(
        (documents[e["doc"]][0] + e["start"], documents[e["doc"]][0] + e["end"]) for e in record["evidence"]
    )
    return Task(text, Rate(RATE), record["question"], tuple(titles), tuple(documents)), evidence


def _recall(pruner: Pruner, task: Task, evidence: tuple[Span, ...]) -> float:
    (kept,) = pruner.compress([task])
    total = sum(b - a for a, b in evidence)
    return sum(b - a for a, b in spans.intersect(kept.spans, evidence)) / total if total else 1.0


Scored = tuple[NDArray[np.float32], NDArray[np.bool_]]


def _keep(folder: Path, records: Sequence[Record], precision: str) -> Iterator[Scored]:
    """For each pair its pieces' probabilities, and which of them lie in what was kept."""
    model = token_classifier(str(folder), "cpu", precision)
    texts = [read_words(record["text"], model.checkpoint.tokenizer) for record in records]
    rows = [[model.first, *words.ids.tolist()[: model.longest - 2], model.last] for words in texts]
    for record, words, keep in zip(records, texts, model.keep(rows), strict=True):
        inside = [any(a <= start < b for a, b in record["keep_spans"]) for start in words.first[: len(keep) - 2]]
        yield keep[1:-1], np.array(inside, bool)


def _f1(scored: Sequence[Scored]) -> float:
    """Over all texts, where of each as many of its pieces are kept as its pair keeps."""
    right = kept = 0
    for scores, gold in scored:
        best = np.argsort(-scores, kind="stable")[: int(gold.sum())]
        right += int(gold[best].sum())
        kept += int(gold.sum())
    return right / max(1, kept)
