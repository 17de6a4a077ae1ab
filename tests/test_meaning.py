"""Texts are alike by words and meaning where the encoder reads them, by words alone elsewhere."""

import pytest

from compressors import Unavailable
from proxy.guard import meaning
from proxy.guard.compare import word_f1
from proxy.guard.meaning import Meaning

SAID = "The meeting was moved to Tuesday because the room was taken."
AGAIN = "Since the room was occupied, they rescheduled the meeting for Tuesday."
ELSE = "The library lends bikes to members who have paid the fee."
GERMAN = "Die Sitzung wurde auf Dienstag verlegt, weil der Raum belegt war."


def test_a_paraphrase_is_more_alike_than_its_words_and_another_topic_is_not() -> None:
    like = Meaning().likeness([SAID, AGAIN, ELSE])
    assert like(SAID, SAID) == pytest.approx(1.0, abs=1e-3)
    assert like(SAID, AGAIN) > word_f1(SAID, AGAIN) + 0.1
    assert like(SAID, AGAIN) > 2 * like(SAID, ELSE)


def test_a_changed_figure_still_counts() -> None:
    one, other = "A bike must be returned within 30 days.", "A bike must be returned within 45 days."
    assert Meaning().likeness([one, other])(one, other) < 0.92


@pytest.mark.parametrize("texts", [[GERMAN, GERMAN], [SAID, AGAIN * 40], ["", " "]])
def test_what_the_encoder_cannot_read_is_compared_by_words(texts: list[str]) -> None:
    assert Meaning().likeness(texts) is word_f1


def test_texts_that_are_too_long_for_the_encoder_are_not_even_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: str, room: int) -> None:
        pytest.fail("the encoder was asked")

    monkeypatch.setattr(meaning, "embedder", refuse)
    assert Meaning().likeness([SAID, AGAIN * 200]) is word_f1


def test_without_an_encoder_words_are_compared_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(model: str, room: int) -> None:
        raise Unavailable("not here")

    monkeypatch.setattr(meaning, "embedder", refuse)
    it = Meaning()
    assert [it.likeness([SAID, AGAIN]), it.likeness([SAID, AGAIN])] == [word_f1, word_f1]
    assert caplog.text.count("words alone are compared") == 1
