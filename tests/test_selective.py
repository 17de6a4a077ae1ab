"""Selective Context: what says little by itself goes, by sentence, phrase or token."""

import numpy as np
import pytest
from tiny_models import tiny

from compressors import Rate, Task, Threshold, Tokens
from compressors.causal import Row, causal
from compressors.phrases import phrases
from compressors.selective import Level, Selective, SelectiveSettings
from compressors.spans import join, sentences
from compressors.tokenizers import counter

TEXT = (
    "The ferry terminal opens in spring. Nobody could find the key to the archive in the cellar! The night market went "
    "over budget by $1,240,500 — 18.75%. 市议会批准了新的预算。 "
    "Who told the others about it? We'll vote at 19:30.\n\nHome. "
) * 4
LEVELS: tuple[Level, ...] = ("sentence", "phrase", "token")


def selective(level: Level, kind: str = "gpt2") -> Selective:
    return Selective(SelectiveSettings(model=str(tiny(kind)), device="cpu", level=level))


def size(text: str) -> int:
    return counter("o200k_base").count(text)


def kept(level: Level, task: Task, kind: str = "gpt2") -> str:
    return join(task.text, selective(level, kind).compress([task])[0].spans)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_the_size_is_met(kind: str, level: Level, rate: float) -> None:
    found = size(kept(level, Task(TEXT, Rate(rate)), kind))
    assert abs(found - rate * size(TEXT)) <= 0.03 * rate * size(TEXT)


def test_a_sentence_stays_for_its_mean_surprise() -> None:
    model = causal(str(tiny("gpt2")), "cpu")
    found = [TEXT[start:end].strip() for start, end in sentences(TEXT)][:7]
    means = [model.surprises([Row([*model.bos, *model.encode(one).ids])])[0].mean() for one in found]
    best = found[int(np.argmax(means))]
    assert kept("sentence", Task(" ".join(found), Tokens(size(best)))).strip() == best


def test_a_phrase_stays_for_the_mean_of_its_own_tokens() -> None:
    """Checked on one sentence, token by token."""
    text = "The night market went over budget, as the surveyor of the old harbour wrote on page 12."
    model = causal(str(tiny("gpt2")), "cpu")
    encoded = model.encode(text)
    (scores,) = model.surprises([Row([*model.bos, *encoded.ids])])
    units = list(phrases(text, 0, len(text)))
    means = [
        np.mean([score for (_, end), score in zip(encoded.spans, scores, strict=True) if a < end <= b])
        for a, b in units
    ]
    best = text[slice(*units[int(np.argmax(means))])]
    assert best in kept("phrase", Task(text, Tokens(size(best) + 2)))


@pytest.mark.parametrize("level", LEVELS)
def test_a_threshold_is_a_share_of_the_best_units_score(level: Level) -> None:
    sizes = [size(kept(level, Task(TEXT, Threshold(share)))) for share in (0.0, 0.5, 0.8, 1.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert size(TEXT) == sizes[0] > sizes[3] > 0


@pytest.mark.parametrize("level", LEVELS)
def test_sentences_longer_than_the_model_are_no_problem(level: Level) -> None:
    """The published package fails beyond 1,023 tokens (its issues 23 and 34)."""
    text = "tram " * 900 + "café"
    assert 0 < size(kept(level, Task(text, Rate(0.5)), "gpt2-512")) <= size(text)


def test_what_is_protected_stays() -> None:
    at = TEXT.index("archive")
    for level in LEVELS:
        assert "archive" in kept(level, Task(TEXT, Rate(0.1), protected=((at, at + 7),)))


def test_the_version_tells_settings_and_model() -> None:
    versions = {selective(level, kind).version for level in LEVELS for kind in ("gpt2", "llama")}
    assert len(versions) == 6
