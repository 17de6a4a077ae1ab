"""The engines: ONNX graph of our own and torch, against transformers on the same weights."""

import json
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import tiny

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, open_checkpoint
from compressors.encoders import onnx, quantised
from compressors.encoders.family import shape
from compressors.encoders.onnx import OnnxEncoder
from compressors.encoders.torch import TorchEncoder
from compressors.encoders.weights import single, tensors

CLASSIFIERS = ["xlm-r", "bert", "modernbert"]
FAMILY = ["xlm-r", "bert", "minilm-bi-encoder"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LACONIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows(kind: str, lengths: Sequence[int]) -> list[list[int]]:
    """Ids drawn at random, no special ones among them: their places would be another's in XLM-R."""
    draw = np.random.default_rng(7)
    high = open_checkpoint(str(tiny(kind))).config["vocab_size"] - 110
    return [draw.integers(10, high, length).tolist() for length in lengths]


@cache
def reference(kind: str) -> Any:
    import transformers

    headed = kind in CLASSIFIERS
    made = transformers.AutoModelForTokenClassification if headed else transformers.AutoModel
    return made.from_pretrained(tiny(kind)).eval()


def expected(kind: str, row: Sequence[int]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        out = reference(kind)(input_ids=torch.tensor([list(row)]))
    found: NDArray[np.float32] = (out.logits if kind in CLASSIFIERS else out.last_hidden_state)[0].numpy()
    return found


def ranks(values: NDArray[Any]) -> NDArray[Any]:
    return values.ravel().argsort().argsort()


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("length", [1, 2, 37, 512])
def test_float32_is_what_transformers_computes(kind: str, length: int) -> None:
    encoder = OnnxEncoder(open_checkpoint(str(tiny(kind))), "fp32")
    (row,) = rows(kind, [min(length, encoder.shape.positions - encoder.shape.first)])
    np.testing.assert_allclose(encoder.run([row])[0], expected(kind, row), atol=1e-5)


@pytest.mark.parametrize("kind", FAMILY)
def test_int8_keeps_the_order_of_the_scores(kind: str) -> None:
    """Weights of these models are ten times as wide as those of real ones; the rank correlation is still above .999."""
    encoder = OnnxEncoder(open_checkpoint(str(tiny(kind))), "int8")
    (row,) = rows(kind, [min(400, encoder.shape.positions - encoder.shape.first)])
    (made,) = encoder.run([row])
    assert np.corrcoef(ranks(made), ranks(expected(kind, row)))[0, 1] > 0.999


@pytest.mark.parametrize("precision", onnx.PRECISIONS)
def test_a_row_is_worth_the_same_in_any_company(precision: str) -> None:
    encoder = OnnxEncoder(open_checkpoint(str(tiny("xlm-r"))), precision)
    many = rows("xlm-r", [24] * 5)
    alone = [encoder.run([row])[0] for row in many]
    for one, other in zip(encoder.run(many), alone, strict=True):
        np.testing.assert_allclose(one, other, atol=0 if precision == "int8" else 1e-6)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_torch_pads_rows_without_a_change(kind: str) -> None:
    encoder = TorchEncoder(open_checkpoint(str(tiny(kind))), "cpu", "fp32")
    many = rows(kind, [60, 3, 31])
    for row, made in zip(many, encoder.run(many), strict=True):
        np.testing.assert_allclose(made, expected(kind, row), atol=2e-5)


def test_torch_in_bfloat16_is_near() -> None:
    encoder = TorchEncoder(open_checkpoint(str(tiny("bert"))), "cpu", "bf16")
    (row,) = rows("bert", [50])
    made, exact = encoder.run([row])[0], expected("bert", row)
    assert made.dtype == np.float32
    assert 0 < np.abs(made - exact).max() < 0.2


def test_quantised_weights_are_within_half_a_step(own_cache: Path) -> None:
    matrix = np.random.default_rng(1).normal(size=(8, 40)).astype(np.float32)
    matrix[3] = 0
    whole, scale = quantised.quantised(matrix, 127)
    assert whole.dtype == np.int8
    assert (np.abs(whole.T * scale[:, None] - matrix) <= scale[:, None] / 2 * 1.0001).all()


def test_quantised_weights_are_kept_on_disk_and_made_again_where_they_are_damaged(own_cache: Path) -> None:
    checkpoint = open_checkpoint(str(tiny("bert")))
    (row,) = rows("bert", [20])
    first = OnnxEncoder(checkpoint, "int8").run([row])[0]
    (kept,) = own_cache.iterdir()
    assert kept.name.startswith(checkpoint.version[:32])
    written = kept.stat().st_mtime_ns
    assert (OnnxEncoder(checkpoint, "int8").run([row])[0] == first).all()
    assert kept.stat().st_mtime_ns == written
    for damage in (kept.read_bytes()[:-10], b"", b"\xff" * 40):
        kept.unlink()
        kept.write_bytes(damage)
        assert (OnnxEncoder(checkpoint, "int8").run([row])[0] == first).all()
        assert kept.stat().st_size > 1000


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LACONIC_CACHE", str(tmp_path / "file" / "cache"))
    (row,) = rows("bert", [20])
    assert OnnxEncoder(open_checkpoint(str(tiny("bert"))), "int8").run([row])[0].shape == (20, 2)


def test_the_size_of_a_step_suits_the_processor() -> None:
    """On what cuts sums off, 7 bits; either way a product of the largest numbers is exact."""
    assert onnx._steps() in (63, 127)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny("bert"), tmp_path / "copy"))


def edited(folder: Path, **changes: Any) -> Checkpoint:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return Checkpoint(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "deberta-v2"},
        {"hidden_act": "gelu_new"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
    ],
)
def test_what_the_graph_does_not_compute_is_left_to_torch(copied: Path, change: dict[str, Any]) -> None:
    assert not onnx.runs(edited(copied, **change), "int8")
    assert shape(json.loads((tiny("bert") / "config.json").read_text())) is not None
    assert not onnx.runs(open_checkpoint(str(tiny("bert"))), "bf16")


@pytest.mark.parametrize("change", [{"num_hidden_layers": 9}, {"hidden_size": 48}, {"num_attention_heads": 5}])
def test_weights_that_do_not_fit_the_config_are_unavailable(copied: Path, change: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="the weights do not fit the config"):
        OnnxEncoder(edited(copied, **change), "fp32").run([[5, 6]])


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_checkpoints_are_read(copied: Path, kind: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    wanted = torch.float16 if kind == "F16" else torch.bfloat16
    path = copied / "model.safetensors"
    halves = {name: tensor.to(wanted) for name, tensor in load_file(path).items()}
    path.unlink()
    save_file(halves, path)
    for name, array in tensors([path]).items():
        assert (single(array) == halves[name].float().numpy()).all()
    (row,) = rows("bert", [30])
    made = OnnxEncoder(Checkpoint(copied), "fp32").run([row])[0]
    assert 0 < np.abs(made - expected("bert", row)).max() < 0.2
