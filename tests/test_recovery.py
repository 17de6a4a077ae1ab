"""Quotations put back to how the original has them: the published recovery, and the one for answers on their way."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny
from tokenizers import Tokenizer

from compressors.damage import LONGEST, Damage
from compressors.recovery import Restorer, recover
from compressors.spans import complement, join, merge

TEXT = (
    "The plan, approved on 14 March 2021 by Dr. Eleanor van der Berg, cost $1,234,567.89. Mr. Bergstrom agreed at"
    " 10:45. From 1939 until 1945 the mill was idle. Visitors came from Berlin. Paris followed; then Rome, Oslo and"
    " Bern.\nThe minutes name Anna Lee\nBob Ray and the Bank of the West. El 4 de marzo de 1921 se abrió el puente de"
    " San José. 2021年3月14日在北京开会。"
)


def cut(*gone: str, text: str = TEXT) -> Damage:
    """The damage of a text without these stretches, each dropped where it first occurs."""
    spans = merge((text.index(each), text.index(each) + len(each)) for each in gone)
    return Damage([(text, complement(spans, len(text)))])


def restored(damage: Damage, *pieces: str) -> str:
    restorer = Restorer(damage)
    return "".join([*map(restorer.feed, pieces), restorer.finish()])


@pytest.mark.parametrize(
    ("gone", "answer", "right"),
    [
        ("van der ", "It was Eleanor Berg.", "It was Eleanor van der Berg."),
        ("van der ", "**Dr. Eleanor Berg** did", "**Dr. Eleanor van der Berg** did"),
        ("March ", "On 14 2021, they voted", "On 14 March 2021, they voted"),
        ("234,", "It cost $1,567.89!", "It cost $1,234,567.89!"),
        ("strom", "Ask Mr. Berg", "Ask Mr. Bergstrom"),
        (":45", "agreed at 10, it says", "agreed at 10:45, it says"),
        ("until ", "between 1939 1945.", "between 1939 until 1945."),
        ("of the ", "the Bank West", "the Bank of the West"),
        ("de marzo de ", "Desde 4 1921", "Desde 4 de marzo de 1921"),
        ("San ", "the puente de José", "the puente de José"),
    ],
)
def test_names_dates_and_numbers_are_restored(gone: str, answer: str, right: str) -> None:
    assert restored(cut(gone), answer) == right
    assert restored(cut(gone), *answer) == right


@pytest.mark.parametrize(
    ("gone", "answer"),
    [
        ("van der ", "It was Berg, first name Eleanor."),  # each word as the original has it
        ("van der ", "It was eleanor berg."),  # not how the compressed text has it
        (". Paris", "Berlin followed"),  # across the end of a sentence
        ("Lee\nBob ", "Anna Ray signed"),  # across a line break
        (", Oslo and", "Rome Bern"),  # members of a list
        (" Oslo and", "Rome, Bern"),
        ("proved on", "it was ap"),  # no name
        ("234,", "In Room 1,567.89 nothing happened"),  # a figure that belongs to another name
        ("年3", "它于2021月结束"),
    ],
)
def test_what_is_no_damaged_name_stays(gone: str, answer: str) -> None:
    assert restored(cut(gone), answer) == answer


def test_two_possible_sources_restore_nothing() -> None:
    text = "Eleanor van der Berg met Eleanor von Berg."
    assert restored(cut("van der ", "von ", text=text), "Eleanor Berg") == "Eleanor Berg"


def test_what_stands_so_in_a_text_that_was_sent_whole_stays() -> None:
    text = "Eleanor van der Berg came."
    damage = Damage([(text, ((0, 8), (16, len(text)))), ("I am Eleanor Berg.", ((0, 18),))])
    assert restored(damage, "Eleanor Berg") == "Eleanor Berg"


ANSWERS = st.lists(
    st.one_of(
        st.sampled_from(
            ["Eleanor ", "Berg", "Dr. ", "14 ", "2021", "1,567", ".89", "1939 1945", "10", " the ", "\n", "é"]
        ),
        st.sampled_from(
            [" the ", "\n", "Bank ", "West", "A" * 70, "1." * 40, "Mr. Berg", "4 1921", "José", "\u0301", "年"]
        ),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)
CUTS = st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(1, 12)), max_size=12)


def broken(cuts: list[tuple[int, int]]) -> Damage:
    gone = merge((a, min(a + n, len(TEXT))) for a, n in cuts)
    return Damage([(TEXT, complement(gone, len(TEXT)))])


@given(CUTS, ANSWERS, st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_pieces_give_the_same_and_nothing_is_lost(cuts: list[tuple[int, int]], answer: str, at: list[int]) -> None:
    damage = broken(cuts)
    whole = restored(damage, answer)
    edges = sorted({0, len(answer), *(i for i in at if i < len(answer))})
    assert restored(damage, *(answer[a:b] for a, b in pairwise(edges))) == whole
    assert restored(damage, *answer) == whole
    rest = iter(whole)
    assert all(character in rest for character in answer if not character.isspace()), "something was taken away"


@given(CUTS)
@settings(max_examples=200, deadline=None)
def test_an_answer_in_the_words_of_the_original_is_unchanged(cuts: list[tuple[int, int]]) -> None:
    assert restored(broken(cuts), TEXT) == TEXT


@given(ANSWERS)
@settings(max_examples=100, deadline=None)
def test_where_nothing_was_dropped_nothing_changes(answer: str) -> None:
    assert restored(broken([]), answer) == answer
    assert restored(Damage([]), answer) == answer


def test_little_is_held_back() -> None:
    """No more than eight words of a name, however long the answer goes on like one."""
    restorer = Restorer(cut("van der "))
    answer = "Eleanor " * 50 + "A" * 1000 + " 1" * 200 + " said that "
    given = 0
    for taken, character in enumerate(answer, 1):
        given += len(restorer.feed(character))
        assert taken - given < 8 * (LONGEST + 3)
    assert restorer.feed("she said ") == "she said "


def test_hostile_texts_take_bounded_time() -> None:
    text = "A " * 50_000 + "Ann de Berg " * 50 + "1." * 50_000
    gone = [(i, i + 3) for i in range(100_004, 100_300, 12)]
    damage = Damage([(text, complement(merge(gone), len(text)))])
    start = time.process_time()
    assert restored(damage, "A " * 20_000).startswith("A A")
    restored(damage, "Ann Berg 1." * 5_000)
    assert time.process_time() - start < 20  # seconds where it takes one; without the bounds, hours


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(Path(tiny("llama")) / "tokenizer.json"))


def test_the_published_recovery_finds_the_stretch_of_the_original(tokenizer: Tokenizer) -> None:
    compressed = TEXT.replace(" van der", "").replace(" March", "")
    response = "Answer: Eleanor Berg, on 14 2021"
    assert recover(TEXT, compressed, response, tokenizer) == "Answer: Eleanor van der Berg, on 14 March 2021"


def test_words_that_are_not_in_the_compressed_text_stay(tokenizer: Tokenizer) -> None:
    assert recover(TEXT, "plan cost", "nobody knows", tokenizer) == "nobody knows"


@pytest.mark.parametrize("response", ["", " ", "plan ", "  plan  "])
def test_empty_words_are_no_crash(tokenizer: Tokenizer, response: str) -> None:
    assert response.strip() in recover(TEXT, "plan cost", response, tokenizer)


def test_the_kept_text_is_what_damage_knows() -> None:
    spans = ((0, 8), (10, 20))
    assert Damage([(TEXT, spans)])._texts[0].compressed.text == join(TEXT, spans)
