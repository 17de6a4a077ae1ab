"""Passages by the question, then words by a token classifier: nothing but what the ranker left is read."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny

from compressors import Rate, Task, Threshold, Tokens, load
from compressors.classifier import ClassifierSettings
from compressors.ranked_classifier import Excerpt, RankedClassifier, RankedClassifierSettings
from compressors.spans import clip, complement, intersect, join, merge
from compressors.tokenizers import counter

TOPICS = ("harbour", "bell tower", "school", "old mill", "museum", "ferry")


def titled() -> Task:
    text, titles, documents = "", [], []
    for number, topic in enumerate(TOPICS, 1):
        head = f"[{number}] The {topic}\n"
        body = f"The {topic} was built in {1900 + number}. Mr. Brook of the council paid ${number},500 for it. " * 4
        titles.append((len(text), len(text) + len(head)))
        documents.append((len(text) + len(head), len(text) + len(head) + len(body)))
        text += f"{head}{body}\n\n"
    return Task(text, Rate(0.3), "Who paid for the bell tower?", tuple(titles), tuple(documents))


def made(**settings: Any) -> RankedClassifier:
    given = {"model": str(tiny("bert")), "device": "cpu", "precision": "fp32", "ranker": "bm25", **settings}
    return RankedClassifier(RankedClassifierSettings(**given))


def tokens(text: str) -> int:
    return counter("o200k_base").count(text)


@pytest.mark.parametrize("ranker", ["bm25", "perplexity"])
@pytest.mark.parametrize("budget", [Rate(0.2), Rate(0.33), Rate(0.5), Rate(0.8), Tokens(150)])
def test_the_size_is_met_and_protected_text_stays(ranker: str, budget: Rate | Tokens) -> None:
    task = replace(titled(), budget=budget)
    kept = made(ranker=ranker, ranker_model=str(tiny("gpt2"))).compress([task])[0]
    target = budget.value * tokens(task.text) if isinstance(budget, Rate) else budget.value
    assert tokens(join(task.text, kept.spans)) == pytest.approx(target, rel=0.03)
    assert not intersect(complement(kept.spans, len(task.text)), task.protected)


def test_the_passage_that_answers_has_words_and_the_worst_ones_none() -> None:
    task = titled()
    kept = made(context_budget="+0").compress([task])[0]
    parts = [bool(intersect(kept.spans, (document,))) for document in task.documents]
    assert parts[TOPICS.index("bell tower")]
    assert parts.count(False) >= 3


def test_a_larger_context_budget_spreads_the_words() -> None:
    task = titled()
    narrow, wide = (
        sum(bool(intersect(made(context_budget=rule).compress([task])[0].spans, (d,))) for d in task.documents)
        for rule in ("+0", "*3")
    )
    assert narrow < wide


def test_without_a_context_budget_it_is_the_classifier() -> None:
    task = replace(titled(), protected=())
    settings = ClassifierSettings(model=str(tiny("bert")), device="cpu", precision="fp32")
    plain = load("classifier", settings).compress([task])[0]
    assert made(context_budget="").compress([task])[0].spans == plain.spans


def test_documents_are_told_in_the_order_asked_for() -> None:
    assert made().compress([titled()])[0].order == ()
    assert made(order="sort").compress([titled()])[0].order[0] == TOPICS.index("bell tower")


def test_thresholds_texts_without_documents_and_empty_ones() -> None:
    task = titled()
    tasks = [replace(task, budget=Threshold(0.5)), replace(task, documents=(), question=""), Task("", Rate(0.5))]
    found = made().compress(tasks)
    assert [bool(kept.spans) for kept in found] == [True, True, False]
    assert made().compress(tasks[::-1])[::-1] == found


def test_its_version_names_both_models() -> None:
    versions = {made().version, made(ranker="perplexity", ranker_model=str(tiny("gpt2"))).version}
    assert len(versions) == 2
    assert all(version.startswith("ranked_classifier") for version in versions)


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6).map(
    lambda found: clip([(min(s), max(s)) for s in found], 60)
)


@given(SPANS, SPANS)
def test_places_in_an_excerpt_are_told_both_ways(kept: Any, wanted: Any) -> None:
    text = "".join(map(chr, range(200, 260)))
    excerpt = Excerpt(text, kept)
    short = join(text, kept)
    inner = list(excerpt.inward(wanted))
    assert "".join(short[a:b] for a, b in inner) == join(text, intersect(kept, wanted))
    assert excerpt.outward(merge(inner)) == merge(intersect(kept, wanted))
