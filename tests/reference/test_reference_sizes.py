"""What is asked for and what comes out, of the published package and of ours: the table in docs/algorithms.md."""

import pytest
from own_prompts import transcript
from published import published
from tiny_models import tiny

from compressors import Compressor, Rate, Task
from compressors.classifier import Classifier, ClassifierSettings
from compressors.perplexity import Perplexity, PerplexitySettings
from compressors.spans import join
from compressors.tokenizers import counter

pytestmark = pytest.mark.reference
RATES = (0.2, 0.33, 0.5, 0.8)
count = counter("cl100k_base").count


def ours(kind: str) -> Compressor:
    model = str(tiny(kind))
    if kind == "bert":
        return Classifier(ClassifierSettings(model, "cpu", "fp32"))
    return Perplexity(PerplexitySettings(model, "cpu", "fp32"))


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize("turns", [2, 4, 13])
def test_the_size_that_is_asked_for_is_met(kind: str, turns: int) -> None:
    """82, 188 and 612 tokens."""
    text = transcript(5, turns)
    tasks = [Task(text, Rate(rate), encoding="cl100k_base") for rate in RATES]
    for rate, kept in zip(RATES, ours(kind).compress(tasks), strict=True):
        asked = rate * count(text)
        assert abs(count(join(text, kept.spans)) - asked) <= max(0.03 * asked, 1)


def test_the_published_one_misses_it() -> None:
    """If this fails, the table is out of date."""
    for turns, more in ((2, 4), (13, 1.4)):
        text = transcript(5, turns)
        got = count(published("gpt2").compress_prompt(text, rate=0.2)["compressed_prompt"])
        assert got > more * 0.2 * count(text)
