"""Sentences, terms and span arithmetic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors import Span, spans

UNITS = {
    "abbreviations": ["Dr. Smith met Mrs. Jones vs. the rest. ", "They left."],
    "initials": ["J. R. Harper wrote it. ", "Nobody read it."],
    "decimals": ["It rose 3.5 points to 1.2. ", "Then it fell."],
    "dotted": ["It opens at 9 a.m. in the U.S. on Monday. ", "Be there."],
    "numbered": ["See Fig. 2 and No. 712. ", "She said no. ", "Then she left."],
    "numbers": ["They counted 12 boats in bay 7. ", "Nobody saw the 3. ", "The rest left."],
    "ordinals": ["Am 3. Mai kam er z.B. mit Nr. 5 an. ", "Danach ging er."],
    "quotes": ["He said: “Stay here.” ", "She did (of course!). ", "Then: 'No.' ", "End."],
    "asked in a sentence": ["“Really?” he asked. ", "Yes."],
    "citations": ["It is warm.[12] ", "It is dry.[3][4] ", "It is calm."],
    "ellipsis": ["Well... maybe. ", "No..."],
    "addresses": ["Go to https://example.org/a.html?b=1 now. ", "Wait."],
    "no capitals": ["hello. ", "how are you? ", "fine"],
    "chinese": ["今天下雨。", "你呢？", "“很好！”", "他走了"],
    "japanese": ["「行こう。」", "と彼は言った。 ", "終わり"],
    "korean": ["비가 온다. ", "집에 가자! ", "그래"],
    "arabic": ["هل تمطر اليوم؟ ", "نعم. ", "شكرا"],
    "hindi": ["आज बारिश है। ", "क्या तुम आओगे? ", "हाँ"],
    "greek": ["Τι κάνεις; ", "Καλά είμαι. ", "Εσύ;"],
    "russian": ["Это ул. Мира, д. 150. ", "Идёт дождь!"],
    "thai": ["วันนี้ฝนตกหนักมากเราจึงอยู่บ้านอ่านหนังสือกัน ", "พรุ่งนี้ไปตลาด ดี"],
    "lines": ["# Heading\n\n", "- first item\n", "- second item, which\n  goes on here\n", "1. Third\n", "2. Fourth"],
    "wrapped": ["This line was wrapped\nby an editor. ", "This one was\nnot."],
    "labels": ["Steps:\n", "open the lid"],
}


@pytest.mark.parametrize("name", UNITS)
def test_sentences_end_where_a_reader_would_end_them(name: str) -> None:
    text = "".join(UNITS[name])
    assert [text[a:b] for a, b in spans.sentences(text)] == UNITS[name]


def test_speech_without_punctuation_is_cut_at_white_space() -> None:
    text = "and then we went on " * 500
    units = spans.sentences(text)
    assert max(b - a for a, b in units) <= spans.LONGEST
    assert all(text[b - 1] == " " for _, b in units)


@given(st.text(st.sampled_from("aA1.!?…。;؟\n\t \u0e01\u0301\ud800\"')]*-€"), max_size=60))
def test_sentences_cover_any_text_without_gap_or_overlap(text: str) -> None:
    units = spans.sentences(text)
    assert "".join(text[a:b] for a, b in units) == text
    assert all(a < b for a, b in units)


@pytest.mark.parametrize("piece", [".", " ", "\n", ".)", "a. ", "ก ", "[1].", "\n \t", "a", "((", "…\u0301"])
def test_hostile_repetition_stays_linear(piece: str) -> None:
    """Quadratic behaviour at this length would run into the suite's time limit."""
    text = piece * (400_000 // len(piece))
    assert spans.join(text, spans.sentences(text)) == text
    spans.terms(text)


def test_terms_are_folded_words_and_pairs_of_characters() -> None:
    assert spans.terms("The ＣＡＴ's 3 naïve Straßen") == ["the", "cat", "s", "3", "naïve", "straßen"]
    assert spans.terms("東京都 x 雨") == ["東京", "京都", "x", "雨"]
    assert spans.terms("हिन्दी में") == ["हिन्दी", "में"]
    assert spans.terms("ฝนตก") == ["ฝน", "นต", "ตก"]
    assert spans.terms("!? \ud800") == []


_SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


@given(_SPANS, _SPANS)
def test_span_arithmetic_agrees_with_sets_of_positions(left: list[Span], right: list[Span]) -> None:
    def chars(found: list[Span] | tuple[Span, ...]) -> set[int]:
        return {i for a, b in found for i in range(a, b)}

    a, b = spans.merge(left), spans.clip(right, 25)
    assert chars(a) == chars(left)
    assert all(x[1] < y[0] for x, y in pairwise(a))
    assert chars(b) == {i for i in chars(right) if i < 25}
    assert chars(spans.intersect(a, b)) == chars(a) & chars(b)
    assert chars(spans.complement(b, 25)) == set(range(25)) - chars(b)
    for start, end in b:
        assert spans.within(a, start, end) == spans.intersect(a, ((start, end),))
