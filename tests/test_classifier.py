"""LLMLingua-2 over any token classifier: the best words stay, forced ones whatever happens, and the size is met."""

import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from test_compressors import LANGUAGES, LONG
from test_fit import long
from tiny_models import tiny

from compressors import Kept, Rate, Task, Threshold, Tokens, Unavailable, load
from compressors.classifier import Classifier, ClassifierSettings
from compressors.spans import join
from compressors.tokenizers import counter

KINDS = ["xlm-r", "bert", "modernbert"]
TEXT = (
    "Who approved 12.5% of it?\nNobody did; the council can't. So? It is so! Then 1,204 people left.\n\nAll of us." * 8
)


def classifier(kind: str = "bert", **settings: object) -> Classifier:
    return Classifier(msgspec.convert({"model": str(tiny(kind)), "device": "cpu", **settings}, ClassifierSettings))


def shorten(text: str, rate: float = 0.4, kind: str = "bert", **settings: object) -> str:
    return join(text, classifier(kind, **settings).compress([Task(text, Rate(rate))])[0].spans)


def size(text: str) -> int:
    return counter("o200k_base").count(text)


@pytest.mark.parametrize(("kind", "scope"), [*((kind, "prompt") for kind in KINDS), ("bert", "chunk")])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_size_is_met_in_any_language(kind: str, scope: str, language: str) -> None:
    text = long(language, 250)
    asked = [round(rate * size(text)) for rate in (0.2, 0.33, 0.5, 0.8)] + [100]
    tasks = [Task(text, Tokens(tokens)) for tokens in asked]
    found = classifier(kind, threshold_scope=scope).compress(tasks)
    assert [size(join(text, kept.spans)) for kept in found] == pytest.approx(asked, rel=0.03)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["a" * 20_000, "0123456789abcdef" * 1_000, "[" * 5_000 + "]" * 5_000, "x \n" * 5_000])
def test_the_size_is_met_where_there_are_no_words(kind: str, text: str) -> None:
    assert size(shorten(text, 0.3, kind)) == pytest.approx(0.3 * size(text), rel=0.03)


def test_the_size_is_met_for_short_texts_and_long_ones() -> None:
    texts = [long("en", tokens) for tokens in (100, 20_000)]
    tasks = [Task(text, Rate(rate)) for text in texts for rate in (0.2, 0.33, 0.5, 0.8)]
    for task, kept in zip(tasks, classifier().compress(tasks), strict=True):
        assert size(join(task.text, kept.spans)) == round(task.budget.value * size(task.text))


@pytest.mark.parametrize("kind", KINDS)
def test_what_stays_is_what_the_model_would_keep(kind: str) -> None:
    """Each word alone in its row of the text, so that its probability is that of the model for the whole text."""
    text = "alpha beta gamma delta epsilon"
    compressor = classifier(kind)
    model = compressor._model
    encoded = model.checkpoint.tokenizer.encode(text)
    scores = model.keep([encoded.ids])[0]
    of_words = {
        match.group(): np.mean(
            [
                score
                for score, (start, end) in zip(scores, encoded.offsets, strict=True)
                if start < match.end() and end > match.start() and text[start:end].strip()
            ]
        )
        for match in re.finditer(r"\w+", text)
    }
    best = max(of_words, key=lambda word: of_words[word])
    for word, kept in ((best, Threshold(float(of_words[best]) - 1e-4)), (best, Tokens(1))):
        found = compressor.compress([Task(text, kept)])[0]
        assert join(text, found.spans).strip() == word


