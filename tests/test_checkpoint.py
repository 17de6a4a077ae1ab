"""Checkpoints: found without a network, read from safetensors only, their version a hash of what matters."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, find, open_checkpoint


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("LACONIC_MODELS", str(folder))
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny("bert"), tmp_path / "copy"))


def test_a_folder_is_found_as_it_is_and_a_name_where_downloads_lie(models: Path, copied: Path) -> None:
    assert find(str(copied)) == copied
    downloaded = copied.rename(models / "some-one--bert_2.1")
    assert find("some-one/bert_2.1") == downloaded
    assert open_checkpoint("some-one/bert_2.1") is open_checkpoint(str(downloaded))


def test_a_model_that_is_not_there_says_how_to_get_it(models: Path) -> None:
    with pytest.raises(Unavailable, match="run `laconic models download owner/name`"):
        find("owner/name")


@pytest.mark.parametrize("name", ["no-such-folder", "../../etc", "/no/such/folder", "a/b/c", "", "a/.."])
def test_what_is_neither_a_folder_nor_a_name_is_told(models: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    if name == "":  # the folder in which the process runs
        with pytest.raises(Unavailable, match=r"no config\.json"):
            open_checkpoint(name)
        return
    if Path(name).is_dir():
        with pytest.raises(Unavailable):
            open_checkpoint(name)
        return
    with pytest.raises(Unavailable):
        find(name)


def test_the_version_changes_with_every_file_that_matters_and_with_no_other(copied: Path) -> None:
    first = Checkpoint(copied).version
    assert first == Checkpoint(tiny("bert")).version
    (copied / "README.md").write_text("about it")
    assert Checkpoint(copied).version == first
    seen = {first}
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (copied / name).read_bytes()
        (copied / name).write_bytes(content + b" ")
        seen.add(Checkpoint(copied).version)
        (copied / name).write_bytes(content)
    assert len(seen) == 4


def test_the_tokenizer_neither_cuts_nor_pads_nor_takes_text_for_special_tokens() -> None:
    """Whatever the file says."""
    tokenizer = open_checkpoint(str(tiny("bert"))).tokenizer
    short, long = tokenizer.encode_batch(["a", "word " * 3000])
    assert len(short) < 10
    assert len(long) > 3000
    first, last = tokenizer.encode("").ids
    inner = tokenizer.encode("[SEP] [CLS]", add_special_tokens=False).ids
    assert not {first, last} & set(inner)


def test_pickled_weights_are_not_read(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(Unavailable, match=r"no model\.safetensors; other formats of weights are not read"):
        Checkpoint(copied)


def test_weights_in_several_files_are_those_of_the_index_in_the_folder_itself(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "model-1-of-2.safetensors")
    index: dict[str, Any] = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "../model-2-of-2.safetensors"}}
    (copied / "model.safetensors.index.json").write_text(json.dumps(index))
    (copied.parent / "model-2-of-2.safetensors").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"lacks model-2-of-2\.safetensors"):
        Checkpoint(copied)
    (copied / "model-2-of-2.safetensors").write_bytes(b"")
    assert [path.parent for path in Checkpoint(copied).weights] == [copied, copied]


@pytest.mark.parametrize(("content", "message"), [(b"{", "is damaged"), (b"[]", "holds no object"), (None, "has no")])
def test_a_damaged_config_is_told(copied: Path, content: bytes | None, message: str) -> None:
    (copied / "config.json").unlink()
    if content is not None:
        (copied / "config.json").write_bytes(content)
    with pytest.raises(Unavailable, match=rf"{message}"):
        Checkpoint(copied)
