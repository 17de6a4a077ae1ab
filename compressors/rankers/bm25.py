"""BM25 over whole passages, by words and by first characters of words. No model."""

from collections.abc import Sequence

from compressors.bm25 import rank
from compressors.lexical import stems, telling
from compressors.rankers.base import Options, Scores

_KEYWORDS = 24  # that many telling words stand in for a question


class BM25:
    """Passages that share rare words with the question stand above others: see `compressors.bm25`."""

    version = "bm25-1"

    def __init__(self, options: Options) -> None:
        del options  # nothing to choose

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[Scores]:
        return [_score(query, group) for query, group in zip(queries, documents, strict=True)]

    def warm_up(self) -> None:
        """Nothing to load."""


def _score(query: str, documents: Sequence[str]) -> Scores:
    words = [stems(document) for document in documents]
    asked = stems(query)
    if set(asked).isdisjoint(word for document in words for word in document):
        asked = telling(words, _KEYWORDS)
    numbers = {word: i for i, word in enumerate(dict.fromkeys(asked), 1)}
    ids = [[numbers.get(word, 0) for word in document] for document in words]
    return rank(ids, [numbers[word] for word in asked], len(numbers) + 1).scores
