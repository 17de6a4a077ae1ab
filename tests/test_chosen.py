"""Compressors under names of the operator's own."""

from pathlib import Path

import pytest
from conftest import Register

import compressors
from compressors import Task
from compressors.passages import PassagesSettings
from policies.base import Kind
from policies.rules import RulePolicy
from proxy.check import check
from proxy.chosen import called_for
from proxy.config import ConfigError, load
from proxy.settings import Chosen, Settings

POLICY = '[[route]]\nname = "all"\npolicy = "minutes"\n[policy.minutes]\nextends = "safe"\ncontext.compressor = '


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "laconic.toml"


def settings(file: Path, text: str) -> Settings:
    file.write_text('[ledger]\npath = "off"\n' + text)
    return load(file)


def wrong(file: Path, text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        settings(file, text)
    return [(p.key, f"{p.message}; {p.allowed}") for p in caught.value.problems]


def test_a_name_stands_for_a_compressor_and_its_settings(file: Path) -> None:
    found = settings(file, POLICY + '"meeting"\n[compressor.meeting]\nuse = "passages"\nprecision = "fp32"\n')
    assert found.compressors == {"meeting": Chosen("passages", PassagesSettings(precision="fp32"))}
    policy = found.policies["minutes"]
    assert isinstance(policy, RulePolicy)
    assert policy.rules[Kind.CONTEXT].compressor == "meeting"
    assert called_for(found) == ("meeting", "structured", "whitespace")


def test_without_use_it_is_the_compressor_of_that_name(file: Path) -> None:
    found = settings(file, '[compressor.passages]\ndevice = "cpu"\n[compressor.lexical]\n')
    assert found.compressors == {
        "passages": Chosen("passages", PassagesSettings(device="cpu")),
        "lexical": Chosen("lexical"),
    }


def test_a_folder_is_relative_to_the_file_and_a_name_on_the_hub_is_not(file: Path) -> None:
    (file.parent / "models" / "mine").mkdir(parents=True)

    def model(written: str) -> object:
        it = settings(file, f'[compressor.m]\nuse = "passages"\nmodel = "{written}"').compressors["m"].settings
        assert isinstance(it, PassagesSettings)
        return it.model

    beside = str(file.parent / "models/mine")
    assert model("models/mine") == beside
    assert model("./models/mine") == beside
    assert model("./not/there") == str(file.parent / "not/there"), "so that the complaint names the right place"
    assert model(beside) == beside
    assert model("owner/name") == "owner/name"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('[compressor.m]\nuse = "lexicl"', "compressor.m.use", "no compressor is called 'lexicl'; did you mean 'lex"),
        ("[compressor.m]\n", "compressor.m", "no compressor is called 'm'; "),
        ("[compressor.m]\nuse = 3", "compressor.m.use", "no compressor"),
        ("[compressor]\nm = 3", "compressor.m", "is not a table"),
        ('[compressor.lexical]\nuse = "ends"', "compressor.lexical", "is the name of a compressor; another name"),
        ('[compressor.m]\nuse = "ends"\nmodel = "x"', "compressor.m.model", "ends takes no settings"),
        ('[compressor.passages]\ndevice = "gpu"', "compressor.passages.device", 'this string is out of place; "auto"'),
        ('[compressor.passages]\ndevise = "cpu"', "compressor.passages.devise", "no key is called 'devise'; did you"),
        (POLICY + '"meting"\n[compressor.meeting]\nuse = "ends"', "policy.minutes.context.compressor", "no compressor"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(file: Path, text: str, key: str, message: str) -> None:
    assert [said for at, said in wrong(file, text) if at == key and said.startswith(message)], wrong(file, text)


def test_what_is_not_installed_is_told_by_whoever_loads_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is right; the machine is not."""
    monkeypatch.setitem(compressors.TABLE, "broken", "no_such_module:Broken")
    found = settings(file, POLICY + '"broken"\n[compressor.broken]\nmodel = "x"')
    assert found.compressors == {"broken": Chosen("broken")}
    assert check(lambda: found).obstacles == (
        "the compressor 'broken' does not load: No module named 'no_such_module'",
    )


class Needy:
    """A compressor whose model is missing."""

    version = "1"

    def compress(self, tasks: list[Task]) -> object:
        raise AssertionError("never asked")

    def warm_up(self) -> None:
        raise compressors.Unavailable("the model a/b is not there: run `laconic models download a/b`")


def test_check_runs_each_model_once_and_says_how_to_get_a_missing_one(file: Path, register: Register) -> None:
    register("needy", Needy)
    found = settings(file, POLICY + '"needy"\n[compressor.spare]\nuse = "needy"\n')
    assert check(lambda: found).ok, "the start of the server does not wait for models"
    checked = check(lambda: found, warm_up=True)
    assert checked.obstacles == (
        "the compressor 'needy' does not load: the model a/b is not there: run `laconic models download a/b`",
    )
    assert "compressor spare: no route uses it" in checked.lines


def test_check_names_what_stands_behind_a_name(file: Path) -> None:
    found = settings(file, POLICY + '"meeting"\n[compressor.meeting]\nuse = "passages"\ndevice = "cpu"\n')
    assert "compressor meeting: passages (device cpu)" in check(lambda: found).lines
