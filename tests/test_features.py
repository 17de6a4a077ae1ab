"""What the pruner knows of each unit: rows for the encoder, and arithmetic on what comes out of it."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from tiny_models import tiny

from compressors.base import Rate, Span, Task
from compressors.checkpoint import open_checkpoint
from compressors.embedding import Embedded
from compressors.features import NAMES, WINDOW, described, features, heading, pooled, windows
from compressors.lexical import Passage, Relevance, Weights, analysis, passages, relevance
from compressors.selection import layout

TEXT = (
    "[1] Alder\nAlder lies on a river. Its harbour was closed in 1950. The ferry runs daily.\n\n"
    "[2] Birch\nBirch is a village. Its mayor was born in Alder. Nobody fishes there.\n\n"
)
TITLES: tuple[Span, ...] = ((0, 10), (TEXT.index("[2]"), TEXT.index("[2]") + 10))
BODIES: tuple[Span, ...] = ((10, TEXT.index("\n\n")), (TITLES[1][1], len(TEXT) - 2))
TASK = Task(TEXT, Rate(0.5), "When was the harbour closed?", TITLES, BODIES)
UNITS = layout(TASK).units


@cache
def tokenizer() -> Any:
    return open_checkpoint(str(tiny("minilm-bi-encoder"))).tokenizer


def words() -> Relevance:
    return analysis(TASK, UNITS, Weights())


def embedded(seed: int = 0) -> Embedded:
    """Four pieces a unit at random, but those of unit 1 like the question; between the passages a piece of no unit."""
    draw = np.random.default_rng(seed)
    owners = np.array([-1, *np.repeat([0, 1, 2], 4), -1, *np.repeat([3, 4, 5], 4)])
    vectors = draw.normal(size=(len(owners), 16)).astype(np.float16)
    question = draw.normal(size=(3, 16)).astype(np.float32)
    vectors[owners == 1] = question.mean(0)
    return Embedded(question, vectors, owners, np.repeat([0, 1], 13))


def test_every_piece_of_a_passage_is_read_once_under_its_heading() -> None:
    rows = windows(TEXT, UNITS, passages(TASK, UNITS), tokenizer())
    assert [row.passage for row in rows] == [0, 1]
    title = tokenizer().encode("Alder", add_special_tokens=False).ids
    assert rows[0].ids[1 : 1 + len(title)] == title
    for row, (start, end) in zip(rows, BODIES, strict=True):
        body = tokenizer().encode(TEXT[start:end].strip(), add_special_tokens=False).ids
        assert row.ids[-1 - len(body) : -1] == body
        assert len(row.owners) == len(row.ids)
        assert set(row.owners[-1 - len(body) : -1].tolist()) == {
            u for u, (a, _) in enumerate(UNITS) if start <= a < end
        }


def test_a_long_passage_is_cut_between_units_and_each_window_has_the_heading() -> None:
    text = " ".join(f"Line {n} of the report says that the ferry was late again." for n in range(80))
    task = Task(text, Rate(0.5), "late?")
    units = layout(task).units
    rows = windows(text, units, [Passage(0, len(units), "[7] Report")], tokenizer())
    assert len(rows) > 1
    assert all(len(row.ids) <= WINDOW for row in rows)
    head = tokenizer().encode("Report", add_special_tokens=False).ids
    assert all(row.ids[1 : 1 + len(head)] == head for row in rows)
    found = [set(row.owners[row.owners >= 0].tolist()) for row in rows]
    assert sorted(n for units_of_row in found for n in units_of_row) == list(range(len(units)))


def test_a_sentence_longer_than_a_window_is_cut_inside() -> None:
    text = "harbour " * 900
    rows = windows(text, [(0, len(text))], [Passage(0, 1, "")], tokenizer())
    assert all(len(row.ids) <= WINDOW for row in rows)
    assert sum(int((row.owners == 0).sum()) for row in rows) == len(
        tokenizer().encode(text, add_special_tokens=False).ids
    )


def test_the_number_before_a_title_is_no_part_of_the_heading() -> None:
    assert heading(Passage(0, 1, "[12] Alder\n")) == "Alder"
    assert heading(Passage(0, 1, "3. Fees")) == "Fees"
    assert heading(Passage(0, 1, "1984")) == "1984"


def test_vectors_are_means_and_the_nearest_piece_counts() -> None:
    given = embedded()
    seen = pooled(given, len(UNITS), 2)
    for unit in range(len(UNITS)):
        own = given.vectors[given.owners == unit].astype(np.float32)
        mean = own.mean(0)
        assert np.allclose(seen.units[unit], mean / np.linalg.norm(mean), atol=1e-5)
        cosines = given.question @ own.T / np.linalg.norm(own, axis=1) / np.linalg.norm(given.question, axis=1)[:, None]
        assert np.allclose(seen.near[:, unit], cosines.max(1), atol=1e-5)
    whole = given.vectors[given.passages == 1].astype(np.float32).mean(0)
    assert np.allclose(seen.passages[1], whole / np.linalg.norm(whole), atol=1e-5)


def test_portions_change_nothing_even_where_one_ends_inside_a_unit(monkeypatch: Any) -> None:
    given = embedded()
    parts = pooled(given, len(UNITS), 2)
    monkeypatch.setattr("compressors.features._PORTION", 3)
    again = pooled(given, len(UNITS), 2)
    assert np.allclose(parts.units, again.units, atol=1e-5)
    assert np.allclose(parts.near, again.near, atol=1e-5)


def test_one_row_a_unit_one_column_a_name() -> None:
    found = features(TASK, layout(TASK), embedded())
    assert found.shape == (len(UNITS), len(NAMES))
    assert found.dtype == np.float32
    assert found[:, NAMES.index("opening")].tolist() == [1, 0, 0, 1, 0, 0]
    assert np.allclose(found[:, 0], relevance(TASK, UNITS, Weights()))
    assert int(found[:, NAMES.index("meaning")].argmax()) == 1
    assert int(found[:, NAMES.index("near")].argmax()) == 1


def test_a_unit_like_the_best_one_elsewhere_is_a_hop() -> None:
    given = embedded()
    vectors = given.vectors.copy()
    vectors[given.owners == 4] = vectors[given.owners == 1] + 0.1
    hop = described(words(), replace(given, vectors=vectors))[:, NAMES.index("hop")]
    assert int(hop.argmax()) == 4


def test_nothing_readable_gives_numbers_all_the_same() -> None:
    given = replace(embedded(), question=np.zeros((0, 16), np.float32), vectors=np.zeros((26, 16), np.float16))
    assert np.isfinite(described(words(), given)).all()
