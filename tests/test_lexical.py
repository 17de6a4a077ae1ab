"""What `lexical` finds, how near it comes to a budget, and what it leaves between."""

import logging
import re
from dataclasses import replace

import pytest

from compressors import Budget, Rate, Task, Threshold, Tokens
from compressors.lexical import Lexical, Weights, relevance
from compressors.selection import layout
from compressors.spans import join
from compressors.tokenizers import counter

TOWNS = {
    "Alder": "Alder is a town on the coast. Its harbour was closed in 1950 after a storm. Most people fish or farm.",
    "Birch": "Birch lies in the hills. The bell tower was designed by Ida Frost. Snow stays until May.",
    "Cedar": "Cedar has two schools. A train goes there twice a day. The market is on Mondays.",
    "Ida Frost": "Ida Frost was born in Elm in 1880. She taught drawing. Her brother kept bees.",
    "Dogwood": "Dogwood is known for cheese. The old mill burnt down. It was rebuilt in brick.",
}


def context(bodies: dict[str, str]) -> tuple[str, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """A numbered list of titled passages, the title lines protected."""
    text, titles, documents = "", [], []
    for number, (title, body) in enumerate(bodies.items(), 1):
        head = f"[{number}] {title}\n"
        titles.append((len(text), len(text) + len(head)))
        documents.append((len(text) + len(head), len(text) + len(head) + len(body)))
        text += f"{head}{body}\n\n"
    return text, tuple(titles), tuple(documents)


def kept(question: str, budget: Budget, bodies: dict[str, str] = TOWNS) -> str:
    text, titles, documents = context(bodies)
    return join(text, Lexical().compress([Task(text, budget, question, titles, documents)])[0].spans)


def plain(text: str, question: str, budget: Budget) -> str:
    return join(text, Lexical().compress([Task(text, budget, question)])[0].spans)


def test_the_sentence_that_answers_stays_and_so_does_every_title() -> None:
    found = kept("When was the harbour of Alder closed?", Rate(0.45))
    assert "closed in 1950" in found
    assert "bees" not in found
    assert all(f"] {title}\n" in found for title in TOWNS)


def test_a_passage_named_by_a_good_sentence_is_followed() -> None:
    """The answer shares no word with the question: only the name in the other passage leads to it."""
    assert "born in Elm" in kept("Where does the designer of the Birch bell tower come from?", Rate(0.5))


BARE = Weights(heading=0, passage=0, neighbour=0, opening=0, link=0)
SAME = "The council meets weekly. It has nine members. A clerk writes it down."


def scores(task: Task, weights: Weights) -> dict[str, list[float]]:
    """The scores of each sentence of a text, in the order in which it occurs."""
    units = layout(task).units
    found: dict[str, list[float]] = {}
    for (start, end), score in zip(units, relevance(task, units, weights), strict=True):
        found.setdefault(task.text[start:end].strip(), []).append(score)
    return found


def test_the_title_counts_for_the_sentences_under_it() -> None:
    text, titles, documents = context(dict.fromkeys(TOWNS, SAME))
    task = Task(text, Rate(0.5), "How many members has Cedar?", titles, documents)
    bare, titled = (scores(task, w)["It has nine members."] for w in (BARE, replace(BARE, heading=2)))
    assert len(set(bare)) == 1
    assert titled.index(max(titled)) == list(TOWNS).index("Cedar")
    assert titled.count(max(titled)) == 1


def test_a_sentence_gains_from_its_passage_its_place_and_its_neighbours() -> None:
    text = f"{SAME}\n\nCedar is small. {SAME} The mayor of Cedar left. Rain fell."
    asked = Task(text, Rate(0.5), "How many members has the council of Cedar?")
    bare, passage = (scores(asked, w)["It has nine members."] for w in (BARE, replace(BARE, passage=0.6)))
    assert bare[0] == bare[1]
    assert passage[0] < passage[1]
    bare, neighbour = (scores(asked, w)["Rain fell."] for w in (BARE, replace(BARE, neighbour=0.1)))
    assert bare == [0]
    assert neighbour[0] > 0
    left = Task(text, Rate(0.5), "Did anybody go? Who left?")
    bare, opening = (scores(left, w)["Cedar is small."] for w in (BARE, replace(BARE, opening=0.2)))
    assert bare == [0]
    assert opening[0] > 0


def test_a_passage_without_a_title_is_known_by_its_first_words() -> None:
    task = Task("\n\n".join(TOWNS.values()), Rate(0.5), "Where does the designer of the Birch bell tower come from?")
    sure, unsure = (
        scores(task, w)["Ida Frost was born in Elm in 1880."] for w in (replace(Weights(), unsure=0), Weights())
    )
    assert sure < unsure


def test_inflected_words_match() -> None:
    task = Task("Rain fell. They designed bridges. A dog slept.", Rate(0.5), "designing a new bridge")
    assert scores(task, BARE)["They designed bridges."] == [1]


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("今天下雨。\n\n桥建于1902年。\n\n市场早上开门。\n\n孩子们在河边玩。", "桥是哪年建的？", "1902"),
        ("駅は北にある。\n\n橋は1902年に建てられた。\n\n市場は朝に開く。", "橋はいつ建てられたか", "1902"),
        ("ตลาดเปิดตอนเช้าทุกวัน\n\nสะพานสร้างเมื่อปี 1902\n\nเด็กเล่นริมแม่น้ำ", "สะพานสร้างเมื่อไร", "1902"),
        ("시장은 아침에 열린다.\n\n다리는 1902년에 지어졌다.\n\n비가 온다.", "다리가 언제 지어졌나요?", "1902"),
        ("गाँव में कुआँ है।\n\nपुल 1902 में बना।\n\nबच्चे खेलते हैं।", "पुल कब बना?", "1902"),
        ("السوق يفتح صباحا.\n\nبني الجسر عام 1902.\n\nيلعب الأطفال.", "متى بني الجسر؟", "1902"),
        (
            "Der Markt öffnet früh.\n\nDie Brücken baute man 1902.\n\nEs regnet oft.",
            "Wann wurde die Brücke gebaut?",
            "1902",
        ),
    ],
)
def test_languages_with_and_without_spaces(text: str, question: str, answer: str) -> None:
    found = plain(text, question, Rate(0.4))
    assert answer in found
    assert len(found) < len(text)


