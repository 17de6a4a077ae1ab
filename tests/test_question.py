"""LongLLMLingua: what the question needs stays, in the asked size; passages ranked, slanted, told in a new order."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny

from compressors import Budget, Cancelled, Kept, Rate, Task, Threshold, Tokens, cancel
from compressors.causal import Row, causal
from compressors.iterative import opening
from compressors.passages import group
from compressors.question import Question, QuestionSettings, choose, contrasts, reorder
from compressors.spans import complement, intersect, join
from compressors.tokenizers import counter

TOPICS = ("harbour", "bell tower", "schools", "old mill", "museum", "ferry", "market hall", "bridge")
QUESTION = "Who paid for the bell tower, and when was it finished?"


def document(topic: str, sentences: int = 8) -> str:
    said = (
        f"The {topic} was built in {1900 + len(topic)}. ",
        f"The council discussed the {topic} for three evenings before it gave ${len(topic) * 1250}. ",
        "Nobody who was there remembers who had the key, or why the lights were out. ",
        f"Mr. Brook said the {topic} ought to be painted white; his sister Ida disagreed. ",
    )
    return "".join(said[i % 4] for i in range(sentences)).strip()


def titled(count: int = 6, sentences: int = 8, titles: bool = True) -> Task:
    text, protected, documents = "", [], []
    for number, topic in enumerate(TOPICS[:count], 1):
        head = f"[{number}] The {topic}\n" if titles else ""
        body = document(topic, sentences)
        protected.append((len(text), len(text) + len(head)))
        documents.append((len(text) + len(head), len(text) + len(head) + len(body)))
        text += f"{head}{body}\n\n"
    return Task(text, Rate(0.4), QUESTION, tuple(protected) if titles else (), tuple(documents))


def made(kind: str = "gpt2", **settings: Any) -> Question:
    return Question(QuestionSettings(model=str(tiny(kind)), device="cpu", precision="fp32", **settings))


def tokens(text: str) -> int:
    return counter("o200k_base").count(text)


def shares(task: Task, kept: Kept) -> list[float]:
    """How much of each document stays, in characters."""
    return [sum(b - a for a, b in intersect(kept.spans, (d,))) / (d[1] - d[0]) for d in task.documents]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("budget", [Rate(0.2), Rate(0.33), Rate(0.5), Rate(0.8), Tokens(300)])
def test_the_size_is_met(kind: str, budget: Budget) -> None:
    for task in (titled(8), titled(4, 3, titles=False), replace(titled(6), documents=(), question="")):
        whole = tokens(task.text)
        target = budget.value * whole if isinstance(budget, Rate) else budget.value
        kept = made(kind).compress([replace(task, budget=budget)])[0]
        assert abs(tokens(join(task.text, kept.spans)) - min(target, whole)) <= max(0.03 * target, 1)


def test_titles_and_other_protected_spans_stay_and_bodies_of_the_worst_go() -> None:
    task = titled(8)
    kept = made().compress([task])[0]
    assert not intersect(complement(kept.spans, len(task.text)), task.protected)
    parts = shares(task, kept)
    assert min(parts) == 0
    assert max(parts) > 0.4


@pytest.mark.parametrize("contrast", ["document", "text", "none"])
@pytest.mark.parametrize("ranker", ["bm25", "perplexity"])
def test_every_way_to_rank_and_to_compare_gives_a_result(contrast: str, ranker: str) -> None:
    task = titled()
    kept = made(contrast=contrast, ranker=ranker).compress([task])[0]
    assert tokens(join(task.text, kept.spans)) == pytest.approx(0.4 * tokens(task.text), rel=0.03)
    if ranker == "bm25":
        assert max(range(6), key=shares(task, kept).__getitem__) == TOPICS.index("bell tower")


def test_settings_change_what_stays() -> None:
    task = titled()
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"contrast": "text"},
        {"contrast": "none"},
        {"slope": 0.0},
        {"context_budget": "*2"},
        {"window": 50},
        {"mode": "before"},
        {"mode": "none"},
    )
    assert len({made(**settings).compress([task])[0].spans for settings in ways}) == len(ways)


def test_a_slope_gives_better_passages_more() -> None:
    task = titled(titles=False)
    ranks = order(task, "sort", context_budget="")
    flat, steep = (
        [shares(task, made(slope=slope, context_budget="").compress([task])[0])[i] for i in ranks]
        for slope in (0.0, 0.8)
    )
    assert flat[0] < steep[0]
    assert flat[-1] > steep[-1]
    assert steep[0] - steep[-1] > 0.3


def order(task: Task, how: str, **settings: Any) -> tuple[int, ...]:
    return made(order=how, **settings).compress([task])[0].order or tuple(range(len(task.documents)))


def test_documents_are_told_in_the_order_asked_for() -> None:
    task = titled(titles=False)
    settings = {"ranker": "bm25", "context_budget": ""}
    assert made(**settings).compress([task])[0].order == ()
    ranks = order(task, "sort", **settings)
    assert ranks[0] == TOPICS.index("bell tower")
    assert order(task, "two_stage", **settings) == (*ranks[::2], *ranks[1::2][::-1])
    assert made(order="sort").compress([replace(task, documents=())])[0].order == ()


def test_passages_that_went_lie_in_the_middle_and_what_cannot_be_ranked_last() -> None:
    task = titled(titles=False)
    found = group(replace(task, protected=(task.documents[0],)))
    ranks = [1, 0, 3, 2, 4]  # of the five passages, which are the documents 1 to 5
    assert reorder(found, ranks, ranks[:3], "two_stage") == (2, 4, 3, 5, 1, 0)
    assert reorder(found, ranks, ranks[:3], "sort") == (2, 1, 4, 3, 5, 0)


def test_the_context_budget_takes_passages_up_to_the_one_that_goes_over() -> None:
    found = group(replace(titled(titles=False), budget=Tokens(100)))
    costs = found.parts.costs
    ranks = list(range(len(costs)))[::-1]
    for rule, room in (("+100", 200), ("*1.5", 150), ("+0", 100)):
        taken = choose(found, ranks, rule)
        assert taken == ranks[: len(taken)]
        assert sum(costs[i] for i in taken[:-1]) <= room < sum(costs[i] for i in taken)
    assert choose(found, ranks, "") == ranks


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_what_the_question_makes_of_a_token_is_told_within_its_passage(kind: str) -> None:
    """Passages that are not asked for are not scored; the others as if each stood alone."""
    task = titled(3)
    model = causal(str(tiny(kind)), "cpu", "fp32")
    wanted = task.documents[1:2]
    sums = contrasts(model, group(task), wanted)
    own = model.encode(task.text[slice(*wanted[0])])
    asked = opening(model, question=QUESTION)
    given = model.surprises([Row((*asked, *own.ids), len(asked))])[0]
    alone = model.surprises([Row((*model.bos, *own.ids), len(model.bos))])[0]
    starts = [a + wanted[0][0] for a, _ in own.spans]
    ends = [b + wanted[0][0] for _, b in own.spans]
    np.testing.assert_allclose(sums[ends] - sums[starts], alone - given, atol=1e-4)
    assert sums[wanted[0][0]] == 0
    assert sums[-1] == pytest.approx(float((alone - given).sum()), abs=1e-3)


def test_a_passage_too_long_for_the_model_is_scored_in_parts() -> None:
    model = causal(str(tiny("gpt2-512")), "cpu", "fp32")
    text = document("ferry", 120)
    assert len(model.encode(text).ids) > 2 * model.longest
    sums = contrasts(model, group(Task(text, Rate(0.5), QUESTION)), [(0, len(text))])
    ends = [b for _, b in model.encode(text).spans]
    assert (np.diff(sums[ends]) != 0).mean() > 0.95
    assert made("gpt2-512").compress([Task(text, Rate(0.5), QUESTION)])[0].spans


def test_passages_that_stay_whole_are_not_read_for_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def told(model: Any, found: Any, wanted: Any) -> Any:
        seen.extend(wanted)
        return contrasts(model, found, wanted)

    monkeypatch.setattr("compressors.question.contrasts", told)
    task = replace(titled(8, titles=False), budget=Rate(0.5))
    kept = made(slope=0.5).compress([task])[0]
    read = [any(a <= start < b for start, _ in seen) for a, b in task.documents]
    whole = [share > 0.99 for share in shares(task, kept)]
    assert any(whole)
    assert not any(w and r for w, r in zip(whole, read, strict=True))
    assert any(read)


def test_what_stands_before_is_read_and_without_a_question_it_is_plain_surprise() -> None:
    task = titled()
    led = replace(task, before="Minutes of the council of Birch, about paint.")
    assert made(contrast="text").compress([led])[0].spans != made(contrast="text").compress([task])[0].spans
    assert opening(made()._model, "a", "b")[-3:] != opening(made()._model, "a")[-3:]
    blind = replace(task, question="  ")
    ways = [made(contrast=contrast).compress([blind])[0].spans for contrast in ("document", "text", "none")]
    assert len(set(ways)) == 1


def test_a_threshold_is_the_share_of_the_question_in_a_token() -> None:
    task = titled(3)
    sizes = [
        tokens(join(task.text, made().compress([replace(task, budget=Threshold(value))])[0].spans))
        for value in (0.2, 0.5, 0.8)
    ]
    assert tokens(task.text) >= sizes[0] > sizes[1] > sizes[2] > 0


def test_line_breaks_can_be_held() -> None:
    task = titled()
    kept = join(task.text, made(keep_breaks="paragraphs").compress([replace(task, budget=Rate(0.3))])[0].spans)
    assert kept.count("\n\n") == task.text.count("\n\n")


def test_it_stops_when_nobody_waits() -> None:
    with cancel.watched(lambda: False), pytest.raises(Cancelled):
        made().compress([titled()])


def test_the_batch_changes_nothing() -> None:
    tasks = [
        titled(3),
        replace(titled(5), question=""),
        replace(titled(2), budget=Rate(1)),
        Task("", Rate(0.5)),
        titled(6),
    ]
    together = made().compress(tasks)
    assert made().compress(tasks[::-1])[::-1] == together
    assert [made().compress([task])[0] for task in tasks] == together


def test_its_version_names_the_settings_and_the_model() -> None:
    assert made().version == made().version
    assert len({made().version, made("llama").version, made(slope=0.1).version, made(ranker="bm25").version}) == 4
