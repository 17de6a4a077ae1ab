"""What `laconic check` finds out."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import compressors
from policies.base import Kind
from policies.presets import PRESETS
from policies.rules import RulePolicy
from proxy.check import Checked, check
from proxy.config import load
from proxy.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "laconic.toml"


def checked(file: Path, text: str, environ: Mapping[str, str] | None = None) -> Checked:
    file.write_text(text)
    return check(lambda: load(file, environ))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> RulePolicy:
    """A policy whose compressor is registered and needs a module that isn't installed."""
    monkeypatch.setitem(compressors.TABLE, "broken", "no_such_module:Broken")
    return replace(
        PRESETS["safe"], rules={Kind.CODE: replace(PRESETS["safe"].rules[Kind.CONTEXT], compressor="broken")}
    )


def settings(policy: RulePolicy, used: str) -> Settings:
    plain = load(environ={"LACONIC_LEDGER": "off"})
    route = replace(plain.routes[0], policy=used)
    return replace(plain, routes=(route,), policies={**plain.policies, "mine": policy})


def test_what_is_wrong_is_told_and_nothing_else(file: Path) -> None:
    found = checked(file, "[server]\nport = -1")
    assert [p.key for p in found.problems] == ["server.port"]
    assert (found.ok, found.obstacles, found.lines) == (False, (), ())


def test_what_the_settings_amount_to_is_told(file: Path) -> None:
    text = """
    [upstream.a]
    url = "https://a.example/v1"
    key_env = "KEY"
    [upstream.spare]
    url = "https://b.example/v1"
    [[route]]
    name = "search"
    path = "/rag"
    model = "gpt-*"
    upstream = "a"
    policy = "off"
    [policy.idle]
    extends = "safe"
    [ledger]
    path = "off"
    """
    found = checked(file, text, {"KEY": "sk-secret"})
    assert found.ok
    assert found.lines == (
        "route search (path /rag, model gpt-*): https://a.example/v1 with a key of its own, policy off (off)",
        "other requests: refused, since no route takes them",
        "policy idle: no route uses it",
        "upstream spare: no route uses it",
        "ledger: none",
    )
    assert "sk-secret" not in repr(found)


def test_a_compressor_that_does_not_load_is_told(broken: RulePolicy) -> None:
    (sentence,) = check(lambda: settings(broken, "mine")).obstacles
    assert sentence == "the compressor 'broken' does not load: No module named 'no_such_module'"


def test_a_compressor_that_no_route_calls_for_need_not_load(broken: RulePolicy) -> None:
    assert check(lambda: settings(broken, "off")).ok


def test_a_ledger_that_cannot_be_written_is_told(file: Path) -> None:
    """Its folder may be missing, since it is made; but a file stands where the folder would be."""
    policy = '[[route]]\nname = "x"\npolicy = "off"\n[ledger]\npath = '
    assert checked(file, policy + '"new/folder/ledger.sqlite3"').ok
    assert "cannot be written" in checked(file, policy + '"laconic.toml/ledger.sqlite3"').obstacles[0]
    assert "is a folder" in checked(file, policy + '"."').obstacles[0]
    assert not (file.parent / "new").exists(), "a check makes nothing"
