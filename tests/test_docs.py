"""What the documents show works."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from compressors import Kept, Rate, Task
from compressors.spans import join
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


def test_every_error_and_outcome_is_in_the_operators_guide() -> None:
    guide = read("docs/operators.md")

    def tree(of: type[errors.LaconicError]) -> list[type[errors.LaconicError]]:
        return [of, *(leaf for sub in of.__subclasses__() for leaf in tree(sub))]

    leaves = [error for error in tree(errors.LaconicError) if not error.__subclasses__()]
    assert len(leaves) >= 8
    assert [error.code for error in leaves if f"`{error.code}`" not in guide] == []
    assert [outcome for outcome in Outcome if f"`{outcome}`" not in guide] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/operators.md", "docs/configuration.md"])
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
