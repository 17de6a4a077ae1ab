"""What is said at the start: only what is true of these settings."""

from dataclasses import replace
from pathlib import Path

from proxy.check import Checked
from proxy.config import load
from proxy.serving import screen, threads
from proxy.settings import Guarding, Settings


def said(settings: Settings) -> str:
    return "\n".join(screen(settings, Checked()))


def settings(tmp_path: Path, policy: str) -> Settings:
    file = tmp_path / "laconic.toml"
    file.write_text(f'[ledger]\npath = "off"\n[[route]]\nname = "all"\npolicy = "p"\n[policy.p]\n{policy}\n')
    return load(file)


def test_answers_change_only_where_a_policy_in_use_recovers(tmp_path: Path) -> None:
    plain = settings(tmp_path, 'extends = "safe"')
    assert "  change answers; follow" in said(plain)
    it = settings(tmp_path, 'extends = "safe"\nrecover = true')
    assert "  change answers, but for cut names, dates and numbers under p; follow" in said(it)
    idle = replace(it, routes=tuple(replace(route, policy="safe") for route in it.routes))
    assert "  change answers; follow" in said(idle)


def test_models_that_are_being_loaded_are_told(tmp_path: Path) -> None:
    assert "models are being loaded" not in said(settings(tmp_path, 'extends = "safe"'))
    assert "models are being loaded" in said(
        settings(tmp_path, 'extends = "balanced"\ncontext.compressor = "passages"')
    )


def test_where_a_model_is_called_for_there_are_morethreads_unless_a_number_is_given(tmp_path: Path) -> None:
    plain = settings(tmp_path, 'extends = "safe"')
    neural = settings(tmp_path, 'extends = "balanced"\ncontext.compressor = "passages"')
    assert threads(plain).workers is None
    assert threads(neural).workers == 8
    assert threads(replace(neural, compression=replace(neural.compression, workers=3))).workers == 3
    assert [threads(replace(neural, workers=n)).workers for n in (2, 3, 4, 16)] == [4, 3, 2, 2]


def test_several_processes_are_told(tmp_path: Path) -> None:
    it = settings(tmp_path, 'extends = "safe"')
    assert "processes" not in said(it)
    assert "3 processes, which share one ledger" in said(replace(it, workers=3))


def test_what_the_quality_guard_sends_is_told(tmp_path: Path) -> None:
    plain = settings(tmp_path, 'extends = "safe"')
    assert "compare answers" not in said(plain)
    guarded = replace(plain, guards={"all": Guarding(share=0.02, usd_per_day=1.5)})
    assert "route all: 0.02 of what is shortened is sent as it came, too, twice, for up to $1.5" in said(guarded)
