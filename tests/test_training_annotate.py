"""Annotation: which words of a text its short form kept, even where the model did not do as it was told."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.align import align, folded, is_form, words
from training.annotate import annotate, main


def kept(text: str, short: str) -> list[str]:
    return [text[start:end] for start, end in annotate(text, short).keep_spans]


def places(text: str, short: str, window: int = 150) -> list[int]:
    own, form = ([folded(it[a:b]) for a, b in words(it)] for it in (text, short))
    return align(own, form, window)


TEXT = "The council met on Monday and, after a long debate, the council voted to close the old bridge."


def test_words_that_were_dropped_are_not_kept() -> None:
    short = "council met Monday, voted close old bridge."
    found = annotate(TEXT, short)
    assert kept(TEXT, short) == ["council met", "Monday", ",", "voted", "close", "old bridge."]
    assert found.variation_rate == found.alignment_gap == 0
    assert found.matching_rate == pytest.approx(9 / 21)


def test_a_word_that_stands_twice_is_the_one_among_its_neighbours() -> None:
    """Word by word, as in the paper, the first "council" would be taken."""
    assert places(TEXT, "Monday the council voted")[1:3] == places(TEXT, "Monday debate the council voted")[2:4]
    assert annotate(TEXT, "the council voted").keep_spans == ((52, 69),)


def test_one_word_matched_too_far_ahead_does_not_mislead_all_others() -> None:
    text = "a b c d e f g h i j k l m n o p q r s t u v w x y z the end"
    assert places(text, "the a b c d e f g") == [26, 0, 1, 2, 3, 4, 5, 6]


def test_stretches_that_were_moved_are_found_in_the_window() -> None:
    text = "red one two three four blue five six seven eight green"
    moved = "five six seven eight green red one two"
    assert places(text, moved) == [6, 7, 8, 9, 10, 0, 1, 2]
    assert places(text, moved, window=3)[-3:] == [-1, -1, -1]


def test_no_word_is_matched_twice() -> None:
    assert places("go home now", "go go home home") in ([0, -1, 1, -1], [-1, 0, 1, -1], [0, -1, -1, 1], [-1, 0, -1, 1])


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("votes", "voted"),
        ("studies", "study"),
        ("making", "make"),
        ("walking", "walk"),
        ("organise", "organize"),
        ("colour", "color"),
        ("1,000", "1000"),
    ],
)
def test_forms_of_a_word_are_matched(word: str, other: str) -> None:
    assert is_form(word, other)
    assert places(f"we saw {other} there", f"saw {word}") == [1, 2]


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("2018", "2019"),
        ("12.5", "125"),
        ("cat", "dog"),
        ("is", "it"),
        ("will", "wild"),
        ("that", "than"),
        ("there", "where"),
        (".", "!"),
    ],
)
def test_other_words_are_not(word: str, other: str) -> None:
    assert not is_form(word, other)


def test_another_form_is_variation_although_it_is_matched() -> None:
    found = annotate("They were discussing the new budgets.", "They discuss new budgets.")
    assert found.variation_rate == pytest.approx(1 / 5)
    assert found.hitting_rate == pytest.approx(4 / 7)
    assert found.matching_rate == pytest.approx(5 / 7)


def test_case_and_width_are_no_variation() -> None:
    assert kept("The ＡＢＣ plan isn’t new", "the abc isn't") == ["The ＡＢＣ", "isn’t"]
    assert annotate("The ＡＢＣ plan isn’t new", "the abc isn't").variation_rate == 0


def test_words_that_were_added_are_variation() -> None:
    assert annotate("We met on Monday", "We gathered Monday 🙂").variation_rate == pytest.approx(2 / 4)


def test_words_that_were_taken_too_often_are_an_alignment_gap() -> None:
    """Hitting rate less matching rate: four words of the short form are in the text, two were found there."""
    found = annotate("we met on Monday", "we we met met")
    assert found.alignment_gap == pytest.approx(4 / 4 - 2 / 4)


@pytest.mark.parametrize(
    ("text", "short", "left"),
    [
        ("会议于星期一上午九点开始,大家都到了。", "会议星期一九点开始。", ["会议", "星期一", "九点开始", "。"]),
        ("회의는 월요일에 시작되었다.", "회의 월요일 시작", ["회의", "월요일", "시작"]),
        ("बैठक सोमवार को शुरू हुई थी।", "बैठक सोमवार शुरू।", ["बैठक सोमवार", "शुरू", "।"]),
        ("On the 3rd it paid $1,250.50 for H2O.", "3rd paid $1,250.50 H2O", ["3rd", "paid $1,250.50", "H2O"]),
        ("I ❤️ the new state_of plan", "I ❤️ state_of plan", ["I ❤️", "state_of plan"]),
        ("Das Café öffnet um 9:30 Uhr", "Cafe\u0301 öffnet 9:30", ["Café öffnet", "9:30"]),
    ],
    ids=["Chinese", "Korean", "Hindi", "numbers", "signs", "composed"],
)
def test_other_scripts(text: str, short: str, left: list[str]) -> None:
    assert kept(text, short) == left


def test_an_empty_short_form_is_all_variation() -> None:
    found = annotate("We met", "")
    assert (found.keep_spans, found.variation_rate, found.matching_rate) == ((), 1.0, 0.0)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(["the", "it", "cat", "cats", "sat", "12", ".", ",", "漢", "é"]), max_size=40), st.data()
)
def test_what_only_drops_words_is_matched_whole(original: list[str], data: st.DataObject) -> None:
    """Whatever was dropped, every word has a place, in order; other short forms have places that are apart."""
    keep = data.draw(st.lists(st.booleans(), min_size=len(original), max_size=len(original)))
    short = [word for word, stays in zip(original, keep, strict=True) if stays]
    found = align(original, short)
    assert [original[place] for place in found] == short
    assert found == sorted(set(found))
    mixed = [place for place in align(original, data.draw(st.permutations(short))) if place >= 0]
    assert len(mixed) == len(set(mixed))
    spans = annotate(" ".join(original), " ".join(short)).keep_spans
    assert all(a < b <= c for (a, b), (c, _) in pairwise([*spans, (10**6, 0)]))


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_the_command_writes_an_example_a_short_form(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.jsonl",
        {"id": "a#0", "document": "a", "text": "We met on Monday", "compressed": "met Monday", "usd": 0.1},
        {"id": "a#1", "document": "a", "text": "More", "problem": "refused"},
        {"id": "a#2", "document": "a", "failed": True, "usd": 0.1},
    )
    assert main([str(source), str(tmp_path / "out.jsonl")]) == 0
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    example = json.loads(line)
    assert {name: example[name] for name in ("id", "document", "text", "keep_spans", "rate")} == {
        "id": "a#0",
        "document": "a",
        "text": "We met on Monday",
        "keep_spans": [[3, 6], [10, 16]],
        "rate": 0.5,
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "b", "text": "x"', "in.jsonl:2: not JSON"),
        ('["x"]', "in.jsonl:2: expected an object"),
        ('{"id": "b", "text": 5}', 'in.jsonl:2: "text" must be of type str, there is int'),
        ('{"id": "b", "text": "x"}', 'in.jsonl:2: "compressed" must be of type str, there is nothing'),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, complaint: str
) -> None:
    source = write(tmp_path / "in.jsonl", {"id": "a", "text": "x", "compressed": "x"})
    source.write_text(source.read_text() + line + "\n")
    assert main([str(source), str(tmp_path / "out.jsonl")]) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
