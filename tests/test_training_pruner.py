"""Training of the pruner: examples made of records, no text that is measured among them, runs that go on."""

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

from compressors import head as heads
from compressors.features import NAMES
from training import pruner
from training.pruner_data import FILES, Mix, bridge, chain, either, example, mixed, pair, pool, records
from training.pruner_encoder import Schedule, group, stream, train
from training.pruner_head import Fit, Known, fit, known
from training.records import HELD, TUNE, Record, part_of

BASE = tiny("minilm-bi-encoder")
FEW = Mix(nq=3, squad=3, qed=2, selqa=2, musique=2, bridge=3, pair=2, chain=3, either=2, blind=2, passages=(2, 4))


def names(part: str) -> Iterator[str]:
    """Town names whose documents are of this part."""
    for first in ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Hazel", "Juniper", "Maple", "Rowan", "Willow"):
        for second in ("ford", "ham", "bridge", "field", "mouth"):
            if part_of(first + second) == part:
                yield first + second


TOWNS = list(names(TUNE))
ELSEWHERE = list(names(HELD))


def document(name: str, other: str, gold: bool = False) -> Record:
    text = f"{name} is a small town near the port of {other}. The harbour of {name} was closed by order of the king."
    return {"title": name, "text": f"{text} Its mayor keeps nine bees.", "is_gold": gold}


