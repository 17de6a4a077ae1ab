"""The reader that judges: how spans are chosen and answers compared, what it is trained on, and that a run goes on."""

import argparse
import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge import reading
from rich.console import Console
from tiny_models import tiny

from training import reader as training
from training.records import TUNE, part_of

PASSAGE = "The mill burned down in 1804. Ada Holm paid for a new one. It had four floors. The wheel came from Bergen."


def record(title: str, others: int = 2) -> dict[str, Any]:
    documents = [{"title": title, "text": PASSAGE, "is_gold": True}]
    documents += [{"title": title, "text": f"Nothing of note, {i}.", "is_gold": False} for i in range(others)]
    return {
        "id": title,
        "question": "Who paid for the new mill?",
        "answers": ["Ada Holm"],
        "documents": documents,
        "evidence": [{"doc": 0, "start": 30, "end": 58}],
    }


def test_the_best_span_lies_inside_ends_after_it_starts_and_is_not_too_long() -> None:
    start, end = np.zeros(50, np.float32), np.zeros(50, np.float32)
    start[2], end[2] = 9, 9  # in the question
    start[12], end[11], end[13], end[48] = 5, 7, 3, 6
    inside = np.arange(50) > 9
    assert reading.best_span(start, end, inside) == (12, 13, 8)


def test_windows_are_compared_by_how_much_better_a_span_is_than_none() -> None:
    start, end = np.array([4, 0, 5], np.float32), np.array([4, 0, 5], np.float32)
    assert reading.best_span(start, end, np.array([False, True, True]))[2] == 2


def test_answers_are_compared_as_squad_does() -> None:
    assert reading.exact("the Ferry.", ["a ferry"]) == 1
    assert reading.exact("ferry boat", ["ferry"]) == 0
    assert reading.f1("old ferry boat", ["a boat", "the old ferry"]) == pytest.approx(0.8)
    assert reading.f1("", ["boat"]) == 0


@pytest.mark.parametrize("number", range(20))
def test_a_window_holds_its_answer_where_it_says(number: int) -> None:
    drawn = list(training.windows(record("Mills"), random.Random(number)))
    assert drawn[0].text[drawn[0].start : drawn[0].end] == "Ada Holm"
    assert all((window.start, window.end) == (-1, -1) for window in drawn[1:])
    assert not any("Ada Holm" in window.text for window in drawn[1:])


def test_windows_differ_some_without_an_answer_some_without_some_sentences() -> None:
    rng = random.Random(1)
    drawn = [window for _ in range(60) for window in training.windows(record("Mills"), rng)]
    assert any(window.start < 0 for window in drawn)
    assert any(window.start >= 0 and "Bergen" not in window.text for window in drawn)
    assert any(window.start >= 0 and PASSAGE in window.text for window in drawn)


def test_a_record_whose_answer_is_nowhere_gives_no_window() -> None:
    assert list(training.windows({**record("Mills"), "answers": ["Bo Ek"]}, random.Random(1))) == []


@pytest.fixture
def base() -> Path:
    return tiny("bert")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:

    titles = [title for i in range(80) if part_of(title := f"Mill {i}") == TUNE]
    for name in training.SETS:
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt", encoding="utf-8") as lines:
            for title in [*titles, *(f"Mill {i}" for i in range(80) if part_of(f"Mill {i}") != TUNE)]:
                lines.write(json.dumps(record(title)) + "\n")
    return tmp_path


def test_only_the_tune_half_is_trained_on_and_some_of_it_only_looked_at(data: Path) -> None:
    found, looked_at = training.load(data)
    assert found
    assert looked_at
    assert all(part_of(d["title"]) == TUNE for r in [*found, *looked_at] for d in r["documents"])
    assert {r["id"] for r in found}.isdisjoint(r["id"] for r in looked_at)


def test_a_run_that_was_broken_off_ends_as_one_that_was_not_and_the_reader_reads(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, looked_at = training.load(data)
    monkeypatch.setattr(training, "load", lambda _: (found[:24], looked_at[:4]))
    settings = training.Settings(epochs=1, batch=8, rate=1e-3, save_every=1)
    given = argparse.Namespace(data=data, base=base, out=tmp_path / "whole")
    quiet = Console(quiet=True)
    training.train(given, settings, quiet)

    broken = argparse.Namespace(data=data, base=base, out=tmp_path / "broken")
    learn = training.Training.learn
    steps: list[int] = []

    def once(self: training.Training, tensors: Any) -> float:
        if steps:
            raise KeyboardInterrupt
        steps.append(1)
        return learn(self, tensors)

    with monkeypatch.context() as patched:
        patched.setattr(training.Training, "learn", once)
        with pytest.raises(KeyboardInterrupt):
            training.train(broken, settings, quiet)
    training.train(broken, settings, quiet)
    whole, again = ((folder / "model.safetensors").read_bytes() for folder in (given.out, broken.out))
    assert whole == again

    eye = reading.Reader(given.out)
    texts = [PASSAGE, "", PASSAGE * 30]
    answers = eye.answer("Who paid?", texts)
    assert answers[1] == ""
    assert all(answer and answer in text for answer, text in zip(answers[::2], texts[::2], strict=True))
    assert eye.answer("Who paid?", texts) == answers
