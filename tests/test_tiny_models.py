"""The tiny models are what the tests take them for."""

import hashlib
from pathlib import Path

import pytest
import torch
import transformers
from tiny_models import EXTRA, RECIPES, build, tiny

TEXT = "Speaker 3: It costs $1,234.56.\n\nNext — done? 市议会 Привет №5 café 😀"


@pytest.mark.parametrize("kind", RECIPES)
def test_transformers_reads_them(kind: str) -> None:
    """By itself, and gets numbers that differ from token to token."""
    folder = tiny(kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, RECIPES[kind].model).from_pretrained(folder).eval()
    ids = tokenizer(TEXT)["input_ids"]
    assert len(ids) > 20
    with torch.no_grad():
        output = model(torch.tensor([ids]))[0]
    assert output.isfinite().all()
    assert output.shape[0] == 1
    assert output.numel() == 1 or output.std() > 0.1


@pytest.mark.parametrize("kind", RECIPES)
def test_they_are_the_same_every_time(kind: str, tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    assert content(build(kind, tmp_path)) == content(tiny(kind))


def ids(kind: str, text: str) -> list[int]:
    found: list[int] = transformers.AutoTokenizer.from_pretrained(tiny(kind))(text, add_special_tokens=False)[
        "input_ids"
    ]
    return found


def test_their_tokenizers_have_the_ways_of_the_real_ones() -> None:
    assert 13 in ids("llama", "a\nb")  # a byte
    assert ids("gpt2", ".") == [13]
    assert ids("xlm-r", "one\ntwo") == ids("xlm-r", "one   two")
    assert ids("xlm-r", "\n") == ids("bert", "\n") == []
    assert len(ids("xlm-r", "?")) == 1
    assert len(ids("bert", "市议会")) == 3
    assert ids("bert", "cafe") != ids("bert", "Café")
    assert ids("cross-encoder", "cafe") == ids("cross-encoder", "Café")
    for kind in ("xlm-r", "bert"):
        assert len(set(ids(kind, " ".join(EXTRA)))) == 100
