"""LLMLingua-2 case by case: the same rows, probabilities, words and words kept as in the published package.

What differs by design is put right in the test, never in the product: `Package` reads as the package does (its
boundary tokens, its [NEW0] for phrases, words that end only where its pieces say so, its rounding of the rate). All
the rest is the product's code, so that whatever else differed would show. `docs/algorithms.md` has the reasons.
"""

import re
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from own_prompts import UNICODE, documents, paragraph, transcript, without_ends
from published import CLASSIFIERS, TOLERANCE, Row, calls, labels, published, rows_scored
from tiny_models import tiny

from compressors import Rate, Task, Tokens
from compressors.checkpoint import open_checkpoint
from compressors.chunks import rows
from compressors.classifier import Classifier, ClassifierSettings
from compressors.spans import join
from compressors.token_classifier import token_classifier
from compressors.tokenizers import counter
from compressors.units import Reading, Units, shares, units
from compressors.words import read

pytestmark = pytest.mark.reference
MARKS = ["\n", "?", "!", "."]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    text: str | list[str]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def contexts(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else self.text


def documents_case(**settings: Any) -> Case:
    return Case(documents(14, 6), settings)


CASES = {
    "rate0.5": Case(transcript(12, 10), {"rate": 0.5}),
    "rate0.33_force_marks": Case(transcript(14, 60), {"rate": 0.33, "force_tokens": MARKS}),
    "drop_consecutive": Case(
        transcript(14, 60),
        {"rate": 0.33, "force_tokens": MARKS, "drop_consecutive": True, "chunk_end_tokens": [".", "\n"]},
    ),
    "digits": Case(transcript(13, 8), {"rate": 0.4, "force_reserve_digit": True}),
    "target_token": Case(transcript(15, 40), {"target_token": 200}),
    "first_subword": Case(transcript(13, 8), {"rate": 0.4, "token_to_word": "first"}),
    "documents_default_filter": documents_case(rate=0.5, use_context_level_filter=True),
    "documents_number": documents_case(
        rate=0.5, use_context_level_filter=True, target_context=2, force_context_ids=[5]
    ),
    "documents_budget": documents_case(target_token=250, use_context_level_filter=True, context_level_target_token=400),
    "documents_only": documents_case(rate=0.5, use_context_level_filter=True, use_token_level_filter=False),
    "documents_no_filter": documents_case(rate=0.5, use_context_level_filter=False),
    "unicode": Case(UNICODE.replace("\u200d", ""), {"rate": 0.7}),  # joined emoji are one word here, two there
    "phrases": Case(transcript(13, 8), {"rate": 0.4, "force_tokens": ["and that is", "=", "+", "Haddad"]}),
}
"""`rate` 1 and 0, empty texts and texts without sentence ends have tests of their own below."""


class Package:
    """Ours, reading as the package reads: see the module's docstring."""

    def __init__(self, kind: str, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.model = token_classifier(str(tiny(kind)), "cpu", "fp32")
        shared = open_checkpoint(str(tiny(kind))).tokenizer
        self.tokenizer: Any = type(shared).from_str(shared.to_str())
        self.tokenizer.encode_special_tokens = False
        self.xlm = kind == "xlm-r"
        self.unknown = int(self.tokenizer.token_to_id("<unk>" if self.xlm else "[UNK]") or 0)
        forced: list[str] = settings.get("force_tokens", [])
        names = {token: f"[NEW{i}]" for i, token in enumerate(forced)}
        self.mapped = {token: names[token] for token in forced if len(self._encode(token).ids) != 1}
        self.forced = {*forced, *self.mapped.values()}
        ends = settings.get("chunk_end_tokens", [".", "\n"])
        self.ends = {*ends, *(self.mapped[end] for end in ends if end in self.mapped)}

    def _encode(self, text: str) -> Any:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def read(self, text: str) -> Reading:
        """Phrases are replaced by a special token; rows end after "." as a piece; unknown pieces are in no word."""
        for token, name in self.mapped.items():
            text = text.replace(token, name)
        words = read(text, self.tokenizer)
        ids = np.array(self._encode(text).ids, np.intp)  # [NEW0] is no text here
        words = replace(words, ids=ids, owners=np.where(ids == self.unknown, -1, words.owners))
        stops = np.array([self.tokenizer.id_to_token(i) in self.ends for i in ids.tolist()])
        return Reading(text, words, rows(words, 510, stops))

    def ids(self, readings: Sequence[Reading]) -> list[list[int]]:
        """XLM-R's rows stand between unknown tokens (#181)."""
        first, last = (self.unknown, self.unknown) if self.xlm else (self.model.first, self.model.last)
        return [[first, *row, last] for reading in readings for row in reading.pieces()]

    def pieces(self, reading: Reading) -> list[str]:
        """Without the marks of the tokenizer."""
        return [self.bare(self.tokenizer.id_to_token(i)) for i in reading.words.ids.tolist()]

    def bare(self, piece: str) -> str:
        return piece.removeprefix("▁") if self.xlm else piece.lstrip("#")

    def with_forced(self, reading: Reading, scores: Sequence[Floats]) -> list[Floats]:
        """Probability 1 for forced tokens: of each by itself, and the word may go all the same."""
        texts = self.pieces(reading)
        digits = self.settings.get("force_reserve_digit", False)
        flags = np.array([text in self.forced or (digits and any(map(str.isdigit, text))) for text in texts])
        found = zip(reading.rows, scores, strict=True)
        return [np.where(flags[row.first : row.last], np.float32(1), score) for row, score in found]

    def spelled(self, reading: Reading) -> list[str]:
        """Our words as it would write them, of the pieces' texts, the first one's with its "▁"."""
        words, pieces = reading.words, self.pieces(reading)
        found = [""] * len(words.starts)
        back = {name: token for token, name in self.mapped.items()}
        for i, owner in enumerate(words.owners.tolist()):
            if owner >= 0:
                raw = self.tokenizer.id_to_token(int(words.ids[i]))
                found[owner] += back.get(pieces[i], pieces[i]) if found[owner] or not self.xlm else back.get(raw, raw)
        return found


def grouped(package: Sequence[str], ours: Sequence[str]) -> NDArray[np.intp]:
    """For each of our words the number of the package's word that it is part of: in scripts without spaces ours end
    with a piece. Words of unknown pieces alone, which the package loses, have a number below 0."""
    groups: list[int] = []
    rest, number = "", -1
    for word in ours:
        if not rest and word:
            number += 1
            rest = package[number].removeprefix("▁")
        plain = word.removeprefix("▁")
        assert rest.startswith(plain), (rest, plain)
        rest = rest.removeprefix(plain)
        groups.append(number if word else -1)
    assert not rest
    assert number == len(package) - 1
    return np.array(groups, np.intp)


def by_word(reading: Reading, scores: Sequence[Floats], groups: NDArray[np.intp], subword: Any) -> Units:
    """The product's units, made of the package's words."""
    numbers = np.unique(np.maximum.accumulate(groups), return_inverse=True)[1]
    lost = (groups < 0) & (np.append(-1, groups[:-1]) != np.append(groups[1:], -2))
    apart = np.cumsum(lost | np.append(False, lost[:-1]))
    found = units(reading, scores, np.unique(numbers + apart, return_inverse=True)[1], subword)
    named = np.isin(found.starts, reading.words.starts[groups >= 0])
    return Units(found.starts[named], found.ends[named], found.keep[named], found.rows[named])


@dataclass(frozen=True)
class Compared:
    """One case, run by both. Lists hold one entry a chunk, in order."""

    theirs: list[Row]
    their_words: list[tuple[list[str], list[Any]]]
    """The words, and of each the probabilities of its pieces."""
    their_chunks: list[list[str]]
    their_labels: list[tuple[str, bool]]
    rows: list[list[int]]
    scores: list[Floats]
    words: list[Units]
    """One for each context."""
    spelled: list[list[str]]
    """The same words as the package weighs them, the "▁" of XLM-R included."""
    first: list[Units]
    """The same with the first subword's probability, nothing forced: what the package ranks documents by."""


@cache
def compared(kind: str, name: str) -> Compared:
    case = CASES[name]
    with (
        rows_scored(kind) as theirs,
        calls(kind, "__merge_token_to_word") as merged,
        calls(kind, "__chunk_context") as chunks,
    ):
        expected = labels(kind, case.text, **case.settings)
    package = Package(kind, case.settings)
    readings = [package.read(context) for context in case.contexts]
    ids = package.ids(readings)
    scores = package.model.keep(ids)
    inner, their_words = iter(scores), iter(merged)
    words, first, spelled = [], [], []
    for reading in readings:
        own = [next(inner)[1:-1] for _ in reading.rows]
        ours = package.spelled(reading)
        groups = grouped([word for _ in reading.rows for word in next(their_words).result[0]], ours)
        spelled.append([""] * (int(groups.max()) + 1))
        for word, group in zip(ours, groups.tolist(), strict=True):
            if group >= 0:
                spelled[-1][group] += word.removeprefix("▁") if spelled[-1][group] else word
        forced = package.with_forced(reading, own)
        words.append(by_word(reading, forced, groups, case.settings.get("token_to_word", "mean")))
        first.append(by_word(reading, own, groups, "first"))
    found = [(call.result[0], [np.array(values) for values in call.result[1]]) for call in merged[: len(ids)]]
    return Compared(theirs, found, [call.result for call in chunks], expected, ids, scores, words, spelled, first)


EVERY = pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in CLASSIFIERS for name in CASES])


