"""Rows of a token classifier: all of the text, at sentence ends where there are any, with context around a cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compressors import LANGUAGES, LONG
from test_words import tokenizer

from compressors.chunks import Row, rows, sentence_ends
from compressors.words import read

ENDS = (".", "?", "!", "\n", "。")


def cut(text: str, room: int, ends: tuple[str, ...] = ENDS, documents: tuple[tuple[int, int], ...] = ()) -> list[Row]:
    words = read(text, tokenizer("bert"))
    found = rows(words, room, sentence_ends(text, words, ends), documents)
    check(found, len(words.ids), room)
    return found


def check(found: list[Row], pieces: int, room: int) -> None:
    """Each piece is scored once, in a row that reads it, and no row is too long."""
    assert [row.start for row in found] == [0, *(row.end for row in found)][: len(found)]
    assert (found[-1].end if found else 0) == pieces
    for row in found:
        assert row.first <= row.start < row.end <= row.last <= row.first + room


def read_by(text: str, found: list[Row]) -> list[str]:
    words = read(text, tokenizer("bert"))
    return [text[words.first[row.first] : words.last[row.last - 1]] for row in found]


def test_a_short_text_is_one_row_and_no_text_none() -> None:
    assert len(cut("One. Two.", 510)) == 1
    assert cut("", 510) == []
    assert cut(" \n", 510) == []


def test_a_row_ends_with_a_sentence_and_the_next_one_begins_there() -> None:
    text = " ".join(f"The mill was built by Ada in 18{i:02}." for i in range(60))
    found = cut(text, 100)
    assert all(part.endswith(".") and part.startswith("The mill") for part in read_by(text, found))
    assert all(row.first == row.start and row.last == row.end for row in found)
    assert len(found) < 12


def test_a_stop_inside_a_number_or_a_name_ends_no_sentence() -> None:
    text = "It costs 3.50 or v1.2 of example.org for all of us here " * 20
    words = read(text, tokenizer("bert"))
    assert not sentence_ends(text, words, (".",)).any()
    marks = "He said “no.” Then 完了。次は"
    words = read(marks, tokenizer("bert"))
    ends = [marks[: words.last[i]][-3:] for i in np.flatnonzero(sentence_ends(marks, words, ENDS))]
    assert ends == ["no.", "完了。"]


def test_a_line_break_ends_a_row_if_asked() -> None:
    text = "\n".join(["speaker one said nothing at all about it"] * 20)
    assert all(part.startswith("speaker") for part in read_by(text, cut(text, 50)))
    assert not all(part.startswith("speaker") for part in read_by(text, cut(text, 50, ends=(".",))))


def test_inside_a_sentence_both_sides_of_a_cut_have_context() -> None:
    text = "the mill by the river was not restored in time " * 200
    found = cut(text, 510)
    words = read(text, tokenizer("bert"))
    for row, after in pairwise(found):
        assert row.last - row.end >= 32
        assert after.start - after.first >= 32
        assert words.owners[row.end] != words.owners[row.end - 1], "cut inside a word"
    read_in_all = sum(row.last - row.first for row in found)
    assert read_in_all < 1.2 * len(words.ids)


def test_documents_have_rows_of_their_own_with_what_heads_them() -> None:
    text = "Preface. Title 1: The mill burned. Title 2: Guests came. After."
    places = [(text.index("The mill"), text.index(" Title 2")), (text.index("Guests"), text.index(" After"))]
    assert read_by(text, cut(text, 510, documents=tuple(places))) == [
        "Preface. Title 1: The mill burned.",
        "Title 2: Guests came.",
        "After.",
    ]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab .\n。字x1", max_size=300), st.integers(8, 40), st.data())
def test_nothing_is_lost_whatever_the_text(text: str, room: int, data: st.DataObject) -> None:
    edges = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    cut(text, room, documents=tuple(zip(edges[::2], edges[1::2], strict=False)))


@pytest.mark.parametrize("text", [LONG, "".join(LANGUAGES.values()) * 20, "[" * 3_000, "a" * 5_000, "x" * 90 + " "])
def test_nothing_is_lost_of_long_texts(text: str) -> None:
    for room in (30, 510):
        cut(text, room)
