"""Export: the same model gives the same bytes, which compute nearly the same on every engine; or nothing is written."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import tiny

from compressors import head
from compressors.checkpoint import Checkpoint
from compressors.encoders import graph
from compressors.encoders.onnx import OnnxEncoder, lacking
from compressors.encoders.torch import TorchEncoder
from compressors.encoders.weights import GRAPH
from compressors.features import NAMES
from compressors.models import verify
from training.card import Card, Data
from training.export import Bounds, Refused, Source, export
from training.export_drift import correlation

CARD = Card("laconic/tiny", ("Too small to know anything.",), "nothing", "Apache-2.0", (Data("texts", "us", "own"),),
            {"F1": 0.5}, ("It is no model.",), "tests")  # fmt: skip
LOOSE = Bounds(rank=0.5, fall=1.0, texts=3)
ROWS = [[5, 17, 80, 33, 12, 6], [7] * 20]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sets of ours, in the forms that the drift is measured on."""
    folder = tmp_path / "data"
    folder.mkdir()
    passages = [
        {"title": f"Town {n}", "text": f"Town {n} lies by a lake. Its mill was built in {1800 + n}. It burnt twice.",
         "is_gold": n == 3}
        for n in range(6)
    ]  # fmt: skip
    asked = [
        {"id": f"q{n}", "question": "When was the mill of Town 3 built?", "answers": ["1803"], "documents": passages,
         "evidence": [{"doc": 3, "start": 24, "end": 51}]}
        for n in range(9)
    ]  # fmt: skip
    pairs = [
        {"id": f"p{n}", "text": f"Mayor {n} of the town said on Monday that the mill will not be sold.",
         "keep_spans": [[0, 7], [20, 24], [45, 53]]}
        for n in range(60)
    ]  # fmt: skip
    for name, records in (("qa_squad", asked), ("compress_google", pairs)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return folder


def source(kind: str, tmp_path: Path, name: str = "tiny") -> Source:
    """A model of random weights; one without labels gets a head."""
    folder = tmp_path / "source"
    shutil.copytree(tiny(kind), folder)
    if kind != "bert":
        head.save(HEAD, folder, {})
    return Source(folder, name, CARD)


_NONE = np.zeros(len(NAMES), np.float32)
HEAD = head.Head(  # words decide: what a model of random weights says of meaning is noise
    mean=_NONE,
    scale=_NONE + 1,
    hidden=np.zeros((len(NAMES), 2), np.float32),
    bias=_NONE[:2],
    out=_NONE[:2],
    skip=np.array([5 if name == "lexical" else 0.1 if name == "meaning" else 0 for name in NAMES], np.float32),
)


@pytest.fixture(params=["bert", "minilm-bi-encoder"])
def exported(request: pytest.FixtureRequest, tmp_path: Path, data: Path) -> tuple[Source, Path]:
    given = source(request.param, tmp_path)
    export(given, data, tmp_path / "out", LOOSE)
    return given, tmp_path / "out" / "tiny"


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


def test_what_is_exported_is_whole_and_says_what_it_is(exported: tuple[Source, Path]) -> None:
    given, folder = exported
    assert verify(folder) == []
    card = (folder / "README.md").read_text("utf-8")
    assert all(word in card for word in ("laconic/tiny", "Apache-2.0", "| texts | us | own |", "rank correlation"))
    assert Checkpoint(folder).languages == ("en",)
    assert (folder / "head.json").is_file() is (given.folder / "head.json").is_file()


def test_the_same_model_gives_the_same_bytes(exported: tuple[Source, Path], data: Path, tmp_path: Path) -> None:
    given, folder = exported
    export(given, data, tmp_path / "again", LOOSE)
    for path in folder.iterdir():
        assert (tmp_path / "again" / "tiny" / path.name).read_bytes() == path.read_bytes(), path.name


def test_every_engine_computes_nearly_what_the_model_did(
    exported: tuple[Source, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, folder = exported
    headed = not (folder / "head.json").is_file()
    made = Checkpoint(folder)
    exact = OnnxEncoder(Checkpoint(given.folder), "fp32")
    torch, single = TorchEncoder(made, "cpu", "fp32", headed), OnnxEncoder(made, "fp32")
    for row in ROWS:
        np.testing.assert_allclose(torch.run([row])[0], single.run([row])[0], atol=1e-4)
    wanted = [exact.run([row])[0] for row in ROWS]
    monkeypatch.setattr(graph, "build", None)  # the graph that lies there is enough
    small = OnnxEncoder(made, "int8")
    for row, before in zip(ROWS, wanted, strict=True):
        (found,) = small.run([row])
        assert min(alike(found, before), alike(found, torch.run([row])[0])) > 0.98


def test_what_is_exported_needs_less_than_other_models(exported: tuple[Source, Path]) -> None:
    assert lacking(Checkpoint(exported[1]), "int8") == ""
    assert (exported[1] / GRAPH).stat().st_size < 50_000


def test_nothing_is_written_where_too_much_changes(tmp_path: Path, data: Path) -> None:
    given = source("minilm-bi-encoder", tmp_path)
    out = tmp_path / "out"
    for bounds in (Bounds(rank=1.01, texts=3), Bounds(rank=-1, fall=-1.01, texts=3)):
        with pytest.raises(Refused):
            export(given, data, out, bounds)
    with pytest.raises(ValueError, match="no held record"):
        export(given, tmp_path, out, LOOSE)
    assert not out.exists()


def test_models_of_another_family_are_refused(tmp_path: Path, data: Path) -> None:
    shutil.copytree(tiny("modernbert"), tmp_path / "source")
    with pytest.raises(ValueError, match="models like BERT"):
        export(Source(tmp_path / "source", "tiny", CARD), data, tmp_path / "out", LOOSE)


def test_correlation_is_that_of_ranks() -> None:
    assert correlation([1, 2, 3, 9], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(1)
    assert correlation([1, 2, 3, 9], [4, 3, 2, 1]) == pytest.approx(-1)
    assert correlation([1, 1, 2, 2], [1, 2, 1, 2]) == pytest.approx(0)
    assert correlation([1, 1, 1], [1, 2, 3]) == 1