def test_a_threshold_keeps_whatever_is_likelier() -> None:
    sizes = [len(classifier().compress([Task(TEXT, Threshold(t))])[0].spans) > 0 for t in (0.0, 0.3, 0.6, 1.0)]
    assert all(sizes)
    kept = [size(join(TEXT, classifier().compress([Task(TEXT, Threshold(t))])[0].spans)) for t in (0, 0.3, 0.6, 1)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == size(TEXT) > kept[2]


@pytest.mark.parametrize("kind", KINDS)
def test_forced_is_forced(kind: str) -> None:
    short = shorten(TEXT, 0.45, kind, force_tokens=["?", "!", "the council", "\n"], force_digits=True)
    for mark in ("?", "!", "the council", "\n", "12.5", "1,204"):
        assert short.count(mark) == TEXT.count(mark), mark
    assert size(short) == round(0.45 * size(TEXT))


def test_a_forced_word_is_no_part_of_another() -> None:
    text = "the other weather gathers there, the end of the matter " * 5
    short = shorten(text, 0.3, force_tokens=["the"])
    assert len(re.findall(r"\bthe\b", short)) == 15
    assert size(short) == round(0.3 * size(text))
    chinese = "市议会批准了新的预算。主席说，我们需要更多的资金。" * 4
    assert shorten(chinese, 0.4, force_tokens=["预算"]).count("预算") == 4


def test_of_force_tokens_side_by_side_only_the_first_stays() -> None:
    text = "One thing . Another one . Or so . And more of it ? No . " * 6
    marks = [".", "?", "\n"]
    thinned = shorten(text, 0.35, drop_consecutive=True, force_tokens=marks)
    assert ". ." in shorten(text, 0.35, force_tokens=marks)
    assert not re.search(r"\.\s*\.|\?\s*\?", thinned)
    assert size(thinned) == round(0.35 * size(text))


def test_the_rule_of_each_chunk_takes_the_same_share_of_each() -> None:
    """Where one document has all the words that the model likes, it keeps them all by the rule of the prompt."""
    text = LONG
    half = len(text) // 2
    documents = ((0, half), (half, len(text)))
    task = Task(text, Rate(0.5), documents=documents)
    kept = classifier(threshold_scope="chunk").compress([task])[0]
    shares = [size(join(text[a:b], within(kept, a, b))) / size(text[a:b]) for a, b in documents]
    assert shares == pytest.approx([0.5, 0.5], abs=0.02)
    assert kept != classifier().compress([task])[0]


def within(kept: Kept, start: int, end: int) -> list[tuple[int, int]]:
    return [(max(a, start) - start, min(b, end) - start) for a, b in kept.spans if a < end and b > start]


def test_subwords_and_rows_are_settings_that_change_something() -> None:
    found = {shorten(LONG, 0.4), shorten(LONG, 0.4, subword="first"), shorten(LONG, 0.4, chunk_end_tokens=["x"])}
    assert len(found) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_spells_a_special_token_neither_fails_nor_steers(kind: str) -> None:
    text = "one </s> two [SEP] three <s> four [CLS] five [NEW0] six <mask> seven [PAD] eight"
    assert size(shorten(text, 0.5, kind)) == round(0.5 * size(text))


def test_texts_are_scored_once_however_often_they_are_asked_for() -> None:
    compressor = classifier()
    seen: list[int] = []

    class Counting:
        def __init__(self, model: object) -> None:
            self._model = model

        def __getattr__(self, name: str) -> object:
            return getattr(self._model, name)

        def keep(self, rows: list[list[int]]) -> object:
            seen.append(len(rows))
            return self._model.keep(rows)  # type: ignore[attr-defined]

    compressor.__dict__["_model"] = Counting(compressor._model)
    tasks = [Task(text, Rate(rate)) for text in (TEXT, LONG) for rate in (0.2, 0.5)]
    together = compressor.compress([*tasks, replace(tasks[0], budget=Rate(1)), Task("", Rate(0.5))])
    assert len(seen) == 1, "one call for all tasks"
    assert [classifier().compress([task])[0] for task in tasks] == together[:4]
    alone = len(seen)
    compressor.compress([Task(TEXT, Rate(1)), Task(" ", Rate(0.2))])
    assert len(seen) == alone, "nothing to score"


def test_the_version_names_settings_and_model() -> None:
    versions = {classifier(kind).version for kind in KINDS} | {classifier(subword="first").version}
    assert len(versions) == 4
    assert classifier().version == classifier().version


def test_a_model_that_is_not_there_is_told_when_it_is_needed() -> None:
    compressor = load("classifier", ClassifierSettings(model="someone/something"))
    with pytest.raises(Unavailable, match="laconic models download someone/something"):
        compressor.compress([Task("A few words.", Rate(0.5))])
