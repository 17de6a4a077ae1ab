"""Upstreams and their keys: what is taken, and what is refused without being quoted."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from policies.tables import Complaint
from proxy.sections import Sections
from proxy.settings import Settings


def read(
    text: str, environ: Mapping[str, str] | None = None, folder: Path = Path()
) -> tuple[Settings, list[Complaint]]:
    complaints: list[Complaint] = []
    return Sections(environ or {}, folder, complaints).settings(tomllib.loads(text)), complaints


def problems(text: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    return [(".".join(map(str, c.path)), c.message) for c in read(text, environ)[1]]


@pytest.mark.parametrize("url", ["https://a/v1", "http://127.0.0.1:8000", "http://[::1]:80/x/v1", "https://a.b/v1/"])
def test_a_base_url_is_taken_without_its_last_slash(url: str) -> None:
    found, complaints = read(f"[upstream.a]\nurl = '{url}'")
    assert (found.upstreams["a"].url, complaints) == (url.rstrip("/"), [])


def test_a_key_is_taken_from_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-from-file\n")
    found, _ = read("[upstream.a]\nurl = 'https://a'\nkey_file = 'key'", folder=tmp_path)
    assert found.upstreams["a"].key == "sk-from-file"
    found, _ = read("[upstream.a]\nurl = 'https://a'\nkey_env = 'KEY'", {"KEY": "sk-from-environment"})
    assert found.upstreams["a"].key == "sk-from-environment"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a/v1", "is no HTTP URL"),
        ("api.openai.com/v1", "is no HTTP URL"),
        ("https:///v1", "is no HTTP URL"),
        ("https://a:99999/v1", "is no URL"),
        ("https://[a/v1", "is no URL"),
        ("https://user:secret@a/v1", "names a user: name the key with key_env or key_file"),
        ("https://a/v1?key=secret", "has a query or a fragment"),
        ("https://a/v1#secret", "has a query or a fragment"),
        ("https://a /v1", "holds a character that no URL may"),
    ],
)
def test_a_bad_url_is_refused_without_quoting_it(url: str, message: str) -> None:
    found = problems(f"[upstream.a]\nurl = '{url}'")
    assert found == [("upstream.a.url", message)]
    assert "secret" not in str(found)


@pytest.mark.parametrize("name", ["key", "api_key", "token"])
def test_a_key_in_the_file_is_refused_without_quoting_it(name: str) -> None:
    found = problems(f"[upstream.a]\nurl = 'https://a/v1'\n{name} = 'sk-secret'")
    assert found == [(f"upstream.a.{name}", "keys don't belong in this file")]


@pytest.mark.parametrize(
    ("line", "environ", "message"),
    [
        ("key_env = 'KEY'", {}, "names a place where no key is"),
        ("key_env = 'KEY'", {"KEY": " "}, "names a place where no key is"),
        ("key_env = 'KEY'", {"KEY": "sk-secret\r\nx-evil: 1"}, "names a key with characters that no header may carry"),
        ("key_file = 'nowhere'", {}, "cannot be read"),
        ("key_env = 'KEY'\nkey_file = 'f'", {"KEY": "sk-secret"}, "contradicts 'key_env'"),
    ],
)
def test_a_key_must_be_where_the_file_says(line: str, environ: dict[str, str], message: str) -> None:
    found = problems(f"[upstream.a]\nurl = 'https://a/v1'\n{line}", environ)
    assert [m for _, m in found] == [message]
    assert "secret" not in str(found)
