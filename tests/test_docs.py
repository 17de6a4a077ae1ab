"""What the documents show works."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny

import compressors
from compressors import Kept, Rate, Task
from compressors.spans import join
from compressors.tokenizers import counter
from policies.presets import PRESETS
from proxy import errors
from proxy.savings import Outcome

ROOT = Path(__file__).parent.parent


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_compressor_in_contributing_works() -> None:
    """It keeps the first sentence of three and what is protected."""
    (example,) = re.findall(r"```python\n(.*?)```", read("CONTRIBUTING.md"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "CONTRIBUTING.md", "exec"), names)
    text = "The first one stays here. The second one is dropped. The third one has a number, 47."
    (kept,) = names["Head"]().compress([Task(text, Rate(0.4), protected=((80, 83),))])
    assert isinstance(kept, Kept)
    shown = join(text, kept.spans)
    assert shown.startswith("The first one stays here.")
    assert "second" not in shown
    assert text[80:83] in shown


HUB = {"microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank": "bert", "openai-community/gpt2": "gpt2"}
"""Models that the documents name, and which tiny one stands in for each."""


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_library_run(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they stand, and what they keep is a part of the text and nearly as long as they say."""
    for name, kind in HUB.items():
        (tmp_path / name.replace("/", "--")).symlink_to(tiny(kind))
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    example = re.findall(r"```python\n(.*?)```", read("docs/library.md"), re.DOTALL)[number]
    names: dict[str, Any] = {}
    exec(compile(example, "docs/library.md", "exec"), names)
    shown = capsys.readouterr().out.rstrip("\n") or names["prompt"].removesuffix(f"\n\n{names['question']}")
    count = counter("o200k_base").count
    wanted = round(0.6 * count(names["text"])) if number == 0 else 16
    assert abs(count(shown) - wanted) <= 1
    assert shown == join(names["text"], names["kept"].spans)


def test_the_settings_that_the_library_names_exist() -> None:
    named = set(re.findall(r"`(\w+)\.(\w+)`", read("docs/library.md")))
    fields = {(name, field) for name, field in named if name in compressors.TABLE}
    assert len(fields) > 20
    unknown = [
        f"{name}.{field}"
        for name, field in sorted(fields)
        if field not in getattr(compressors.settings_of(name), "__struct_fields__", ())
    ]
    assert unknown == []


def test_every_compressor_with_a_model_is_among_the_algorithms() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", read("docs/algorithms.md"), re.MULTILINE))
    fields = {name: getattr(compressors.settings_of(name), "__struct_fields__", ()) for name in compressors.TABLE}
    with_model = {name for name in fields if "model" in fields[name]}
    assert with_model - described == set()
    assert described <= set(compressors.TABLE)


def test_every_issue_in_the_algorithms_has_its_link() -> None:
    text = read("docs/algorithms.md")
    assert set(re.findall(r"(?<=[( ])\[#(\d+)\]", text)) == set(re.findall(r"^\[#(\d+)\]: https", text, re.MULTILINE))


def test_every_error_and_outcome_is_in_the_operators_guide() -> None:
    guide = read("docs/operators.md")

    def tree(of: type[errors.LaconicError]) -> list[type[errors.LaconicError]]:
        return [of, *(leaf for sub in of.__subclasses__() for leaf in tree(sub))]

    leaves = [error for error in tree(errors.LaconicError) if not error.__subclasses__()]
    assert len(leaves) >= 8
    assert [error.code for error in leaves if f"`{error.code}`" not in guide] == []
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in guide] == []


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", read(document))
    assert [link for link in links if not ((ROOT / document).parent / link).exists()] == []


@pytest.mark.parametrize("command", ["demo", "test"])
def test_the_makefile_has_what_the_readme_names(command: str) -> None:
    assert re.search(rf"^{command}:", read("Makefile"), re.MULTILINE)


def test_presets_named_in_the_changelog_exist() -> None:
    named = re.search(r"the presets (.*?);", read("CHANGELOG.md"), re.DOTALL)
    assert named
    assert set(re.findall(r"`(\w+)`", named[1])) == set(PRESETS)


def test_the_image_is_built_from_files_that_are_there_and_let_in() -> None:
    """What the Dockerfile copies exists, and .dockerignore lets it through; so is all that the project file names."""
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    let_in = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert sources == let_in
    assert [source for source in sources if not (ROOT / source).exists()] == []
    project = tomllib.loads(read("pyproject.toml"))
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], project["project"]["readme"]}
    assert needed <= sources
