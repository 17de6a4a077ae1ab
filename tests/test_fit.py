"""The size that was asked for is met to the token, in any language, and what stays reads as it stood."""

import random
import re
from dataclasses import replace
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compressors import LANGUAGES

from compressors import Budget, Rate, Span, Task, Threshold, Tokens
from compressors.fit import fit
from compressors.spans import intersect, join, merge
from compressors.tokenizers import counter

DENSE = "\u0e00-\u0eff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af"
UNIT = re.compile(rf"[{DENSE}]{{1,2}}|[^\W{DENSE}]+|[^\w\s]")


def units_of(text: str) -> list[Span]:
    return [match.span() for match in UNIT.finditer(text)]


def noise(count: int, seed: int = 0) -> list[float]:
    return random.Random(seed).choices(range(1000), k=count)  # with ties


def size(text: str, encoding: str = "o200k_base") -> int:
    return counter(encoding).count(text)


def long(language: str, tokens: int) -> str:
    """Sentences of the language, mixed, of about so many tokens."""
    sentences = LANGUAGES[language].split(" ") if language != "th" else LANGUAGES["th"].split()
    source, words, count = random.Random(language), [], 0
    while count < tokens:
        words.append(source.choice(sentences))
        count += size(" " + words[-1])
        if source.random() < 0.05:
            words[-1] += source.choice(["\n", "\n\n", "  "])
    return " ".join(words)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("tokens", [100, 700, 5_000])
def test_the_rate_is_met_to_the_token(language: str, tokens: int) -> None:
    text = long(language, tokens)
    units = units_of(text)
    for rate in (0.2, 0.33, 0.5, 0.8):
        kept = fit(Task(text, Rate(rate)), units, noise(len(units)))
        assert size(join(text, kept.spans)) == round(rate * size(text))


def test_so_it_is_for_a_long_text_a_token_target_and_another_tokenizer() -> None:
    text = " ".join(long(language, 4_000) for language in LANGUAGES)
    units = units_of(text)
    for encoding in ("o200k_base", "cl100k_base"):
        assert size(text, encoding) > 50_000
        for budget in (Tokens(2_000), Tokens(30_001)):
            kept = fit(Task(text, budget, encoding=encoding), units, noise(len(units)))
            assert size(join(text, kept.spans), encoding) == budget.value


ANY = st.text(alphabet="ab1.,-'\n \té字ก한🎉\u0301ا", max_size=60) | st.text(max_size=40)


@settings(max_examples=300, deadline=None)
@given(ANY, st.data())
def test_whatever_the_text(text: str, data: st.DataObject) -> None:
    """Protected and forced stay, what stays is an extract, never longer, never empty, always the same."""
    units = units_of(text)
    edge = st.integers(0, len(text))
    protected = merge(data.draw(st.lists(st.tuples(edge, edge), max_size=2)))
    forced = data.draw(st.sets(st.sampled_from(range(len(units))), max_size=3)) if units else set()
    budgets: list[Budget] = [Rate(0.01), Rate(0.3), Rate(0.7), Rate(1), Tokens(5), Threshold(0.5)]
    budget = data.draw(st.sampled_from(budgets))
    scores = data.draw(st.lists(st.floats(-1, 1) | st.just(nan), min_size=len(units), max_size=len(units)))
    task = Task(text, budget, protected=protected)
    kept = fit(task, units, scores, forced)
    assert kept == fit(task, units, scores, forced)
    assert kept.spans == merge(kept.spans)
    held = merge([*protected, *(units[i] for i in forced)])
    assert intersect(kept.spans, held) == held
    short = join(text, kept.spans)
    assert size(short) <= size(text)
    assert bool(short.strip()) == bool(text.strip())


def keep(text: str, *words: str) -> str:
    """What stays of the text where just these words are wanted."""
    units = units_of(text)
    scores = [float(text[start:end] in words) for start, end in units]
    return join(text, fit(Task(text, Threshold(0.5)), units, scores).spans)


@pytest.mark.parametrize(
    ("text", "words", "short"),
    [
        ("one two three", "one three", "one three"),
        ("one, two three", "one three", "one three"),
        ("one two\nthree", "one three", "one\nthree"),
        ("one\n\ntwo\nthree", "one three", "one\n\nthree"),
        ("one\n\ntwo\n\nthree", "one three", "one\n\nthree"),
        ("if x:\n    one\n        two three", "if three", "if\n        three"),
        ("one two.", "one .", "one ."),
        ("one two.", "two .", "two."),
        ("磨坊在河边。", "磨坊 边", "磨坊边"),
        (" one two \n", "two", " two \n"),
    ],
)
def test_one_gap_stays_and_it_is_the_strongest(text: str, words: str, short: str) -> None:
    assert keep(text, *words.split()) == short


def test_a_better_unit_goes_first_and_the_earlier_one_among_equals() -> None:
    text = "alpha beta gamma delta"
    assert [
        join(text, fit(Task(text, Tokens(n)), units_of(text), [1, 1, 2, nan]).spans).strip() for n in (1, 2, 3)
    ] == ["gamma", "alpha gamma", "alpha beta gamma"]


def test_a_word_protected_in_part_stays_whole_and_of_a_longer_unit_only_that_part() -> None:
    text = "It was on 12 May. Nobody came."
    sentences = [(0, 17), (18, 30)]
    day = Task(text, Tokens(1), protected=((10, 12),))
    assert join(text, fit(day, sentences, [0, 1]).spans) == "12"
    assert join(text, fit(replace(day, protected=((11, 12),)), units_of(text), [0] * 9).spans) == "12"


def test_what_is_no_unit_stays() -> None:
    text = "Source 1\n\nThe mill burned.\n\nSource 2\n\nGuests came."
    units = [(10, 26), (38, 50)]
    assert join(text, fit(Task(text, Rate(0.6)), units, [1, 0]).spans) == "Source 1\n\nThe mill burned.\n\nSource 2"
