"""Ranking alone: which passages stay, whole, and how near to the budget."""

import pytest

from compressors import Budget, Kept, Rate, Task, Threshold, Tokens, load
from compressors.passages import Passages, PassagesSettings, group
from compressors.spans import join
from compressors.tokenizers import counter

BODIES = {
    "Alder": "Alder is a town on the coast. Its harbour was closed in 1950 after a storm. Most people fish or farm.",
    "Birch": "Birch lies in the hills. The bell tower was designed by Ida Frost. Snow stays until May.",
    "Cedar": "Cedar has two schools. A train goes there twice a day. The market is on Mondays.",
    "Dogwood": "Dogwood is known for cheese. The old mill burnt down. It was rebuilt in brick.",
    "Elm": "Elm was founded by miners. The pits are flooded now. A museum shows their lamps.",
}


def titled() -> Task:
    text, titles, documents = "", [], []
    for number, (title, body) in enumerate(BODIES.items(), 1):
        head = f"[{number}] {title}\n"
        titles.append((len(text), len(text) + len(head)))
        documents.append((len(text) + len(head), len(text) + len(head) + len(body)))
        text += f"{head}{body}\n\n"
    return Task(text, Rate(0.4), "Who designed the bell tower?", tuple(titles), tuple(documents))


def plain(question: str, budget: Budget) -> Task:
    return Task("\n\n".join(BODIES.values()), budget, question)


def compress(task: Task, ranker: str = "bm25") -> Kept:
    return Passages(PassagesSettings(ranker=ranker)).compress([task])[0]  # type: ignore[arg-type]


def shown(task: Task) -> list[str]:
    """The titles of the passages that stay, each of which must be whole."""
    kept = join(task.text, compress(task).spans)
    found = [title for title, body in BODIES.items() if body in kept]
    assert sum(kept.count(body.split(". ")[1]) for body in BODIES.values()) == len(found), "a passage was cut"
    return found


@pytest.mark.parametrize(
    ("question", "title"),
    [("When was the harbour closed?", "Alder"), ("Who designed the bell tower?", "Birch"), ("museum of lamps", "Elm")],
)
def test_the_passage_that_answers_stays_whole(question: str, title: str) -> None:
    assert shown(plain(question, Tokens(1))) == [title]


def test_protected_titles_stay_without_their_passages() -> None:
    task = titled()
    kept = join(task.text, compress(task).spans)
    assert BODIES["Birch"] in kept
    assert BODIES["Elm"] not in kept
    assert all(f"] {title}\n" in kept for title in BODIES)


def test_a_passage_is_ranked_with_its_title() -> None:
    task = titled()
    assert group(task).texts[2] == "[3] Cedar\n" + BODIES["Cedar"]


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.8])
def test_the_size_is_as_near_as_whole_passages_come(rate: float) -> None:
    task = plain("Which town has a museum and a harbour?", Rate(rate))
    count = counter(task.encoding).count
    largest = max(count(body) for body in BODIES.values())
    size = count(join(task.text, compress(task).spans))
    assert abs(size - rate * count(task.text)) <= largest / 2 + 1


def test_a_threshold_is_the_way_from_the_worst_passage_to_the_best() -> None:
    question = "Who designed the bell tower of the town on the coast?"
    assert shown(plain(question, Threshold(1.0))) == ["Birch"]
    assert shown(plain(question, Threshold(0.2))) == ["Alder", "Birch"]


def test_without_a_question_some_passages_stay_by_themselves() -> None:
    assert 0 < len(shown(plain("", Rate(0.5)))) < len(BODIES)


def test_a_single_passage_is_left_as_it_is() -> None:
    task = Task(BODIES["Elm"], Rate(0.2), "Who?")
    assert join(task.text, compress(task).spans) == task.text


def test_its_version_tells_rankers_apart() -> None:
    assert "bm25" in Passages().version
    assert isinstance(load("passages", PassagesSettings(ranker="bm25")), Passages)
