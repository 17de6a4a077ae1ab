"""The judge's cases and metrics, on records small enough to count by hand."""

from typing import Any

import pytest
from judge import cases, metrics, needles

from compressors import spans
from compressors.base import Span

GOLD = "The ferry was built in 1931 by Ann Lee. It has never sunk. Today it carries 40 cars to Borup."
RECORD: dict[str, Any] = {
    "id": "1",
    "question": "Who built the ferry?",
    "answers": ["Ann Lee", "Nobody At All"],
    "documents": [
        {"title": "Bridges", "text": "A bridge is a road over water.", "is_gold": False},
        {"title": "Ferry of Ann Lee", "text": GOLD, "is_gold": True},
        {"title": "Boats", "text": "Boats float.", "is_gold": False},
    ],
    "evidence": [{"doc": 1, "start": 0, "end": 59}],
}


def kept(text: str, *parts: str) -> tuple[Span, ...]:
    return spans.merge((text.index(part), text.index(part) + len(part)) for part in parts)


def share(case: cases.Case, metric: str, *parts: str) -> float | None:
    found = metrics.outcome(case, kept(case.task.text, *parts)).get(metric)
    return found[0] / found[1] if found else None


@pytest.fixture
def case() -> cases.Case:
    return cases.passages(RECORD)


def test_a_record_becomes_titles_that_are_protected_and_bodies(case: cases.Case) -> None:
    text = case.task.text
    assert [text[a:b] for a, b in case.task.protected] == ["[1] Bridges\n", "[2] Ferry of Ann Lee\n", "[3] Boats\n"]
    assert [text[a:b] for a, b in case.bodies][1] == GOLD
    assert text[slice(*case.asked[0].evidence[0])] == GOLD[:59]
    assert case.position == 0.5


def test_an_answer_that_the_gold_document_does_not_hold_is_not_looked_for(case: cases.Case) -> None:
    assert case.asked[0].found == ("ann lee",)


def test_an_answer_counts_only_in_what_is_kept_of_the_texts(case: cases.Case) -> None:
    assert share(case, "answers", "by Ann Lee.") == 1
    assert share(case, "answers", "[2] Ferry of Ann Lee", "Boats float.") == 0
    assert share(case, "answers", "by Ann ") == 0


def test_evidence_is_counted_in_characters_sentences_and_as_a_chain(case: cases.Case) -> None:
    first = "The ferry was built in 1931 by Ann Lee. "
    assert share(case, "evidence", first) == pytest.approx(len(first) / 59)
    assert share(case, "sentences", first) == 0.5
    assert share(case, "chain", first) == 0
    assert share(case, "chain", GOLD[:59]) == 1


def test_numbers_names_and_negations_are_those_of_the_evidence(case: cases.Case) -> None:
    everything = metrics.outcome(case, ((0, len(case.task.text)),))
    assert everything["numbers"] == (1, 1)  # 40 is not evidence
    assert everything["names"] == (2, 2)  # Ann, Lee; not The, nor It
    assert everything["negations"] == (1, 1)
    assert share(case, "numbers", "193") == 0
    assert share(case, "names", "by Ann") == 0.5
    assert share(case, "negations", "has ") == 0


@pytest.mark.parametrize(
    ("text", "wanted"), [("I can't go.", 1), ("He is not in.", 1), ("Nothing new.", 1), ("Note.", 0)]
)
def test_what_a_negation_is(text: str, wanted: int) -> None:
    case = cases.pair({"id": "1", "text": text, "keep_spans": []})
    assert metrics.outcome(case, ()).get("negations", (0, 0))[1] == wanted


def test_tokens_kept_include_titles(case: cases.Case) -> None:
    whole = metrics.count(case.task.text)
    assert share(case, "kept", "[3] Boats") == pytest.approx(metrics.count("[3] Boats") / whole)


def test_without_context_an_answer_may_stand_in_the_question() -> None:
    record = {**RECORD, "question": "Did Ann Lee or Bo Ek build it?"}
    assert metrics.without(cases.passages(record))["answers"] == (1, 1)
    assert metrics.without(cases.passages(RECORD))["answers"] == (0, 1)


def test_keep_f1_compares_words_with_a_compression_by_people() -> None:
    case = cases.pair({"id": "1", "text": "Rain fell on the old town today.", "keep_spans": [[0, 9], [31, 32]]})
    assert share(case, "keep_f1", "Rain fell") == 1
    assert share(case, "keep_f1", "fell on") == 0.5  # one of two found, one of two wanted
    assert share(case, "keep_f1", "town today") == 0


MEETING = {
    "id": "m",
    "messages": [
        {"role": "A", "content": "Welcome back."},
        {"role": "B", "content": "The microphone costs ninety euros."},
        {"role": "A", "content": "Lunch."},
    ],
    "queries": [{"query": "What of the hardware?", "answer": "A microphone, budget ninety.", "evidence": [[1, 1]]}],
}


def test_of_a_meeting_evidence_turns_and_the_words_of_answers_are_judged() -> None:
    case = cases.meeting(MEETING)
    assert case.task.question == ""
    assert share(case, "evidence", "The microphone") == pytest.approx(14 / 34)
    assert share(case, "topics", "The microphone") == 0.5  # ninety is gone; budget was never there
    assert share(case, "topics", "Welcome back.") == 0


def test_of_a_dialogue_its_values_are_judged_and_tool_calls_are_no_part() -> None:
    record = {
        "id": "d",
        "messages": [
            {"role": "user", "content": "A table in Rome at 7 pm.", "spans": [[11, 15, "city"], [19, 23, "time"]]},
            {"role": "tool", "content": '{"city": "Rome"}'},
            {"role": "assistant", "content": "Booked: Rome.", "spans": [[8, 12, "city"]]},
        ],
        "queries": [{"query": "What city?", "answers": ["Rome"]}, {"query": "Who?", "answers": ["Eve"]}],
    }
    case = cases.dialogue(record)
    assert "{" not in case.task.text
    assert [one.question for one in case.asked] == ["What city?"]
    assert share(case, "slots", "Booked: Rome.") == pytest.approx(1 / 3)
    assert share(case, "slots", "at 7") == 0
    assert share(case, "answers", "Booked: Rome.") == 1


@pytest.mark.parametrize("multi", [False, True])
def test_a_haystack_holds_its_needle_once_and_is_always_the_same(multi: bool) -> None:
    case = needles.haystack(3, multi)
    text, one = case.task.text, case.asked[0]
    needle = text[slice(*one.evidence[0])]
    assert needles.haystack(3, multi).task.text == text != needles.haystack(4, multi).task.text
    assert text.count(one.answers[0]) == 1
    assert one.answers[0] in needle
    assert text.count("The magic") == (41 if multi else 1)
    assert share(case, "answers", needle) == 1
    assert share(case, "answers", needle.replace(one.answers[0] + ".", "")) == 0


def test_needles_stand_anywhere() -> None:
    places = [needles.haystack(number, False).position or 0 for number in range(30)]
    assert min(places) < 0.2
    assert max(places) > 0.8
