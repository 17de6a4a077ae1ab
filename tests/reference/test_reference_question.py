"""LongLLMLingua and ours on the same models: ranks, contrastive scores, what stays and at what rate, recovery."""

import random

import numpy as np
import pytest
from own_prompts import QUESTION, documents, transcript
from published import CAUSAL, TOLERANCE, calls, chosen, conditional, published, ranking
from tiny_models import tiny

from compressors import Tokens, coarse
from compressors.base import Task
from compressors.causal import Row, causal
from compressors.checkpoint import open_checkpoint
from compressors.passages import group
from compressors.question import Question, QuestionSettings, choose, reorder
from compressors.rankers import Options, ranker
from compressors.rankers.perplexity import GUIDE
from compressors.recovery import recover

pytestmark = pytest.mark.reference
MODES = ("after", "before", "none")


def ours(kind: str, mode: str, notes: list[str], question: str = QUESTION) -> list[float]:
    made = ranker("perplexity", Options(str(tiny(kind)), "cpu", "fp32", mode))
    found: list[float] = made.score([question], [notes])[0].tolist()
    return found


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("mode", MODES)
def test_documents_have_the_same_scores(kind: str, mode: str) -> None:
    notes = documents(4, 6)
    sign = 1 if mode == "none" else -1
    want = [sign * conditional(kind, note, QUESTION + GUIDE, mode) for note in notes]
    np.testing.assert_allclose(ours(kind, mode, notes), want, atol=TOLERANCE)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(5))
def test_documents_are_ranked_the_same(kind: str, mode: str, seed: int) -> None:
    notes = documents(seed, 9, 4)
    scores = ours(kind, mode, notes)
    assert sorted(range(9), key=lambda n: -scores[n]) == ranking(kind, notes, QUESTION, "longllmlingua", mode)


@pytest.mark.parametrize("kind", CAUSAL)
def test_contrastive_scores_are_the_same(kind: str) -> None:
    """Its first pass, over the whole text. It reads that without what begins a text (`<s>`), and counts the surprise of
    a token for the one before: ours does neither."""
    text = transcript(8, 12)
    with (
        calls(kind, "get_estimate_threshold_base_distribution") as thresholds,
        calls(kind, "get_prefix_length") as starts,
    ):
        published(kind).compress_prompt(
            text,
            question=QUESTION,
            rate=0.5,
            condition_compare=True,
            rank_method="longllmlingua",
            condition_in_question="after_condition",
        )
    model = causal(str(tiny(kind)), "cpu", "fp32")
    ids = model.encode(f"{QUESTION}\n\n{text}").ids
    start = starts[0].result
    differences = model.surprises([Row(ids[start:])])[0] - model.surprises([Row(ids, start + 1)])[0]
    assert len(differences) > 200
    np.testing.assert_allclose(differences, thresholds[0].arguments[0].numpy(), atol=TOLERANCE)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("rule", ["+100", "+10", "*1.5"])
def test_the_same_documents_stay_in_the_same_order_with_the_same_ratios(kind: str, rule: str) -> None:
    """Given the same costs: it counts the small model's tokens, ours the target model's."""
    notes = documents(4, 6)
    target = 300.0
    model = published(kind)
    costs = [model.get_token_length(note) for note in notes]
    ranks = ranking(kind, notes, QUESTION, "longllmlingua")
    for order in ("original", "sort", "two_stage"):
        want = chosen(
            kind,
            notes,
            QUESTION,
            target,
            context_budget=rule,
            reorder_context=order,
            dynamic_context_compression_ratio=0.3,
        )
        taken = coarse.take(ranks, costs, coarse.room(rule, target))
        ratio = dict(zip(taken, coarse.slants(len(taken), 0.3), strict=True))
        found = group(_task(notes))
        moved = [i for i in reorder(found, ranks, taken, order) or range(6) if i in ratio]
        assert moved == want.indexes
        np.testing.assert_allclose([ratio[i] for i in moved], want.ratios, atol=TOLERANCE)


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_whole_way_ranks_and_chooses_the_same(kind: str) -> None:
    """From a task: the documents that keep anything are those that stay there, given its target in their tokens."""
    notes = documents(5, 8)
    found = group(_task(notes))
    made = Question(QuestionSettings(model=str(tiny(kind)), device="cpu", precision="fp32", order="sort"))
    kept = made.compress([_task(notes)])[0]
    ranks = ranking(kind, notes, QUESTION, "longllmlingua")
    assert (kept.order or tuple(range(8)))[: len(choose(found, ranks, "+100"))] == tuple(choose(found, ranks, "+100"))


def _task(notes: list[str]) -> Task:
    starts = [sum(len(note) + 2 for note in notes[:i]) for i in range(len(notes))]
    spans = tuple((start, start + len(note)) for start, note in zip(starts, notes, strict=True))
    return Task("\n\n".join(notes), Tokens(300), QUESTION, documents=spans)


@pytest.mark.parametrize("kind", CAUSAL)
def test_recovery_gives_the_same_string(kind: str) -> None:
    tokenizer = open_checkpoint(str(tiny(kind))).tokenizer
    mended = 0
    for seed in range(60):
        original, compressed, response = _quotation(kind, seed)
        want = published(kind).recover(original, compressed, response)
        assert recover(original, compressed, response, tokenizer) == want
        mended += want != response
    assert mended > 20


def _quotation(kind: str, seed: int) -> tuple[str, str, str]:
    """A text, what is left of it when tokens are dropped at random, and an answer that quotes from both."""
    draw = random.Random(seed)
    tokenizer = open_checkpoint(str(tiny(kind))).tokenizer
    original = transcript(seed, draw.randint(1, 20))
    share = draw.choice([0.3, 0.5, 0.7])
    ids = [i for i in tokenizer.encode(original, add_special_tokens=False).ids if draw.random() < share]
    compressed = tokenizer.decode(ids)
    words = ["Answer:"]
    for _ in range(draw.randint(1, 5)):
        source = draw.choice([compressed, compressed, original]).split()
        at = draw.randrange(len(source))
        words += [*source[at : at + draw.randint(1, 8)], draw.choice(["xyzzy", "the", "42", "Okafor"])]
    return original, compressed, " ".join(words)
