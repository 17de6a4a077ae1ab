"""LongLLMLingua's ranking: which document makes the question least surprising to a causal language model.

Jiang et al., arXiv 2310.06839, section 4.1: r_k = mean surprise of the question and a guiding sentence, given document
k. Modes: `after` (that), `before` (the document given the question), `none` (the document by itself, the most
surprising first, as in LLMLingua; what a blank question gets in any mode).

A document too long for the model is read in parts, each with the question; the best part counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compressors.causal import CausalModel, Row, Surprises, causal
from compressors.rankers.base import Options, Scores, finite

GUIDE = " We can get the answer to this question in the given documents."
MODEL = "openai-community/gpt2"
_MODES = ("after", "before", "none")


@dataclass(frozen=True, slots=True)
class _Part:
    """A row of the model. The surprises from `asked` on count for the score, times `sign`."""

    ids: Sequence[int]
    asked: int
    sign: int


class Perplexity:
    """Ranks by a causal language model: see the module's docstring."""

    def __init__(self, options: Options) -> None:
        if options.mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}, not {options.mode!r}")
        self._options = options

    @property
    def version(self) -> str:
        return f"perplexity-1 {self._options.mode} {self.model.version}"

    def warm_up(self) -> None:
        self.model.warm_up()

    @cached_property
    def model(self) -> CausalModel:
        return causal(self._options.model or MODEL, self._options.device, self._options.precision)

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[Scores]:
        """All documents of all queries in one batch, each read once."""
        parts = [
            list(self._parts(query, document))
            for query, group in zip(queries, documents, strict=True)
            for document in group
        ]
        rows = [Row(part.ids, part.asked) for group in parts for part in group]
        surprises = iter(self.model.surprises(rows) if rows else [])
        scores = iter([_best([(part.sign, next(surprises)) for part in group]) for group in parts])
        return [finite([next(scores) for _ in group]) for group in documents]

    def _mode(self, query: str) -> str:
        return self._options.mode if query.strip() else "none"

    def _parts(self, query: str, document: str) -> Iterator[_Part]:
        """Rows as the published package makes them, where a document fits: one tokenisation of both texts."""
        model, mode = self.model, self._mode(query)
        opening = self._opening
        asked = query + GUIDE
        own = model.encode(document).ids
        if mode == "none":
            yield _Part([*opening, *own], max(len(opening), 1), 1)
            return
        first, second = (document, asked) if mode == "after" else (asked, document)
        joined = model.encode(first + second).ids
        start = len(opening) + len(model.encode(first).ids)
        if len(opening) + len(joined) <= model.longest:
            yield _Part([*opening, *joined], max(start, 1), -1)
            return
        question = model.encode(asked).ids[-model.longest // 2 :]
        step = model.longest - len(opening) - len(question)
        for at in range(0, max(len(own), 1), step):
            piece = own[at : at + step]
            head = opening if mode == "after" else (*opening, *question)
            tail = question if mode == "after" else ()
            start = len(head) + len(piece) if mode == "after" else len(head)
            yield _Part([*head, *piece, *tail], max(start, 1), -1)

    @cached_property
    def _opening(self) -> tuple[int, ...]:
        """What the tokenizer puts before any text: `<s>` for Llama, nothing for GPT-2, as in the published package."""
        return tuple(self.model.checkpoint.tokenizer.encode("").ids)


def _best(parts: Sequence[tuple[int, Surprises]]) -> float:
    """The best of a document's parts; NaN where nothing could be scored."""
    return max((sign * float(found.mean(dtype=np.float64)) for sign, found in parts if len(found)), default=np.nan)
