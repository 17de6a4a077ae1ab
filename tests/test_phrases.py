"""Phrases: function words with the content words after them."""

import pytest

from compressors.phrases import is_function, phrases


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in phrases(text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The mayor of the small town said", ["The mayor", "of the small town said"]),
        (
            "they would not pay $1,240.50 for it, or 18.75%.",
            ["they would not pay", "$1,240.50", "for it,", "or 18.75%."],
        ),
        ('He (the "old man") left.', ["He", '(the "old man")', "left."]),
        ("Die Brücke wurde von der Stadt gebaut.", ["Die Brücke", "wurde von der Stadt gebaut."]),
        ("駅は町の北にある。", ["駅は", "町の", "北にある。"]),
        ("one,two; three:four", ["one,two;", "three:four"]),
        ("", []),
        (" \n ", []),
        ("...", ["..."]),
    ],
)
def test_where_phrases_end(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@pytest.mark.parametrize(
    "text", ["磨坊在河边它建于一八一一年一位木匠修好了它" * 20, "ตลาดเปิดตอนหกโมงเช้าทุกวันยกเว้นวันอาทิตย์", "Word " * 50]
)
def test_no_phrase_is_long(text: str) -> None:
    assert len(cut(text)) >= len(text) // 40
    assert max(map(len, cut(text))) <= 40


@pytest.mark.parametrize(
    "text",
    ["a (b [c] d) e! f? «g h» i-j k's\n\tl", "日本 mixed テキスト and カタカナ語 end 1.5", "👩‍👩‍👧 x \u0301 y \x00 z"],
)
def test_all_that_shows_is_in_one_phrase(text: str) -> None:
    found = list(phrases(text, 0, len(text)))
    edges = [edge for span in found for edge in span]
    assert edges == sorted(edges)
    assert "".join(cut(text)).split() == "".join(cut(text)).strip().split()
    assert "".join("".join(cut(text)).split()) == "".join(text.split())
    assert all(part == part.strip() for part in cut(text))


def test_only_part_of_a_text_may_be_asked_for() -> None:
    text = "The old mill of the town"
    assert [text[a:b] for a, b in phrases(text, 4, 12)] == ["old mill"]


def test_names_and_numbers_hold_no_sentence_together() -> None:
    assert [is_function(word) for word in ("of", "which", "Of", "12", "mill", "für")] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
