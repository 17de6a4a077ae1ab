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
import numpy.typing as npt

from compressors.causal import CausalModel, Row, causal
from compressors.rankers.base import Options, Scores, finite

GUIDE = " We can get the answer to this question in the given documents."
MODEL = "openai-community/gpt2"
_MODES = ("after", "before", "none")

Surprises = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading one document told. `score`: higher is better, NaN where nothing could be scored. `alone`: the
    surprise of each of its tokens by itself, NaN where unknown; only in mode `after`, and only where asked for."""

    score: float
    alone: Surprises


@dataclass(frozen=True, slots=True)
class _Part:
    """A row of the model. The surprises from `asked` on count for the score, times `sign`; `count` tokens of the
    document begin at `offset`."""

    ids: Sequence[int]
    asked: int
    offset: int
    count: int
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
        return [finite([one.score for one in group]) for group in self.read(queries, documents)]

    def read(
        self, queries: Sequence[str], documents: Sequence[Sequence[str]], alone: bool = False
    ) -> list[list[Reading]]:
        """One reading a document; all documents of all queries in one batch, each read once."""
        parts = [
            list(self._parts(query, document))
            for query, group in zip(queries, documents, strict=True)
            for document in group
        ]
        rows = [Row(part.ids, 1 if alone else part.asked) for group in parts for part in group]
        surprises = iter(self.model.surprises(rows) if rows else [])
        readings = iter([_reading([(part, next(surprises)) for part in group], alone) for group in parts])
        return [[next(readings) for _ in group] for group in documents]

    def _mode(self, query: str) -> str:
        return self._options.mode if query.strip() else "none"

    def _parts(self, query: str, document: str) -> Iterator[_Part]:
        """Rows as the published package makes them, where a document fits: one tokenisation of both texts."""
        model, mode = self.model, self._mode(query)
        opening = self._opening
        asked = query + GUIDE
        own = model.encode(document).ids
        if mode == "none":
            yield _Part([*opening, *own], max(len(opening), 1), len(opening), len(own), 1)
            return
        first, second = (document, asked) if mode == "after" else (asked, document)
        joined = model.encode(first + second).ids
        start = len(opening) + len(model.encode(first).ids)
        if len(opening) + len(joined) <= model.longest:
            offset = len(opening) if mode == "after" else start
            yield _Part([*opening, *joined], max(start, 1), offset, len(own), -1)
            return
        question = model.encode(asked).ids[-model.longest // 2 :]
        step = model.longest - len(opening) - len(question)
        for at in range(0, max(len(own), 1), step):
            piece = own[at : at + step]
            head = opening if mode == "after" else (*opening, *question)
            tail = question if mode == "after" else ()
            start = len(head) + len(piece) if mode == "after" else len(head)
            yield _Part([*head, *piece, *tail], max(start, 1), len(head), len(piece), -1)

    @cached_property
    def _opening(self) -> tuple[int, ...]:
        """What the tokenizer puts before any text: `<s>` for Llama, nothing for GPT-2, as in the published package."""
        return tuple(self.model.checkpoint.tokenizer.encode("").ids)


def _reading(parts: Sequence[tuple[_Part, Surprises]], alone: bool) -> Reading:
    """`parts`: the rows of one document with their surprises, from the row's second token on where `alone`."""
    scores: list[float] = []
    tokens: list[Surprises] = []
    for part, found in parts:
        asked = found[part.asked - 1 :] if alone else found
        if len(asked):
            scores.append(part.sign * float(asked.mean(dtype=np.float64)))
        if alone:
            own = np.full(part.count, np.nan, np.float32)
            first = 1 if part.offset == 0 else 0
            known = found[part.offset + first - 1 :][: part.count - first]
            own[first : first + len(known)] = known
            tokens.append(own)
    return Reading(max(scores, default=float("nan")), np.concatenate(tokens) if tokens else np.empty(0, np.float32))
