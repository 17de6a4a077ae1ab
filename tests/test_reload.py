"""New settings take the place of old ones, or don't."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config import load
from proxy.reload import Current

FIRST = '[[route]]\nname = "a"\npolicy = "safe"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "laconic.toml"
    file.write_text(FIRST)
    return file


def holder(file: Path) -> Current:
    return Current(load(file), lambda: load(file))


def test_a_valid_file_takes_over(file: Path) -> None:
    current = holder(file)
    before = current.current()
    file.write_text(FIRST.replace("safe", "off"))
    outcome = current.reload()
    assert outcome.problems == ()
    assert current.current() is outcome.settings
    assert current.current().routes[0].policy == "off"
    assert before.routes[0].policy == "safe", "a request that began before goes on with what it began with"


def test_an_invalid_file_leaves_the_old_settings_and_says_why(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    current = holder(file)
    before = current.current()
    file.write_text(FIRST + 'policcy = "off"\nmodel = 3\n')
    outcome = current.reload()
    assert current.current() is before is outcome.settings
    assert [(p.line, p.key) for p in outcome.problems] == [(4, "route[0].policcy"), (5, "route[0].model")]
    assert [r.levelno for r in caplog.records] == [logging.ERROR, logging.ERROR]
    assert "laconic.toml:4" in caplog.text


def test_a_file_that_is_gone_changes_nothing(file: Path) -> None:
    current = holder(file)
    file.unlink()
    assert "cannot be read" in current.reload().problems[0].message
    assert current.current().routes[0].policy == "safe"


def test_a_good_file_after_a_bad_one_takes_over(file: Path) -> None:
    current = holder(file)
    file.write_text("[[")
    current.reload()
    file.write_text(FIRST.replace("safe", "aggressive"))
    current.reload()
    assert current.current().routes[0].policy == "aggressive"


def test_what_counts_from_the_next_start_is_named_until_then(file: Path) -> None:
    current = holder(file)
    file.write_text(FIRST + "[server]\nport = 1\nmax_headers = 3\n")
    assert current.reload().waiting == ("port",)
    assert current.current().limits == replace(current.current().limits, headers=3)
    assert current.reload().waiting == ("port",)
    file.write_text(FIRST)
    assert current.reload().waiting == ()
