"""LLMLingua and ours on the same models: surprises, conditional and contrastive ones, those of each window."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from own_prompts import INSTRUCTION, QUESTION, UNICODE, documents, paragraph, transcript
from published import CAUSAL, TOLERANCE, Call, calls, conditional, published, surprises
from tiny_models import tiny

from compressors.base import Rate, Task
from compressors.causal import CausalModel, Row, causal
from compressors.perplexity import Perplexity, PerplexitySettings
from compressors.spans import join
from compressors.tokenizers import counter

pytestmark = pytest.mark.reference
TEXTS = [transcript(1, 6), UNICODE, paragraph(3, 40), "\n\nOne.\n\n\nTwo  three.\t"]


def model(kind: str) -> CausalModel:
    return causal(str(tiny(kind)), "cpu", "fp32")


def tokens(kind: str, text: str) -> list[int]:
    """As the published package has them: `<s>` first for Llama, nothing for GPT-2."""
    ids: list[int] = model(kind).checkpoint.tokenizer.encode(text).ids
    return ids


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_tokens_surprise_alike(kind: str, text: str) -> None:
    (ours,) = model(kind).surprises([Row(tokens(kind, text))])
    np.testing.assert_allclose(ours, surprises(kind, text), atol=TOLERANCE)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("mode", ["before", "after", "none"])
def test_conditional_surprises_are_the_same(kind: str, mode: str) -> None:
    """In a batch of different lengths, and read on from a cache."""
    notes = [*documents(2, 4), paragraph(5, 30)]
    rows = []
    for note in notes:
        first, second = {"before": (QUESTION, note), "after": (note, QUESTION), "none": ("", note)}[mode]
        ids = tokens(kind, first + second)
        rows.append(Row(ids, max(len(tokens(kind, first)), 1)))
    wanted = [conditional(kind, note, QUESTION, mode) for note in notes]
    together = [float(found.mean()) for found in model(kind).surprises(rows)]
    np.testing.assert_allclose(together, wanted, atol=TOLERANCE)
    for row, want in zip(rows, wanted, strict=True):
        chain = model(kind).chain()
        chain.extend(row.ids[: row.start])
        assert float(chain.extend(row.ids[row.start :]).mean()) == pytest.approx(want, abs=TOLERANCE)


def windows(found: list[Call]) -> Iterator[tuple[int, dict[str, Any], list[int]]]:
    """Each window that was just read: where it ends, what is known there, and the ids. It is one document, so that a
    window has one part. Its end is counted here: the package changes that number after it has handed it over."""
    end = int(found[0].arguments[3])
    for number, call in enumerate(found):
        end += call.named["iterative_size"] if number else 0
        ids = call.arguments[1][0].tolist()
        yield end, {"loss": call.arguments[0], **call.named}, ids
        end -= len(ids) - len(call.result[0][0])


@pytest.mark.parametrize("kind", CAUSAL)
def test_each_window_is_scored_with_the_same_compressed_text_before_it(kind: str) -> None:
    """Its score at a place is the surprise of the token after: ours is compared at that token."""
    with calls(kind, "get_compressed_input") as found:
        published(kind).compress_prompt(transcript(2, 14), rate=0.5, iterative_size=100)
    checked = 0
    for end, known, ids in windows(found):
        first = max(end - 100, 0)
        (ours,) = model(kind).surprises([Row(ids[:end], first + 1)])
        np.testing.assert_allclose(ours, known["loss"][first : end - 1].numpy(), atol=TOLERANCE)
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("kind", CAUSAL)
def test_contrastive_scores_of_each_window_are_the_same(kind: str) -> None:
    with calls(kind, "get_compressed_input") as found:
        published(kind).compress_prompt(
            transcript(8, 14),
            instruction=INSTRUCTION,
            question=QUESTION,
            rate=0.5,
            iterative_size=100,
            rank_method="longllmlingua",
            condition_compare=True,
        )
    checked = 0
    for end, known, ids in windows(found):
        start, plain = known["start"], known["self_input_ids"][0].tolist()
        first = max(end - 100, start + 1)
        here = slice(first, end - 1)
        there = slice(first - start, end - 1 - start)
        theirs = known["self_loss"][there].numpy() - known["loss"][here].numpy()
        given, alone = model(kind).surprises([Row(ids[:end], first + 1), Row(plain[: end - start], first + 1 - start)])
        np.testing.assert_allclose(alone - given, theirs, atol=2 * TOLERANCE)  # of two surprises
        checked += 1
    assert checked > 5


@pytest.mark.parametrize("kind", CAUSAL)
def test_what_is_repaired_is_broken_there(kind: str) -> None:
    """Accidents of the published package that the documentation names: it must say so no longer once they are gone."""
    compressor = published(kind)
    short, long = paragraph(1, 2), transcript(2, 14)
    assert compressor.compress_prompt(short, rate=0.5)["compressed_prompt"].split() == short.split()
    assert compressor.compress_prompt(long, rate=0.5)["compressed_prompt"].endswith(long[-60:])
    ours = Perplexity(PerplexitySettings(model=str(tiny(kind)), device="cpu", precision="fp32"))
    count = counter("o200k_base").count
    for text, kept in zip((short, long), ours.compress([Task(t, Rate(0.5)) for t in (short, long)]), strict=True):
        assert count(join(text, kept.spans)) == pytest.approx(count(text) / 2, abs=1)
        assert not join(text, kept.spans).endswith(text[-60:])
