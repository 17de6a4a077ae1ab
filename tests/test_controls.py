"""The controls: all, any, both ends."""

from compressors import Rate, Task, Threshold, Tokens
from compressors.controls import Ends, Identity, Random
from compressors.spans import join

TEXT = " ".join(f"Sentence number {i} is here." for i in range(40))


def kept(compressor: Ends | Identity | Random, budget: Rate | Tokens | Threshold, text: str = TEXT) -> str:
    return join(text, compressor.compress([Task(text, budget)])[0].spans)


def test_identity_keeps_everything_whatever_is_asked() -> None:
    assert kept(Identity(), Tokens(1)) == TEXT


def test_ends_keeps_the_beginning_and_the_end() -> None:
    assert kept(Ends(), Rate(0.1)) == (
        "Sentence number 0 is here. Sentence number 1 is here. Sentence number 38 is here. Sentence number 39 is here."
    )


def test_ends_by_threshold_keeps_what_lies_near_an_end() -> None:
    assert kept(Ends(), Threshold(0.9)).count("Sentence") == 4


def test_random_draws_by_the_text_and_keeps_about_the_share() -> None:
    first = kept(Random(), Rate(0.5))
    assert 18 <= first.count("Sentence") <= 22
    assert first == kept(Random(), Rate(0.5))
    numbers = [word for word in first.split() if word.isdecimal()]
    other = kept(Random(), Rate(0.5), TEXT.replace("here", "there"))
    assert numbers != [word for word in other.split() if word.isdecimal()]
