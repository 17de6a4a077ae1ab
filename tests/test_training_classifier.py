"""Training of the token classifier: labels from sets of several kinds, rows, and runs that are killed and go on."""

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

from compressors import Rate, Task, load
from compressors.checkpoint import open_checkpoint
from compressors.classifier import ClassifierSettings
from compressors.spans import join
from training.classifier import Settings, settle, train, untrained, write
from training.classifier_eval import auc, f1, pair_metrics, scores, thresholds
from training.classifier_rows import Row, batch, batches, cut, together
from training.classifier_sources import (
    WORD,
    Labelled,
    abstracts,
    chats,
    labelled,
    meetings,
    pair_part,
    pairs,
    passages,
    stems,
    tasks,
)
from training.records import HELD, TUNE, part_of

BASE = tiny("bert")
SETTINGS = Settings(layers=1, longest=48, pieces=400, epochs=2, rate=1e-3, every=3)
NEWS = "The council of Marlow on Tuesday approved a new bridge, which was not what the mayor wanted."


def marked(found: Labelled, least: float = 0.6) -> set[str]:
    return {m.group() for m in WORD.finditer(found.text) if found.target[m.start()] >= least}


def titled(part: str) -> str:
    return next(name for name in map(str, range(99)) if part_of(name) == part)


def pair(text: str, *kept: str) -> dict[str, Any]:
    spans = [[text.index(word), text.index(word) + len(word)] for word in kept]
    return {"id": text, "text": text, "keep_spans": spans}