def record(n: int, held: bool = False) -> Record:
    """A question about the second sentence of the first document; the last one may be of the other part."""
    own = [TOWNS[(n + i) % len(TOWNS)] for i in range(4)]
    last = ELSEWHERE[n % len(ELSEWHERE)] if held else own[3]
    documents = [document(name, TOWNS[(n + i + 2) % len(TOWNS)], i == 0) for i, name in enumerate([*own[:3], last])]
    text = documents[0]["text"]
    start, end = text.index("The harbour"), text.index(" Its mayor")
    return {
        "id": str(n),
        "question": f"Who closed the harbour of {own[0]}?",
        "answers": ["the king"],
        "documents": documents,
        "evidence": [{"doc": 0, "start": start, "end": end}],
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, file in FILES.items():
        count = 12 if name == "squad" else 5
        found = [record(n, held=n % 2 == 0) for n in range(count)]
        if name == "squad":  # many questions about one title
            found = [{**r, "documents": [{**record(0)["documents"][0]}, *r["documents"][1:]]} for r in found]
        with gzip.open(folder / f"{file}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(r) + "\n" for r in found)
    return folder


def test_nothing_that_is_measured_is_trained_on(data: Path) -> None:
    sets = records(data)
    made = list(mixed(sets, pool(sets), FEW, 0))
    assert len(made) > 10
    assert not [name for name in ELSEWHERE for one in made if f"] {name}\n" in one.task.text]


def test_the_same_seed_makes_the_same_examples_and_another_seed_others(data: Path) -> None:
    sets = records(data)
    one, same, other = (list(mixed(sets, pool(sets), FEW, seed)) for seed in (1, 1, 2))
    assert [e.task for e in one] == [e.task for e in same]
    assert [e.task for e in one] != [e.task for e in other]


def test_a_context_has_its_titles_protected_and_its_evidence_marked() -> None:
    made = example(record(1), "nq")
    assert made.gold.tolist()[:4] == [0, 1, 0, 0]
    assert next(made.task.text[a:b] for a, b in made.task.protected) == f"[1] {TOWNS[1]}\n"
    assert made.document == TOWNS[1]
    bare = example(record(1), "nq", titled=False)
    assert "[1]" not in bare.task.text
    assert bare.gold.tolist()[:4] == [0, 1, 0, 0]


def test_a_bridge_asks_without_the_name_that_another_passage_says(data: Path) -> None:
    sets = records(data)
    found = ((r, bridge(r, pool(sets), random.Random(0))) for r in sets["nq"])
    one, made = next((r, made) for r, made in found if made)
    name = one["documents"][0]["title"]
    assert name not in made["question"]
    clue = made["evidence"][-1]
    assert name in made["documents"][clue["doc"]]["text"][clue["start"] : clue["end"]]
    assert bridge({**sets["nq"][0], "question": "Who closed it?"}, pool(sets), random.Random(0)) is None


def test_a_pair_asks_both_and_has_the_evidence_of_both() -> None:
    made = pair(record(0), record(7))
    assert made["question"] == f"Who closed the harbour of {TOWNS[0]} and who closed the harbour of {TOWNS[7]}?"
    assert [made["documents"][e["doc"]]["title"] for e in made["evidence"]] == [TOWNS[0], TOWNS[7]]


def test_chains_and_comparisons_have_evidence_in_two_passages(data: Path) -> None:
    found = pool(records(data))
    for make in (chain, either):
        for seed in range(5):
            made = make(found, random.Random(seed))
            assert len({e["doc"] for e in made["evidence"]}) > 1
            assert all(made["documents"][e["doc"]]["text"][e["start"] : e["end"]].strip() for e in made["evidence"])
            assert any(d["title"] in made["question"] for d in made["documents"])


def parts(data: Path) -> tuple[Any, Any, Any]:
    model, tokenizer = pruner.base(BASE)
    sets = records(data)
    return model, tokenizer, stream(sets, pool(sets), FEW, tokenizer)


def test_training_brings_questions_nearer_to_what_answers_them(data: Path, tmp_path: Path, capsys: Any) -> None:
    model, tokenizer, _ = parts(data)
    same = group([example(record(n), "nq") for n in (1, 1)], tokenizer)
    schedule = Schedule(steps=30, tokens=1, rate=1e-3, frozen=0, every=10)
    train(model, tokenizer, lambda _: repeat(same), schedule, tmp_path / "encoder.pt")
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 3
    assert losses[-1] < 0.7 * losses[0]


def test_word_embeddings_and_lower_layers_stay(data: Path, tmp_path: Path) -> None:
    model, tokenizer, groups = parts(data)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    train(model, tokenizer, groups, Schedule(steps=2, tokens=200, frozen=0.5), tmp_path / "encoder.pt")
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved
    assert all(name.startswith("encoder.layer.") and not name.startswith("encoder.layer.0.") for name in moved)


def test_a_run_that_was_cut_off_goes_on(data: Path, tmp_path: Path, capsys: Any) -> None:
    state = tmp_path / "encoder.pt"
    for steps in (2, 4):
        model, tokenizer, groups = parts(data)
        train(model, tokenizer, groups, Schedule(steps=steps, tokens=200, every=1), state)
    said = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert said == ["1", "2", "3", "4"]


def test_features_go_on_where_they_were_left(data: Path, tmp_path: Path) -> None:
    model, tokenizer, _ = parts(data)
    sets = records(data)
    examples = list(mixed(sets, pool(sets), FEW, 0))
    cache = tmp_path / "features.npz"
    first = known(model, tokenizer, examples[:4], cache, quiet=True)
    every = known(model, tokenizer, examples, cache, quiet=True)
    assert len(every) == len(examples)
    assert all(np.array_equal(a.features, b.features) for a, b in zip(first, every, strict=False))
    assert [c.kind for c in every] == [e.kind for e in examples]
    assert every[5].features.shape == (len(examples[5].units), len(NAMES))


LEARN = Fit(heads=1, epochs=40, rate=2e-2, dropped=0, lexical=0)


def test_the_head_learns_what_tells_evidence_apart() -> None:
    draw = np.random.default_rng(0)
    contexts = []
    for n in range(120):
        known = draw.normal(size=(12, len(NAMES))).astype(np.float32)
        gold = np.zeros(12, np.float32)
        gold[int((known[:, 7] - known[:, 12]).argmax())] = 1
        contexts.append(Known(known, gold, "nq", str(n)))
    head, losses = fit(contexts, LEARN)
    right = [int(head.score(c.features).argmax()) == int(c.gold.argmax()) for c in contexts]
    assert np.mean(right) > 0.8
    assert losses["all"] < np.log(12) / 2
    assert head.score(contexts[0].features).tolist() == fit(contexts, LEARN)[0].score(contexts[0].features).tolist()


def test_the_command_writes_a_model_that_the_runtime_loads(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    given = [
        "--data",
        str(data),
        "--base",
        str(BASE),
        "--out",
        str(out),
        "--steps",
        "1",
        "--tokens",
        "200",
        "--contexts",
        "20",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "training.pruner", *given]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert heads.load(out).mean.shape == (len(NAMES),)
    assert json.loads((out / "config.json").read_bytes())["languages"] == ["en"]
    assert {p.name for p in out.iterdir()} >= {"model.safetensors", "tokenizer.json", "head.json"}