STORY = " ".join(
    f"Witness {i} saw a {c} cart near the {p} bridge at {i} o'clock."
    for i, (c, p) in enumerate(
        [("red", "old"), ("blue", "new"), ("green", "stone"), ("red", "iron"), ("white", "old")] * 20
    )
)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.8])
def test_a_rate_is_met_within_a_few_percent(rate: float) -> None:
    count = counter("o200k_base").count
    assert count(plain(STORY, "Who saw the red cart?", Rate(rate))) / count(STORY) == pytest.approx(rate, abs=0.015)


def test_a_number_of_tokens_is_met_within_half_a_sentence() -> None:
    assert counter("o200k_base").count(plain(STORY, "Who saw the red cart?", Tokens(300))) == pytest.approx(300, abs=8)


def test_the_encoding_of_the_task_is_the_one_that_counts() -> None:
    text = "今天下雨，我们在家看书。" * 3 + "桥建于很久以前的一个春天。" * 40
    spans = [
        Lexical().compress([Task(text, Tokens(200), "桥", encoding=name)])[0].spans
        for name in ("o200k_base", "cl100k_base")
    ]
    assert len(join(text, spans[0])) > len(join(text, spans[1]))


def test_a_threshold_lets_the_size_follow_the_text() -> None:
    question = "When was the harbour of Alder closed?"
    strict, loose = kept(question, Threshold(0.9)), kept(question, Threshold(0.2))
    assert "closed in 1950" in strict
    assert "Its harbour" in loose
    assert len(strict) < len(loose) < len(context(TOWNS)[0])
    assert kept(question, Threshold(0)) == context(TOWNS)[0]