def news(count: int) -> list[dict[str, Any]]:
    places = ("Marlow", "Ketu", "Oslo", "Lima", "Perth", "Quito", "Turku")
    return [
        pair(f"{place} number {i} {NEWS}", f"{place} number", "approved a new bridge")
        for i, place in enumerate(places * (count // len(places) + 1))
    ][:count]


def rows(count: int = 40) -> dict[int, list[Row]]:
    tokenizer = open_checkpoint(str(BASE)).tokenizer
    texts = list(pairs(news(count), TUNE))
    return {n: [row for text in texts for row in cut(text, n, tokenizer, 48)] for n in (0, 1)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several would wait for each other longer than such small models take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_that_was_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    def weights(folder: str, stop: int) -> dict[str, Any]:
        (tmp_path / folder).mkdir(exist_ok=True)

        def told(done: int, steps: int, loss: float) -> None:
            assert 0 < done <= steps
            assert loss > 0
            if done == stop:
                raise KeyboardInterrupt

        return dict(train(rows(), ("pairs", "other"), (BASE, tmp_path / folder), SETTINGS, told).state_dict())

    whole = weights("whole", -1)
    with pytest.raises(KeyboardInterrupt):
        weights("killed", 8)  # in the second epoch, two steps after what was written
    again = weights("killed", -1)
    assert all((whole[name] == again[name]).all() for name in whole)
    start = untrained(BASE, 1, 1).state_dict()
    assert not (start["classifier.weight"] == whole["classifier.weight"]).all()
    assert (start["bert.embeddings.word_embeddings.weight"] == whole["bert.embeddings.word_embeddings.weight"]).all()


def test_a_run_is_not_gone_on_with_other_settings(tmp_path: Path) -> None:
    def killed(done: int, steps: int, loss: float) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(rows(), ("pairs", "other"), (BASE, tmp_path), SETTINGS, killed)
    with pytest.raises(SystemExit, match="other settings"):
        train(rows(20), ("pairs", "other"), (BASE, tmp_path), SETTINGS, killed)


def test_the_command_makes_a_model_that_the_compressor_takes(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, news(120))), "utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training.classifier", "--pairs", str(file), "--base", str(BASE)]
    options = [
        "--out",
        str(tmp_path / "model"),
        "--layers",
        "1",
        "--epochs",
        "2",
        "--rate",
        "2e-2",
        "--pieces",
        "512",
        "--threads",
        "1",
    ]
    subprocess.run(
        [*command, *options], check=True, capture_output=True, env=environment, cwd=Path(__file__).parent.parent
    )
    about = json.loads((tmp_path / "model" / "laconic.json").read_text("utf-8"))
    assert about["metrics"]["texts"] > 0
    assert about["metrics"]["auc"] > 0.7
    assert about["threshold"] == 0.5
    assert not (tmp_path / "model" / "resume.pt").exists()
    given = ClassifierSettings(model=str(tmp_path / "model"), device="cpu", precision="fp32")
    text = f"Zagreb number 7 {NEWS}"
    kept = load("classifier", given).compress([Task(text, Rate(0.4))])[0]
    assert "approved a new bridge" in join(text, kept.spans)


def test_near_duplicates_are_on_one_side() -> None:
    assert pair_part(NEWS) == pair_part(NEWS.upper() + " The mayor left.")
    both = {part: {found.text for found in pairs(news(60), part)} for part in (TUNE, HELD)}
    assert not both[TUNE] & both[HELD]
    assert len(both[TUNE]) > len(both[HELD]) > 0


def test_parts_of_a_document_are_on_one_side() -> None:
    records = [{**record, "document": f"{i % 20} minutes"} for i, record in enumerate(news(60))]
    tune, held = ({r["document"] for r in records if list(pairs([r], part))} for part in (TUNE, HELD))
    assert len(tune) > len(held) > 0
    assert not tune & held


def test_passages_keep_what_was_asked_about_them() -> None:
    text = "Ida Holm built the harbour of Vik in 1931. Fishing was poor that year. She did not like the sea."
    record = {
        "source": "squad",
        "question": "Who built the harbour?",
        "answers": ["Ida Holm"],
        "documents": [{"title": titled(TUNE), "text": text, "is_gold": True}],
        "evidence": [{"doc": 0, "start": 0, "end": 42}],
    }
    [found] = passages([record], TUNE)
    assert marked(found) == {"Ida", "Holm", "built", "harbour", "1931", "not"}
    assert found.weight[text.index("Ida")] > found.weight[text.index("Fishing")] > 0
    assert found.weight[text.index(".")] == 0
    assert not list(passages([record], HELD))


def test_tasks_keep_the_values_that_were_needed() -> None:
    said = [
        {"role": "user", "content": "Well, I want a table in Ghent for six.", "spans": [[24, 29, "city"]]},
        {"role": "tool", "content": "[]"},
        {"role": "assistant", "content": "Sure, at the Oak?"},
    ]
    record = {"id": titled(TUNE), "messages": said, "queries": [{"query": "Where?", "answers": ["the Oak"]}]}
    [found] = tasks([record], TUNE)
    assert marked(found) == {"Ghent", "the", "Oak"}
    assert marked(found, 0.2) - marked(found) == {"table", "six"}


def test_meetings_keep_what_answers_took_from_their_evidence() -> None:
    turns = ["Lovely weather.", "We decided to postpone the remote.", "The remote again."]
    query = {"query": "When?", "answer": "It was decided to put the remote off.", "evidence": [[1, 1]]}
    messages = [{"role": "A", "content": turn} for turn in turns]
    record = {"id": titled(TUNE), "messages": messages, "queries": [query], "general_queries": []}
    [found] = meetings([record], TUNE)
    assert marked(found) == {"decided", "remote"}
    assert found.target[found.text.rindex("remote")] == 0
    assert found.target[found.text.index("postpone")] > found.target[found.text.index("weather")]


def test_abstracts_and_chats_keep_what_comes_again() -> None:
    sentences = ["Networks are hard to train.", "We train them with noise."]
    abstract = {"id": titled(TUNE), "sentences": sentences, "labels": [0, 1], "summaries": ["Noise helps training."]}
    [found] = abstracts([abstract], TUNE)
    assert marked(found) == {"train", "noise"}
    messages = [{"role": "user", "content": text} for text in ("Compare tea and coffee.", "Tea is milder.")]
    [found] = chats([{"id": titled(TUNE), "messages": messages}], TUNE)
    assert marked(found) == {"tea"}
    assert stems("The decisions decided nothing") == {"decis", "decid", "nothi"}


def test_rows_hold_every_piece_and_end_with_a_sentence() -> None:
    tokenizer = open_checkpoint(str(BASE)).tokenizer
    text = " ".join(record["text"] for record in news(9))
    [found] = pairs([{"id": "1", "text": text, "keep_spans": [[0, 10]]}], pair_part(text))
    made = list(cut(found, 3, tokenizer, 60))
    ids = [i for row in made for i in row.ids[1:-1].tolist()]
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids
    assert all(len(row.ids) <= 60 and row.source == 3 for row in made)
    assert all(tokenizer.decode([row.ids[-2]]) == "." for row in made)
    assert made[0].weight.tolist() == [0, *[1] * (len(made[0].ids) - 2), 0]
    assert made[0].target[1] == 1
    assert made[-1].target.max() == 0


def test_batches_show_every_row_once_and_are_the_same_for_a_seed() -> None:
    found = rows()[0]
    numbers = batches(found, 200, random.Random(5))
    assert numbers == batches(found, 200, random.Random(5))
    assert sorted(i for group in numbers for i in group) == list(range(len(found)))
    made = [batch([found[i] for i in group]) for group in numbers]
    assert all(one.ids.size <= 200 or len(one.ids) == 1 for one in made)
    longer = together(found, 120, random.Random(5))
    assert sum(len(row.ids) - 2 for row in longer) == sum(len(row.ids) - 2 for row in found)
    assert max(len(row.ids) for row in longer) <= 120
    assert len(longer) < len(found)


def test_measures_are_of_words() -> None:
    model = untrained(BASE, 1, 1).eval()
    tokenizer = open_checkpoint(str(BASE)).tokenizer
    texts = list(pairs(news(20), TUNE))
    found = scores(model, tokenizer, texts)
    assert [len(s) for s in found] == [len(WORD.findall(text.text)) for text in texts]
    assert all((s > 0).all() and (s < 1).all() for s in found)
    assert 0.2 <= thresholds(model, tokenizer, texts) <= 0.7
    settle(model, 0.3)
    assert all((after > before).all() for after, before in zip(scores(model, tokenizer, texts), found, strict=True))
    settle(model, 0.7)
    assert all(map(np.allclose, scores(model, tokenizer, texts), found))
    measured = pair_metrics(model, tokenizer, texts, 0.0)
    assert measured["kept"] == 1
    gold = np.array([True, True, False, False])
    assert auc(np.array([0.9, 0.3, 0.5, 0.1], np.float32), gold) == 0.75
    assert f1(np.array([True, False, True, False]), gold) == 0.5


def test_what_is_written_reads_like_any_set(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "compress_google.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in news(30))
    assert labelled(tmp_path, "compress_google", TUNE)
    write(untrained(BASE, 1, 1), BASE, tmp_path / "out", {"threshold": 0.5})
    assert open_checkpoint(str(tmp_path / "out")).config["num_hidden_layers"] == 1
