"""The head: what it makes of features, and which files it takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from compressors.base import Unavailable
from compressors.features import NAMES, Floats
from compressors.head import FILE, Head, load, save

OPENING = NAMES.index("opening")


def head(passage: float = 0.0) -> Head:
    """Counts the first feature."""
    skip = np.eye(len(NAMES), dtype=np.float32)[0]
    zeros, ones = np.zeros(len(NAMES), np.float32), np.ones(len(NAMES), np.float32)
    return Head(zeros, ones, np.zeros((len(NAMES), 2), np.float32), zeros[:2], zeros[:2], skip, passage)


def rows(first: list[float], openings: list[int]) -> Floats:
    made = np.zeros((len(first), len(NAMES)), np.float32)
    made[:, 0] = first
    made[openings, OPENING] = 1
    return made


def test_scores_lie_between_0_and_1_and_the_best_unit_has_1() -> None:
    scores = head().score(rows([1, 5, -90], [0]))
    assert scores[1] == 1
    assert 0 <= scores[2] < scores[0] < 1


def test_no_unit_no_score() -> None:
    assert head().score(rows([], [])).shape == (0,)


def test_a_good_passage_lifts_all_of_its_units() -> None:
    known = rows([4, 0, 0.5, 0.2], [0, 2])
    assert head().score(known).argsort().tolist() == [1, 3, 2, 0]
    assert head(passage=0.3).score(known).argsort().tolist() == [3, 2, 1, 0]


def test_the_hidden_layer_bends() -> None:
    bent = Head(
        *(np.zeros(len(NAMES), np.float32), np.full(len(NAMES), 2, np.float32)),
        *(np.eye(len(NAMES), 1, dtype=np.float32), np.zeros(1, np.float32), np.ones(1, np.float32)),
        np.zeros(len(NAMES), np.float32),
    )
    assert bent.logits(rows([-8, 0, 2, 8], [0])) == pytest.approx([0, 0, 0.841, 4], abs=1e-3)  # GELU of half of it


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(head(0.25), tmp_path, {"layers": 6})
    again = load(tmp_path)
    known = rows([1, 2, 3], [0, 1])
    assert again.score(known).tolist() == head(0.25).score(known).tolist()
    assert json.loads((tmp_path / FILE).read_bytes())["layers"] == 6


def test_a_head_for_other_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no head"):
        load(tmp_path)
    save(head(), tmp_path, {})
    made = json.loads((tmp_path / FILE).read_bytes())
    (tmp_path / FILE).write_text(json.dumps(made | {"features": [*NAMES[1:], "smell"]}))
    with pytest.raises(Unavailable, match="other features"):
        load(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(made | {"mean": "much"}))
    with pytest.raises(Unavailable, match="no head"):
        load(tmp_path)
