"""Words of the original text, whatever the tokenizer drops, joins, normalises or does not know."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compressors import LANGUAGES
from tiny_models import tiny
from tokenizers import Tokenizer

from compressors.words import Words, compounds, read

KINDS = ["xlm-r", "bert", "modernbert"]


@cache
def tokenizer(kind: str) -> Tokenizer:
    made = Tokenizer.from_file(str(Path(tiny(kind)) / "tokenizer.json"))
    made.encode_special_tokens = True
    return made


def spelled(text: str, kind: str) -> list[str]:
    words = read(text, tokenizer(kind))
    return [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)]


def check(text: str, words: Words) -> None:
    """All that shows is in exactly one word, and each piece that shows belongs to the word in which it stands."""
    covered = "".join(text[start:end] for start, end in zip(words.starts, words.ends, strict=True))
    assert "".join(covered.split()) == "".join(text.split())
    assert all(a < b for a, b in zip(words.starts, words.ends, strict=True))
    assert all(end <= start for end, start in zip(words.ends, words.starts[1:], strict=False))
    assert not any(text[i].isspace() for i in [*words.starts, *(words.ends - 1)])
    assert len(words.ids) == len(words.first) == len(words.last) == len(words.owners)
    owned = (words.owners >= 0) & (words.first < words.last)
    assert (np.diff(words.owners[owned]) >= 0).all()
    for first, last, owner in zip(words.first[owned], words.last[owned], words.owners[owned], strict=True):
        assert words.starts[owner] <= first <= words.ends[owner]
        assert last <= words.ends[owner]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_lost_in_any_language(kind: str, language: str) -> None:
    check(LANGUAGES[language], read(LANGUAGES[language], tokenizer(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_in_any_text(kind: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(
        st.text(max_size=50) | st.text(alphabet="ab1.,'\n \u200b\u200d\u0301\x00ﬁ①字、ก็🎉\ud800<s>[UNK]", max_size=50)
    )
    def try_one(text: str) -> None:
        words = read(text, tokenizer(kind))
        check(text, words)
        groups = compounds(text, words)
        assert len(groups) == len(words.starts)
        assert not len(groups) or (groups[0] == 0 and set(np.diff(groups)) <= {0, 1})

    try_one()


def test_words_are_those_of_each_tokenizer() -> None:
    text = "It's done (we think): 3.14, well-known."
    assert " ".join(spelled(text, "bert")) == "It ' s done ( we think ) : 3 . 14 , well - known ."
    words = read(text, tokenizer("xlm-r"))
    for first, last, owner in zip(words.first, words.last, words.owners, strict=True):
        if text[first:last] in ("(", ")", ":", ",", "-", "."):
            assert first == words.starts[owner], "a mark that is a piece begins a word"


@pytest.mark.parametrize("kind", KINDS)
def test_without_spaces_a_word_ends_with_its_piece(kind: str) -> None:
    assert len(spelled("市议会批准了新的预算。", kind)) > 3
    assert spelled("道路 학교", kind)[-1] == "학교"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["ก็", "e\u0301", "👩\u200d🔬", "👍🏽", "क्षि"])
def test_a_letter_keeps_its_marks(kind: str, text: str) -> None:
    assert spelled(f"a {text} b", kind) == ["a", text, "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_tokenizer_drops_stays_with_the_word_it_touches_or_is_one(kind: str) -> None:
    assert spelled("a\u00ad \u00adb \x01 c", "bert") == ["a\u00ad", "\u00adb", "\x01", "c"]
    check("\u200b", read("\u200b", tokenizer(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_spells_a_special_token_is_text(kind: str) -> None:
    special = {
        i for i, token in tokenizer(kind).get_added_tokens_decoder().items() if "UNK" not in token.content.upper()
    }
    for text in ("[CLS] a [SEP] b </s> c <s> d [NEW7] e [PAD]", "</s>"):
        words = read(text, tokenizer(kind))
        check(text, words)
        assert not special & set(words.ids.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_run_has_words_too(kind: str) -> None:
    longest = max(map(len, spelled("ab.de" * 2_000, kind)))
    assert longest <= 200
    check("a" * 5_000, read("a" * 5_000, tokenizer(kind)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("paid $1,234.50 on 2024-05-01 at 19:30, 18.5% more", ["$1,234.50", "2024-05-01", "19:30", "18.5%"]),
        ("it is -5 or +3; 7-2", ["-5", "+3", "7-2"]),
        ("we can't say; they don’t", ["can't", "don’t"]),
        ("a well-known site, docs.example.org/guide", ["well-known", "docs.example.org/guide"]),
    ],
)
def test_parts_of_a_number_or_a_contraction_stay_together(kind: str, text: str, together: list[str]) -> None:
    words = read(text, tokenizer(kind))
    groups = compounds(text, words)
    found = [
        text[words.starts[groups == group].min() : words.ends[groups == group].max()] for group in range(groups[-1] + 1)
    ]
    assert [part for part in found if part in together] == together


def test_marks_around_words_are_no_compounds() -> None:
    words = read("the end. Next (so) 'quoted' words, and 5 - 3", tokenizer("bert"))
    assert (np.diff(compounds("the end. Next (so) 'quoted' words, and 5 - 3", words)) == 1).all()


def test_the_order_is_that_of_the_text() -> None:
    text = LANGUAGES["th"] + LANGUAGES["hi"]
    for kind in KINDS:
        words = read(text, tokenizer(kind))
        assert all(a < b for a, b in pairwise(words.starts))
