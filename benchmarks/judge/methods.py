"""What is judged: our compressors, the published family where its weights are present, and simple things to beat."""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import compressors
from compressors import bm25, rankers, spans
from compressors.base import Compressor, Kept, Neural, Span, Task
from compressors.fit import fit
from compressors.passages import shares
from compressors.selection import keep, keeps_all, layout, whole
from training.classifier_sources import WORD

QUESTION, NEEDLE, BLIND, SENTENCE = "question", "needle", "blind", "sentence"
"""Kinds of sets: documents and a question; haystacks; texts to be shortened before anything is asked; sentences, of
which only what drops words can leave out anything."""
ASKED = frozenset({QUESTION, NEEDLE})
TEXTS = frozenset({QUESTION, NEEDLE, BLIND})
ALL = TEXTS | {SENTENCE}
WORDS = frozenset({NEEDLE, BLIND, SENTENCE})
ENCODER = "bi-encoder sentences"
ORIGINAL, NOTHING = "original", "no context"
"""Rows of their own: the text as it is, and no text."""

_FAMILY = {  # row: compressor, kinds of sets, most records a set
    "pruner": ("pruner", ASKED, None),
    "classifier": ("classifier", ALL, 60),
    "llmlingua2": ("classifier", ALL, 30),
    "llmlingua": ("perplexity", ALL, 20),
    "longllmlingua": ("question", ASKED, 20),
    "ranked_classifier": ("ranked_classifier", ASKED, 30),
    "selective": ("selective", ALL, 20),
}
NAMES = tuple(_FAMILY)
OURS = ("pruner", "classifier")


@dataclass(frozen=True, slots=True)
class Method:
    """`most`: records of a set of questions that are measured at most. `reads`: whether a reader is shown what it
    keeps. `make` is given the texts of the set."""

    name: str
    make: Callable[[Sequence[str]], Compressor]
    kinds: frozenset[str] = TEXTS
    most: int | None = None
    reads: bool = True
    version: str = ""


class NoContext:
    """Keeps nothing: only the question is left."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [Kept(()) for _ in tasks]


class SentenceBM25:
    """The anchor: BM25 over sentences, each on its own, whole words."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        parts = layout(task)
        query = spans.terms(task.question)
        numbers = {word: i for i, word in enumerate(dict.fromkeys(query), 1)}
        ids = [[numbers.get(word, 0) for word in spans.terms(task.text[a:b])] for a, b in parts.units]
        if not ids:
            return whole(task)
        ranking = bm25.rank(ids, [numbers[word] for word in query], len(numbers) + 1, k1=1.5)
        return keep(parts, ranking.scores.round(4).tolist())


class SentenceEncoder:
    """Sentences whose vectors are nearest to the question's. In bf16: on 80 records the recall
    was that of fp32. The last text is remembered: its vectors serve all rates."""

    def __init__(self, folder: str) -> None:
        self._ranker = rankers.ranker("biencoder", rankers.Options(model=folder, device="cpu", precision="bf16"))
        self._last: tuple[tuple[str, str], list[float]] | None = None

    @property
    def version(self) -> str:
        return self._ranker.version

    def warm_up(self) -> None:
        self._ranker.warm_up()

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        parts = layout(task)
        if not parts.units:
            return whole(task)
        key = task.text, task.question
        if self._last is None or self._last[0] != key:
            texts = [task.text[slice(*unit)] for unit in parts.units]
            self._last = key, shares(self._ranker.score([task.question], [texts])[0])
        return keep(parts, self._last[1])


class Words:
    """Keeps the words that score best, as a token classifier does; what a score is decides the rest."""

    def __init__(self, score: Callable[[str, Sequence[str]], list[float]]) -> None:
        self._score = score

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        if keeps_all(task):
            return whole(task)
        units = _words(task.text)
        return fit(task, units, self._score(task.text, [task.text[a:b] for a, b in units])) if units else whole(task)


def _words(text: str) -> list[Span]:
    found = []
    at = 0
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        found.append((start, at))
    return found


def lots(text: str, words: Sequence[str]) -> list[float]:
    """The same text always draws the same lots."""
    rng = random.Random(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return [rng.random() for _ in words]


def rarity(texts: Sequence[str]) -> Compressor:
    """Selective Context without a model: a word says as much as it is rare, counted in all texts of the set."""
    known = Counter(word.group().lower() for text in texts for word in WORD.finditer(text))
    total = sum(known.values()) + len(known) + 1

    def score(_: str, words: Sequence[str]) -> list[float]:
        bare = (WORD.search(word) for word in words)
        return [math.log(total / (known[found.group().lower()] + 1)) if found else 0.0 for found in bare]

    return Words(score)


def simple() -> list[Method]:
    """Those without a model."""
    return [
        Method("random", lambda _: compressors.load("random")),
        Method("random words", lambda _: Words(lots), WORDS),
        Method("ends", lambda _: compressors.load("ends"), reads=False),
        Method("word rarity", rarity, WORDS),
        Method("bm25 sentences", lambda _: SentenceBM25(), ASKED),
        Method("passages", lambda _: compressors.load("passages"), ASKED, reads=False),
        Method("lexical", lambda _: compressors.load("lexical")),
    ]


def ends_of_the_scale() -> list[Method]:
    """No text at all, and all of it."""
    return [
        Method(NOTHING, lambda _: NoContext(), reads=False),
        Method(ORIGINAL, lambda _: compressors.load("identity"), ALL),
    ]


def encoder(folder: Path) -> Method:
    made = SentenceEncoder(str(folder))
    return Method(ENCODER, lambda _: made, ASKED, 150, reads=False, version=made.version)


def model(name: str, folder: str | None = None) -> Method:
    """A row of `NAMES`, with the model of a folder or its own default.

    Raises `CompressionError` where it cannot run.
    """
    compressor, kinds, most = _FAMILY[name]
    settings = compressors.settings_of(compressor)
    made = compressors.load(compressor, settings(model=folder) if settings and folder else None)
    version = ""
    if isinstance(made, Neural):
        made.warm_up()
        version = made.version
    return Method(name, lambda _: made, kinds, most, version=version)
