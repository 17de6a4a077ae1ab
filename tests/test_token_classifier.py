"""Token classification by rows: the same numbers from every engine, in any company, from many threads."""

import gc
import json
import shutil
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import tiny

from compressors import cancel
from compressors.base import Cancelled, Unavailable
from compressors.token_classifier import TokenClassifier, token_classifier

TEXTS = ["The council met at noon.", "It voted.", "预算通过了。", "A longer text follows, " * 30, "x"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LACONIC_CACHE", str(tmp_path / "cache"))


def encoded(model: TokenClassifier, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in model.checkpoint.tokenizer.encode_batch(texts)]


def expected(kind: str, row: list[int]) -> NDArray[Any]:
    import torch
    import transformers

    model = transformers.AutoModelForTokenClassification.from_pretrained(tiny(kind)).eval()
    with torch.inference_mode():
        found: NDArray[Any] = model(input_ids=torch.tensor([row])).logits[0].softmax(-1)[:, 1].numpy()
    return found


@pytest.mark.parametrize("kind", ["xlm-r", "bert", "modernbert"])
def test_probabilities_are_those_of_transformers(kind: str) -> None:
    model = token_classifier(str(tiny(kind)), "cpu", "fp32")
    for row, kept in zip(rows := encoded(model, TEXTS), model.keep(rows), strict=True):
        assert (row[0], row[-1]) == (model.first, model.last)
        assert kept.dtype == np.float32
        np.testing.assert_allclose(kept, expected(kind, row), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "precision", "engine"),
    [("xlm-r", "auto", "onnx-int8"), ("bert", "fp32", "onnx-fp32"), ("modernbert", "auto", "torch-fp32")],
)
def test_callers_from_many_threads_get_what_each_would_get_alone(kind: str, precision: str, engine: str) -> None:
    model = token_classifier(str(tiny(kind)), "cpu", precision)
    assert model.engine == engine
    assert model.version == f"{model.checkpoint.version} {engine}"
    rows = encoded(model, TEXTS) * 6
    alone = [model.keep([row])[0] for row in rows[:5]] * 6
    with ThreadPoolExecutor(30) as pool:
        together = list(pool.map(lambda row: model.keep([row])[0], rows))
    for one, other in zip([*together, *model.keep(rows)], [*alone, *alone], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_model_is_kept_for_each_device_and_precision() -> None:
    name = str(tiny("bert"))
    assert token_classifier(name, "cpu", "int8") is token_classifier(name, "cpu", "int8")
    assert token_classifier(name, "cpu", "int8") is not token_classifier(name, "cpu", "fp32")


def test_a_model_that_nobody_holds_is_let_go() -> None:
    model = token_classifier(str(tiny("bert")), "cpu", "int8")
    model.keep([[5, 6]])
    ref = weakref.ref(model._model)
    del model
    gc.collect()
    assert ref() is None


def test_rows_too_long_or_empty_and_callers_that_left_are_refused() -> None:
    model = token_classifier(str(tiny("xlm-r")), "cpu")
    assert model.longest == 512
    assert len(model.keep([[9] * 512])[0]) == 512
    for row in ([], [9] * 513):
        with pytest.raises(ValueError, match=f"a row of {len(row)} tokens; between 1 and 512"):
            model.keep([row])
    with cancel.watched(lambda: False), pytest.raises(Cancelled):
        model.keep([[9]])
    assert model.keep([]) == []


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [("cuda:77", "auto", "there is no device 'cuda:77'"), ("cpu", "int4", "precision 'int4' is not for this model")],
)
def test_what_is_not_there_is_unavailable(device: str, precision: str, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        token_classifier(str(tiny("bert")), device, precision)


@pytest.mark.parametrize("kind", ["minilm-bi-encoder", "modernbert"])
def test_a_model_without_a_head_for_tokens_is_unavailable(kind: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny(kind), tmp_path / kind))
    if kind == "modernbert":
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        bare = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("classifier")}
        path.unlink()
        save_file(bare, path, {"format": "pt"})
    with pytest.raises(Unavailable, match="holds no token classifier"):
        token_classifier(str(folder), "cpu").keep([[5, 6, 7]])


LIGHT = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            sys.exit(f"{name} was imported")
sys.meta_path.insert(0, Watch())
from compressors.token_classifier import token_classifier
print(*token_classifier(sys.argv[1], "cpu").keep([[5, 6, 7]])[0])
"""


def test_models_like_bert_need_no_torch_on_a_cpu() -> None:
    name = str(tiny("xlm-r"))
    done = subprocess.run([sys.executable, "-c", LIGHT, name], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    here = token_classifier(name, "cpu").keep([[5, 6, 7]])[0]
    np.testing.assert_allclose([float(value) for value in done.stdout.split()], here, atol=1e-6)


def test_one_label_tells_nothing(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("bert"), tmp_path / "one"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "x"}}))
    with pytest.raises(Unavailable, match="one label"):
        token_classifier(str(folder), "cpu")
