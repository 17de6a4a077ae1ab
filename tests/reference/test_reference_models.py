"""The published package and ours read the same models alike: ids, and the probabilities of token classifiers."""

from importlib.metadata import version

import numpy as np
import pytest
from own_prompts import QUESTION, UNICODE, documents, paragraph, transcript
from published import (
    CAUSAL,
    CLASSIFIERS,
    TOLERANCE,
    calls,
    chosen,
    conditional,
    labels,
    published,
    ranking,
    rows_scored,
    surprises,
)
from tiny_models import tiny

from compressors.checkpoint import open_checkpoint
from compressors.token_classifier import token_classifier

pytestmark = pytest.mark.reference


def test_the_versions_are_those_that_run_unpatched() -> None:
    assert {name: version(name).partition("+")[0] for name in ("llmlingua", "transformers", "torch")} == {
        "llmlingua": "0.2.2",
        "transformers": "4.47.1",
        "torch": "2.13.0",
    }


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *CAUSAL])
@pytest.mark.parametrize("text", [transcript(1, 6), UNICODE, "", "\n\n", "a  b\tc "], ids=range(5))
def test_tokens_are_the_same(kind: str, text: str) -> None:
    assert open_checkpoint(str(tiny(kind))).tokenizer.encode(text).ids == published(kind).tokenizer(text).input_ids


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_token_classifiers_give_the_same_probabilities(kind: str) -> None:
    """Padded there, not padded here; its rows, whatever special tokens stand around them."""
    with rows_scored(kind) as rows:
        published(kind).compress_prompt([transcript(1, 25), UNICODE], rate=0.5, use_context_level_filter=False)
    assert len({len(row.ids) for row in rows}) > 1
    ours = token_classifier(str(tiny(kind)), "cpu", "fp32").keep([row.ids for row in rows])
    for row, keep in zip(rows, ours, strict=True):
        np.testing.assert_allclose(keep, row.keep, atol=TOLERANCE)
    assert np.ptp(np.concatenate(ours)) > 0.5  # scores that say nothing would be equal too


def test_the_harness_sees_what_passes() -> None:
    """A harness that recorded nothing would let every comparison pass."""
    text = paragraph(3, 4)
    found = labels("bert", text, rate=0.4)
    assert 0 < sum(kept for _, kept in found) < len(found)
    assert found[0][0] in text
    with calls("bert", "__merge_token_to_word") as merged:
        published("bert").compress_prompt(text, rate=0.4)
    assert merged[0].result[0][: len(found)] == [word for word, _ in found]
    with calls("gpt2", "get_estimate_threshold_base_distribution") as thresholds:
        published("gpt2").compress_prompt(transcript(1, 12), rate=0.5)
    assert len(thresholds) > 1
    assert len(surprises("gpt2", text)) == len(published("gpt2").tokenizer(text).input_ids) - 1
    notes = documents(4, 5)
    order = ranking("gpt2", notes, QUESTION, "longllmlingua")
    asked = QUESTION + " We can get the answer to this question in the given documents."
    assert order == sorted(range(5), key=lambda n: conditional("gpt2", notes[n], asked, "after"))
    coarse = chosen("gpt2", notes, QUESTION, 150, dynamic_context_compression_ratio=0.3, reorder_context="sort")
    assert coarse.indexes == order[: len(coarse.indexes)]
    assert coarse.ratios == sorted(coarse.ratios, reverse=True)