@EVERY
def test_the_model_reads_the_same_rows_and_gives_the_same_probabilities(kind: str, name: str) -> None:
    found = compared(kind, name)
    assert [row.ids for row in found.theirs[: len(found.rows)]] == found.rows
    for row, score in zip(found.theirs, found.scores, strict=False):
        np.testing.assert_allclose(score, row.keep, atol=TOLERANCE)


@EVERY
def test_words_have_the_same_probabilities(kind: str, name: str) -> None:
    found = compared(kind, name)
    first = CASES[name].settings.get("token_to_word") == "first"
    theirs = [values[0] if first else values.mean() for _, words in found.their_words for values in words]
    ours = np.concatenate([words.keep for words in found.words])
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@EVERY
def test_the_same_words_are_kept_with_the_rule_of_each_chunk(kind: str, name: str) -> None:
    case, found = CASES[name], compared(kind, name)
    chosen = coarse(case, found) if case.settings.get("use_context_level_filter") else set(range(len(found.words)))
    if not case.settings.get("use_token_level_filter", True):
        text = published(kind).compress_prompt(case.text, **case.settings)["compressed_prompt"]
        assert chosen == {int(number) - 1 for number in re.findall(r"Note (\d)", text)}
        return
    rate = rate_of(case, found, chosen)
    ours: list[bool] = []
    for number, (words, spelled) in enumerate(zip(found.words, found.spelled, strict=True)):
        kept = kept_by_package(words, spelled, rate, case.settings) if number in chosen else [False] * len(spelled)
        ours.extend(kept)
    assert ours == [label for _, label in found.their_labels]
    assert 0 < sum(ours) < len(ours)


