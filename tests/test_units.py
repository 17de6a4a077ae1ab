"""Scores of pieces become scores of words, and the package's rule of each chunk an order of all."""

import unicodedata
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_words import tokenizer

from compressors.chunks import Row, rows
from compressors.units import Reading, Subword, Units, finer, shares, units
from compressors.words import Ints, compounds, read


def scored(text: str, room: int = 8, subword: Subword = "mean") -> tuple[Units, Ints]:
    """The units of a text whose pieces have the probabilities 0, 0.01, 0.02 and so on."""
    words = read(text, tokenizer("bert"))
    found = rows(words, room, np.zeros(len(words.ids), bool))
    values = (np.arange(len(words.ids)) / 100).astype(np.float32)
    reading = Reading(text, words, found)
    groups = compounds(text, words)
    return units(reading, [values[row.first : row.last] for row in found], groups, subword), groups[words.owners]


def test_a_word_has_the_mean_of_its_pieces_or_the_first_one() -> None:
    text = "unbelievable harbourmaster: 1,234.50 can't 港 \x01 x"
    ways: tuple[tuple[Subword, Callable[[NDArray[np.float64]], float]], ...] = (
        ("mean", np.mean),
        ("first", lambda found: found[0]),
    )
    for subword, value in ways:
        found, owners = scored(text, subword=subword)
        for i, keep in enumerate(found.keep):
            own = np.flatnonzero(owners == i) / 100
            assert abs(keep - (value(own) if len(own) else 0)) < 1e-6
    assert (found.keep == 0).sum() == 2, "the first piece, and the word that the tokenizer drops"


def test_rows_are_told_of_units() -> None:
    found, owners = scored("one two three four five six seven eight nine ten " * 3)
    assert found.rows[0] == 0
    assert set(np.diff(found.rows)) == {0, 1}
    assert len(found.spans()) == len(found.keep) == owners[-1] + 1


def test_units_that_a_span_touches() -> None:
    found, _ = scored("alpha beta gamma delta")
    assert found.touched([(0, 2), (9, 12)]).tolist() == [True, True, True, False]
    assert found.touched([(5, 6)]).tolist() == [False] * 4
    assert found.touched([]).tolist() == [False] * 4
    assert scored("a 2 x٣ ４ ②")[0].with_digits("a 2 x٣ ４ ②").tolist() == [False, True, True, True, True]


def test_costs_are_all_tokens_of_the_units() -> None:
    found, _ = scored("alpha beta gamma delta")
    assert found.costs(np.array([0, 3, 5, 10, 16])).tolist() == [2, 1, 1, 1]


def test_a_clause_that_the_tokenizer_does_not_know_is_cut_between_letters() -> None:
    text = "yes ปลาสดขายหมดอย่างรวดเร็วก่อนแปดโมงเช้า no " + "x" * 40
    found, _ = scored(text)
    parts = finer(text, found)
    assert "".join(text[a:b] for a, b in parts.spans()) == "".join(text[a:b] for a, b in found.spans())
    assert len(parts.starts) > len(found.starts) + 4
    assert (parts.ends <= np.append(parts.starts[1:], len(text))).all()
    assert {text[a:b] for a, b in found.spans()} - {text[a:b] for a, b in parts.spans()} == {text.split()[1]}
    assert not any(unicodedata.category(text[a])[0] == "M" for a, _ in parts.spans())
    assert finer("a b", scored("a b")[0]).spans() == [(0, 1), (2, 3)]


ENTRY = st.tuples(st.integers(0, 20), st.integers(0, 4), st.integers(0, 2))


@given(st.lists(ENTRY, min_size=1, max_size=40), st.integers(0, 100))
def test_shares_above_a_percentile_are_what_the_percentile_leaves(entries: list[tuple[int, int, int]], q: int) -> None:
    """Words of a chunk, each counted as often as it has tokens; strictly above the percentile."""
    entries = sorted(entries, key=lambda entry: entry[2])
    keep = np.array([entry[0] / 20 for entry in entries])
    costs = np.array([entry[1] + 1 for entry in entries])
    chunk = np.array([entry[2] for entry in entries])
    found = shares(keep, costs, chunk)
    assert ((found >= 0) & (found <= 1)).all()
    for row in set(chunk.tolist()):
        inside = chunk == row
        values = np.repeat(keep[inside], costs[inside])
        position = q / 100 * (len(values) - 1)
        if abs(position - round(position)) < 1e-9 and position != round(position):
            continue  # noise of the floats
        above = keep[inside] > np.percentile(values, q) + 1e-12
        assert (above == (found[inside] * max(len(values) - 1, 1) > position)).all()


def test_nothing_has_no_shares() -> None:
    none = np.zeros(0, np.intp)
    assert len(shares(np.zeros(0), none, none)) == 0
    reading = Reading("", read("", tokenizer("bert")), list[Row]())
    assert len(units(reading, [], none).keep) == 0
