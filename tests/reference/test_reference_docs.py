"""The documents name what there is in the published package."""

import inspect
import re
from pathlib import Path

import pytest
from llmlingua import PromptCompressor
from own_prompts import transcript
from published import published

pytestmark = pytest.mark.reference
DOCUMENT = Path(__file__).parents[2] / "docs" / "library.md"
METHODS = ("__init__", "compress_prompt", "structured_compress_prompt", "compress_json", "compress_prompt_llmlingua2")


def named() -> set[str]:
    """What stands in the first column of the table."""
    table = DOCUMENT.read_text("utf-8").partition("<!-- parameters -->")[2]
    cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


@pytest.mark.parametrize("method", [*METHODS, "recover"])
def test_every_parameter_has_its_counterpart(method: str) -> None:
    parameters = set(inspect.signature(getattr(PromptCompressor, method)).parameters) - {"self"}
    assert len(parameters) > 2
    assert parameters - named() == set()


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_every_part_of_a_result_has_its_counterpart(kind: str) -> None:
    result = published(kind).compress_prompt(transcript(1, 5), rate=0.5)
    assert set(result) - named() == set()


def test_no_parameter_is_made_up() -> None:
    there = {
        name
        for method in (*METHODS, "recover")
        for name in inspect.signature(getattr(PromptCompressor, method)).parameters
    }
    results = {name for kind in ("gpt2", "bert") for name in published(kind).compress_prompt("One. Two.", rate=0.5)}
    methods = {"PromptCompressor", "compress_prompt", "structured_compress_prompt", "compress_json", "recover"}
    assert named() - there - results - methods == set()