def kept_by_package(words: Units, spelled: Sequence[str], rate: float, settings: dict[str, Any]) -> list[bool]:
    """Its rounding of the rate; its weights, cl100k tokens of words with their "▁"; forced words above all others; and
    its way of thinning out repeated force tokens."""
    count = counter("cl100k_base").count
    weights = np.array([count(word) for word in spelled])
    keep = words.keep.copy()
    marks = set(settings.get("force_tokens", ())) if settings.get("drop_consecutive") else set()
    for row in range(int(words.rows[-1]) + 1):
        inside = np.flatnonzero(words.rows == row)
        enough = np.percentile(keep[inside], int(100 * (1 - rate)))
        between, before = False, ""
        for i in inside.tolist() if marks else ():
            if spelled[i] not in marks:
                between |= bool(keep[i] > enough)
                continue
            if not between and spelled[i] == before:
                keep[i] = 0
            between, before = False, spelled[i]
    above = (shares(keep, weights, words.rows) > int(100 * (1 - rate) + 1) / 100) | (keep >= 1)
    kept: list[bool] = []
    row, last = -1, ""
    for i, good in enumerate(above.tolist()):
        if words.rows[i] != row:
            row, last = words.rows[i], ""
        good = good and not (spelled[i] in marks and spelled[i] == last)
        last = spelled[i] if good else last
        kept.append(good)
    return kept


