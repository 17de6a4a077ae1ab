"""What the pruner knows of each sentence: pure arithmetic on lexical scores and on vectors that an encoder has made.

The encoder reads a passage under its heading, in windows, without the question; so its vectors may be kept and used
for every later question. A unit's vector is the mean of its tokens' (late chunking: each token has seen the whole
window; Günther et al., arXiv 2409.04701). Training and runtime both come through here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compressors.base import Span, Task
from compressors.lexical import Passage, Relevance, Weights, analysis
from compressors.selection import Layout

if TYPE_CHECKING:
    from compressors.embedding import Embedded

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

WINDOW = 256
"""Word pieces of a window at most, heading and special tokens included."""
_HEADING = 48  # word pieces of a heading that are read
_NUMBER = re.compile(r"\s*[\[(]?\d{1,4}[\]).:]+\s+")  # "[3] " before a title


@dataclass(frozen=True, slots=True)
class Window:
    """A row for the encoder, special tokens included. `owners`: the unit of each token, -1 for one of none."""

    passage: int
    ids: list[int]
    owners: Ints


def windows(text: str, units: Sequence[Span], found: Sequence[Passage], tokenizer: Any) -> list[Window]:
    """The passages as rows, each with its heading before it; a long passage is cut between units, where it can be.

    `tokenizer`: of the library tokenizers, one that puts one token before a text and one behind it.
    """
    first, last = tokenizer.encode("").ids
    headings = [heading(passage) for passage in found]
    heads = [e.ids[:_HEADING] for e in tokenizer.encode_batch(headings, add_special_tokens=False)]
    bodies = [text[units[p.first][0] : units[p.last - 1][1]] for p in found]
    rows = []
    for n, body in enumerate(tokenizer.encode_batch(bodies, add_special_tokens=False)):
        passage, ids = found[n], body.ids
        starts = np.array([start for start, _ in units[passage.first : passage.last]]) - units[passage.first][0]
        at = np.array([start for start, _ in body.offsets], np.intp)
        owners = passage.first + np.searchsorted(starts, at, "right") - 1
        around = [-1] * (1 + len(heads[n]))
        for a, b in pairwise(_cuts(owners, WINDOW - 2 - len(heads[n]))):
            rows.append(Window(n, [first, *heads[n], *ids[a:b], last], np.array([*around, *owners[a:b], -1], np.intp)))
    return rows


def heading(passage: Passage) -> str:
    """What stands above a passage, without its number."""
    return _NUMBER.sub("", passage.heading.strip() + " ", count=1).strip()


def _cuts(owners: Ints, room: int) -> list[int]:
    cuts = [0]
    while len(owners) - cuts[-1] > room:
        end = cuts[-1] + room
        start = int(np.searchsorted(owners, owners[end]))  # of the unit that would be cut
        cuts.append(start if start > cuts[-1] else end)
    return [*cuts, len(owners)]


NAMES = (
    *("lexical", "lexical_gap", "words", "words_passage", "links", "links_opening", "passage_lexical"),
    *("meaning", "meaning_gap", "passage", "passage_gap", "passage_best"),
    *("near", "near_gap", "passage_near", "passage_near_gap"),
    *("before", "after", "before_lexical", "after_lexical"),
    *("hop", "hop_asked", "hop_passage", "hop_passage_asked", "uncovered"),
    *("opening", "closing", "length", "passage_length", "passages"),
    *("matched", "linked", "covered", "left_by_unit", "left_by_passage", "lead", "asked"),
)
"""The columns of `features`. `_gap`: below the best unit's; others of meaning count in standard deviations. Those of
the last line are the same for all units of a context: they tell whether one sentence is enough for the question."""

_HOPS = 6  # that many best units lead on to others
_PORTION = 512  # pieces that are looked at together: what a core's own cache holds
_MATCHED = (
    0.2  # of the question at least, as rare words count, has a unit where lexical scores are worth all of their say
)
_SPREAD = 0.02  # added to deviations, so that units that are all alike stay so


@dataclass(frozen=True, slots=True)
class Pooled:
    """Vectors of length 1: `question`, `units`, `passages` (heading included). `near`: for each piece of the question
    the cosine of the nearest piece in each unit (late interaction as in ColBERT; Khattab and Zaharia, arXiv
    2004.12832). `sizes`: pieces of each unit."""

    question: Floats
    units: Floats
    passages: Floats
    near: Floats
    sizes: Ints


def features(task: Task, parts: Layout, embedded: "Embedded") -> Floats:
    """One row a unit, one column for each of `NAMES`."""
    return described(analysis(task, parts.units, Weights()), embedded)


def described(words: Relevance, embedded: "Embedded") -> Floats:
    """`features`, from lexical scores that are known already."""
    return weighed(words, pooled(embedded, len(words.owner), len(words.passages)))


def weighed(words: Relevance, seen: Pooled) -> Floats:
    """`features`, from vectors that are pooled already."""
    owner, units, passages, near = words.owner, seen.units, seen.passages, seen.near
    count = np.bincount(owner)
    first = np.r_[0, np.cumsum(count)[:-1]]
    sure_of_words = min(1.0, words.matched / _MATCHED)
    lexical = np.array(words.scores, np.float32) * sure_of_words
    meaning, passage = units @ seen.question, (passages @ seen.question)[owner]
    covered = np.maximum.reduceat(near, first, axis=1)
    nearest, passage_near = near.mean(0), covered.mean(0)[owner]
    scaled = _scaled(meaning)
    start = _scaled(lexical) * sure_of_words + scaled + 0.5 * _scaled(passage)
    best = np.argsort(-start.round(4), kind="stable")[:_HOPS]
    sure = 2 / (1 + np.exp(start[best[0]] - start[best]))
    asked = _unit(seen.question + units[best])
    elsewhere = owner[:, None] != owner[best]
    apart = np.arange(len(count))[:, None] != owner[best]
    position = np.arange(len(owner)) - first[owner]
    by_unit, by_passage = near[:, best[0]].mean(), covered[:, owner[best[0]]].mean()
    most = near.max(1).mean()
    lead = start[best[0]] - start[best[:2][-1]]
    same = np.array(
        [
            words.matched,
            sure_of_words * words.links.max(),
            by_unit,
            most - by_unit,
            most - by_passage,
            lead,
            len(near) / 10,
        ]
    )
    opening = (position == 0).astype(np.float32)
    columns = [
        *(lexical, _gap(lexical)),
        *(sure_of_words * part for part in (words.own, words.near, words.links, words.links * opening)),
        np.maximum.reduceat(lexical, first)[owner],
        *(scaled, _gap(meaning), _scaled(passage), _gap(passage), _gap(np.maximum.reduceat(meaning, first)[owner])),
        *(_scaled(nearest), _gap(nearest), _scaled(passage_near), _gap(passage_near)),
        *(*_beside(scaled, owner), *_beside(lexical, owner)),
        _scaled(np.where(elsewhere, units @ units[best].T * sure, 0).max(1)),
        _gap(np.where(elsewhere, units @ asked.T, -1).max(1)),
        _scaled(np.where(apart, passages @ units[best].T * sure, 0).max(1)[owner]),
        _gap(np.where(apart, passages @ asked.T, -1).max(1)[owner]),
        np.maximum(near - covered[:, owner[best[:1]]], 0).sum(0) / 3,
        *(opening, position == count[owner] - 1),
        np.log1p(seen.sizes) - 3,
        *(np.log(count)[owner], np.full(len(owner), np.log(len(count)))),
    ]
    return np.column_stack([*columns, np.tile(same, (len(owner), 1))]).astype(np.float32)


def pooled(embedded: "Embedded", units: int, passages: int) -> Pooled:
    """What so many units and passages are as vectors."""
    width = embedded.vectors.shape[1]
    asked = embedded.question if len(embedded.question) else np.zeros((1, width), np.float32)
    pieces = _unit(asked)
    near = np.full((units + 1, len(asked)), -1, np.float32)  # the last row is for what belongs to no unit
    of_units, of_passages = np.zeros((units + 1, width), np.float32), np.zeros((passages, width), np.float32)
    for at in range(0, len(embedded.vectors), _PORTION):
        part = slice(at, at + _PORTION)
        vectors = embedded.vectors[part].astype(np.float32)
        owners, within = embedded.owners[part], embedded.passages[part]
        starts = np.flatnonzero(np.r_[True, (owners[1:] != owners[:-1]) | (within[1:] != within[:-1])])
        sums, whose = np.add.reduceat(vectors, starts), owners[starts]
        np.add.at(of_passages, within[starts], sums)
        np.add.at(of_units, whose, sums)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) + 1e-6
        np.maximum.at(near, whose, np.maximum.reduceat(pieces @ vectors.T / lengths, starts, axis=1).T)
    return Pooled(
        question=_unit(asked.mean(0, keepdims=True))[0],
        units=_unit(of_units[:-1]),
        passages=_unit(of_passages),
        near=near[:-1].T,
        sizes=np.bincount(embedded.owners[embedded.owners >= 0], minlength=units),
    )


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def _scaled(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / (values.std() + _SPREAD))


def _gap(values: Floats) -> Floats:
    return np.asarray(values - values.max())


def _beside(values: Floats, owner: Ints) -> tuple[Floats, Floats]:
    """The values of the unit before and of the one after, within the passage."""
    together = owner[1:] == owner[:-1]
    before, after = np.zeros_like(values), np.zeros_like(values)
    before[1:], after[:-1] = values[:-1] * together, values[1:] * together
    return before, after
