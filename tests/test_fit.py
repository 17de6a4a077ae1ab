"""The size that was asked for is met to the token, in any language, and what stays reads as it stood."""

import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import Rate, Span, Task, Threshold, Tokens
from compressors.fit import fit
from compressors.spans import complement, intersect, join
from compressors.tokenizers import counter
from test_compressors import LANGUAGES

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