def coarse(case: Case, found: Compared) -> set[int]:
    """Which documents the package keeps, by our probabilities."""
    given = case.settings
    scores = [float(words.keep.mean()) for words in found.first]
    rate, target = given.get("rate", 0.5), given.get("target_token", -1)
    share = given.get("context_level_rate", 1.0)
    number, budget = given.get("target_context", -1), given.get("context_level_target_token", -1)
    fine = given.get("use_token_level_filter", True)
    if number <= 0 and budget <= 0 and share >= 1:
        if target < 0:
            share = (rate + 1) / 2 if fine else rate
        else:
            budget = target * 2 if fine else target
    if number >= 0:
        share = min(number / len(scores), 1.0)
    if budget >= 0:
        share = min(budget / sum(map(counter("cl100k_base").count, case.contexts)), 1.0)
    enough = np.percentile(scores, int(100 * (1 - share)))
    return {n for n, score in enumerate(scores) if score >= enough} | set(given.get("force_context_ids", ()))


def rate_of(case: Case, found: Compared, chosen: set[int]) -> float:
    target = case.settings.get("target_token", -1)
    if target < 0:
        return float(case.settings["rate"])
    count = counter("cl100k_base").count
    if not case.settings.get("use_context_level_filter"):
        return float(min(target / sum(map(count, case.contexts)), 1.0))
    return float(min(target / sum(count(chunk) for n in chosen for chunk in found.their_chunks[n]), 1.0))


# What it does at the edges, and what we do


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_without_sentence_ends_it_loses_words_and_we_do_not(kind: str) -> None:
    text = " ".join(without_ends(24, 150).split())
    with rows_scored(kind) as theirs:
        seen = "".join(word for word, _ in labels(kind, text, rate=0.5))
    assert len(seen) < len(text.replace(" ", ""))  # chunks of 511 tokens and two around them, cut at 512
    reading = Package(kind, {}).read(text)
    ours = token_classifier(str(tiny(kind)), "cpu", "fp32").keep([row.ids for row in theirs])
    for row, keep in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(keep, row.keep, atol=TOLERANCE)
    assert [row.start for row in reading.rows] == [0, *(row.end for row in reading.rows[:-1])]
    assert reading.rows[-1].end == len(reading.words.ids)
    assert max(row.last - row.first for row in reading.rows) == 510


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_rate_one_is_the_text_itself_rate_zero_and_no_text_no_error(kind: str) -> None:
    ours = Classifier(ClassifierSettings(model=str(tiny(kind)), device="cpu", precision="fp32"))
    kept = ours.compress([Task(UNICODE, Rate(1)), Task(UNICODE, Tokens(0)), Task("", Rate(0.5))])
    assert [join(text, k.spans) for text, k in zip([UNICODE, UNICODE, ""], kept, strict=True)][::2] == [UNICODE, ""]
    assert kept[1].spans
    assert published(kind).compress_prompt(UNICODE, rate=1.0)["compressed_prompt"] != UNICODE
    assert published(kind).compress_prompt("", rate=0.5)["compressed_prompt"] == ""
    with pytest.raises(ValueError, match="range"):
        published(kind).compress_prompt(paragraph(1, 3), rate=0.0)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_product_keeps_those_words_and_as_many_as_were_asked_for(kind: str) -> None:
    """No emulation but the boundary tokens. A text of one chunk, in which no word is part of a compound."""
    text = " ".join(re.sub(r"[^\w\s.]|\d", "", paragraph(5, 20)).replace(".", " . ").split())
    ours = Classifier(
        ClassifierSettings(model=str(tiny(kind)), device="cpu", precision="fp32", threshold_scope="chunk")
    )
    if kind == "xlm-r":
        model = copy(ours._model)
        model.first = model.last = Package(kind, {}).unknown
        ours.__dict__["_model"] = model
    theirs = [(word, label) for word, label in labels(kind, text, rate=0.5)]
    budget = Tokens(counter("o200k_base").count(" ".join(word for word, label in theirs if label)))
    kept = join(text, ours.compress([Task(text, budget)])[0].spans).split()
    assert Counter(kept) == Counter(word for word, label in theirs if label)