def test_protected_text_in_a_dropped_sentence_stays_and_is_paid_for() -> None:
    text = "The mill is old. " * 10 + "Ask 555-0199 now. " + "The bridge is new. " * 10
    at = text.index("555-0199")
    task = Task(text, Rate(0.3), "bridge", protected=((at, at + 8),))
    found = join(text, Lexical().compress([task])[0].spans)
    assert "555-0199" in found
    assert "Ask" not in found


def test_marks_left_from_dropped_sentences_do_not_run_into_their_neighbours() -> None:
    text = "The bridge is old. It rained on [3] and at https://x.example today. The bridge is long."
    protected = tuple((text.index(part), text.index(part) + len(part)) for part in ("[3]", "https://x.example"))
    found = Lexical().compress([Task(text, Rate(0.7), "bridge", protected)])[0]
    assert join(text, found.spans) == "The bridge is old. [3] https://x.example The bridge is long."


def test_numbers_of_clauses_that_are_dropped_do_not_become_one_number() -> None:
    text = "12.1 The quay is long. 12.2 The crane is old. See [4].\n12.3 The bridge is new. 5.1 Nobody sails."
    numbers = [(m.start(), m.end()) for m in re.finditer(r"\d+\.\d|\[4\]", text)]
    found = join(text, Lexical().compress([Task(text, Rate(0.6), "bridge", tuple(numbers))])[0].spans)
    assert found.split() == ["12.1", "12.2", "[4]", "12.3", "The", "bridge", "is", "new.", "5.1"]


def test_without_a_question_telling_sentences_stay_not_just_the_first() -> None:
    text = (
        "Good morning and welcome. The reactor overheated twice in March. Somebody coughed. The reactor pump failed in "
        "March because a valve of the pump stuck. It was raining. Lunch was at noon. The valve of the reactor pump was "
        "replaced. Thank you all."
    )
    found = plain(text, "", Rate(0.5))
    assert "pump failed" in found
    assert "coughed" not in found
    assert plain(text, "zzz qqq", Rate(0.5)) == found


def test_paragraphs_stay_apart_when_their_last_sentence_goes() -> None:
    text = "The bridge is old. Nobody knows.\n\nThe bridge is long. It rained.\n\nA bridge fell. Who cares."
    assert plain(text, "bridge", Threshold(0.7)) == "The bridge is old.\n\nThe bridge is long.\n\nA bridge fell."


def test_a_heading_speaks_for_the_paragraph_under_it() -> None:
    sections = "\n\n".join(f"## {town}\n\nIt was founded by monks. Rain is rare. Wool is sold." for town in TOWNS)
    found = plain(sections, "Who founded Dogwood?", Rate(0.3))
    assert "founded by monks" in found.partition("Dogwood")[2]


def test_a_source_line_under_its_passage_heads_that_passage_and_not_the_next() -> None:
    first = "The share fell from 83 to 61 percent in two summers. Nobody had expected that. It has not recovered. "
    second = "The crew repaired the northern pier in spring. Visitors liked the new benches. The cafe stayed closed. "
    text = f"{first}\nFrom Nilsson, Homing of honey bees\n\n{second}\nFrom Okoro, Piers and promenades\n"
    sources = tuple(
        (text.index(s), text.index(s) + len(s))
        for s in ("From Nilsson, Homing of honey bees", "From Okoro, Piers and promenades")
    )
    documents = ((0, len(first)), (text.index(second), text.index(second) + len(second)))
    task = Task(text, Rate(0.5), "What became of the homing of honey bees?", sources, documents)
    (kept,) = Lexical().compress([task])
    assert "83 to 61 percent" in join(text, kept.spans)
    assert "benches" not in join(text, kept.spans)


def test_the_ranking_library_writes_nothing_into_the_log() -> None:
    """It sets its own level to DEBUG as it is imported."""
    assert not logging.getLogger("bm25s").isEnabledFor(logging.INFO)
