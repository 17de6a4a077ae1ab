"""Chunks: whole sentences, few enough tokens, nothing lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.tokenizers import counter
from training.chunks import chunks

O200K = counter("o200k_base")


def shown(text: str, tokens: int) -> list[str]:
    return [text[start:end] for start, end in chunks(text, O200K, tokens)]


def test_a_chunk_ends_where_a_sentence_does() -> None:
    text = "The first boat left at dawn. The second one stayed.\nNobody saw the third, Dr. Lee said. It was foggy."
    assert shown(text, 18) == [
        "The first boat left at dawn. The second one stayed.",
        "Nobody saw the third, Dr. Lee said. It was foggy.",
    ]


def test_a_text_that_fits_is_one_chunk_without_the_white_space_around_it() -> None:
    assert shown("  One. Two.\n", 512) == ["One. Two."]


@pytest.mark.parametrize("text", ["", " \n\t　"])
def test_a_text_that_shows_nothing_has_no_chunk(text: str) -> None:
    assert shown(text, 512) == []


def test_a_sentence_that_is_too_long_is_cut_at_white_space() -> None:
    text = " ".join(f"word{i}" for i in range(400))
    parts = shown(text, 100)
    assert " ".join(parts) == text
    assert len(parts) >= 4


@pytest.mark.parametrize(
    "text",
    [
        "会議は九時に始まり、全員が席に着いた。" * 60,
        "会議は九時に始まり全員が席に着いた" * 100,
        "กขค่ํา" * 300,
        "👩🏽‍🚀" * 300,
        "x" * 20_000,
    ],
    ids=["Japanese", "no full stop", "marks", "joiners", "letters"],
)
def test_texts_without_spaces_are_cut_too(text: str) -> None:
    parts = shown(text, 64)
    assert "".join(parts) == text
    assert max(map(O200K.count, parts)) <= 64


def test_japanese_is_cut_at_its_full_stops() -> None:
    assert all(part.endswith("。") for part in shown("会議は九時に始まった。全員が席に着いた。" * 40, 64))


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab .\n!?,é漢。ก่👍🏽\u200d\ud800 1"), max_size=400), st.integers(8, 40))
def test_nothing_is_lost_and_no_chunk_is_too_long(text: str, tokens: int) -> None:
    spans = chunks(text, O200K, tokens)
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())
    assert spans == sorted(spans)
    assert all(O200K.count(text[a:b]) <= tokens or b - a == 1 for a, b in spans)
