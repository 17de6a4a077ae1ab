"""The report says what was saved and billed, and what it does not know."""

import csv
import io
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from proxy.ledger import LedgerError, open_ledger
from proxy.report import report
from proxy.report_tables import show
from proxy.savings import Bill, Measured, Money, Outcome, Savings, Usage
from proxy.summaries import By, summarise

NEW_YEAR = 1_767_225_600.0  # 2026-01-01 00:00 UTC
REASONS = (("compressed", 2), ("too short", 1))


def entry(measured: Measured, route: str = "rag", at: float = NEW_YEAR, usd: float | None = 0.0) -> Savings:
    bill = Bill(0.0007, 0.0002, 0.0, 0.0002)
    money = Money(usd, usd and usd - 0.0005, 0.0001 if measured.stages else None, bill if usd is not None else Bill())
    return Savings("id", at, route, "balanced", "openai", False, measured, 200, Usage(410, 20, 128), money)


def compressed(model: str = "gpt-4o", estimated: bool = False) -> Measured:
    stages = (("compress", 2.5),)
    return Measured(Outcome.COMPRESSED, "", model, "o200k_base", estimated, 1000, 400, (), REASONS, stages)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    kept = open_ledger(tmp_path / "ledger")
    kept.record(entry(compressed(), usd=0.0015))
    kept.record(entry(compressed("my [bold]model", estimated=True), route="agents", usd=None))
    kept.record(entry(Measured(Outcome.FAILED_OPEN, "deadline", "gpt-4o"), at=NEW_YEAR + 86_400))
    kept.record(entry(Measured(Outcome.AUDITED, "", "gpt-4o", tokens_before=500, tokens_after=200)))
    kept.record(Savings("id", NEW_YEAR, "files", "", "openai", False, Measured(Outcome.PASSED), 200))
    kept.close()
    return tmp_path / "ledger"


def printed(path: Path, by: By = "route", since: date | None = None) -> str:
    out = io.StringIO()
    show(summarise(path, by), since, Console(file=out, width=160))
    return out.getvalue()


def line(text: str, start: str) -> list[str]:
    """The cells of the first line that begins with a word."""
    return next(found.split() for found in text.splitlines() if found.split()[:1] == [start])


def test_the_table_tells_the_unknown_from_nothing(path: Path) -> None:
    text = printed(path)
    assert line(text, "rag") == ["rag", "3", "1", "1,500", "900", "40.0%", "0.0015", "0.0010", "0"]
    assert line(text, "agents") == ["agents", "1", "1", "1,000", "400", "60.0%", "unknown", "unknown", "1"]
    assert line(text, "files") == ["files", "1", "0", "-", "-", "-", "-", "-", "0"]
    assert line(text, "total") == ["total", "5", "2", "2,500", "1,300", "48.0%", "0.0015", "0.0010", "1"]


def test_what_it_took_and_what_failed_is_told(path: Path) -> None:
    cost = printed(path).partition("Time spent compressing")[2]
    assert line(cost, "rag") == ["rag", "2.5", "2.5", "0.003", "0.0001", "1", "0"]
    assert line(cost, "agents") == ["agents", "2.5", "2.5", "0.003", "0.0001", "0", "1"]
    assert line(cost, "files") == ["files", "-", "-", "-", "-", "0", "0"]


def test_the_arms_are_compared_with_an_interval_where_there_are_enough(tmp_path: Path) -> None:
    """40 conversations at 2 $ for 1,000 tokens and 0.5 $ of compressing are treated; 30 at 3 $ bypass it."""
    kept = open_ledger(tmp_path / "ledger")
    for n in range(74):
        arm, usd = ("treated", 2.0) if n < 40 else ("bypass", 3.0)
        measured = replace(compressed(), arm=arm, conversation=n.to_bytes(16))
        money = Money(0.0, 0.0, 0.5, Bill(usd, 0.0, 0.0, 0.0))
        kept.record(replace(entry(measured, "rag" if n < 70 else "agents"), money=money))
    kept.close()
    costs, answers = printed(tmp_path / "ledger").partition("Measured against")[2].split("Measured against them")
    assert " ".join(line(costs, "rag")) == "rag gpt-4o 70 30 0 2.50000 3.00000 20.0000 (20.0000 to 20.0000)"
    assert " ".join(line(costs, "agents")) == "agents gpt-4o 4 4 0 - - too few: 30 each are needed"
    assert " ".join(line(costs, "total")) == "total 74 34 0 2.50000 3.00000 20.0000 (20.0000 to 20.0000)"
    assert line(answers, "rag")[:4] == ["rag", "gpt-4o", "20.0", "20.0"]


def test_no_figure_is_cut_off_in_a_narrow_terminal(path: Path) -> None:
    out = io.StringIO()
    show(summarise(path, "model"), None, Console(file=out, width=80))
    assert "…" not in out.getvalue()


def test_billed_tokens_stand_in_a_table_of_their_own(path: Path) -> None:
    billed = printed(path).partition("Tokens billed upstream")[2]
    assert line(billed, "rag") == ["rag", "1,230", "384", "unknown", "60", "0"]
    assert line(billed, "files") == ["files", "-", "-", "-", "-", "0"]


def test_reasons_are_told(path: Path) -> None:
    text = printed(path)
    assert line(text.partition("Failed open: something broke")[2], "deadline") == ["deadline", "1"]
    assert line(text.partition("segments of all requests")[2], "compressed") == ["compressed", "4"]
    assert "left alone" not in text, "no request was"


def test_the_notes_call_an_estimate_an_estimate(path: Path) -> None:
    text = " ".join(printed(path).split())
    assert "$ gross is an estimate" in text
    assert "$ net is an estimate, by the method `own mix`" in text
    assert "1 were shortened, and what their input was billed at is unknown" in text
    assert "1 were answered, and what that cost is unknown" in text
    assert "1 were shortened but have no price" in text
    assert "1 were audited: measured, and sent as they came; 300 tokens could have been removed" in text
    assert "1 were counted by another model's tokenizer" in text
    assert "1 were not counted" in text
    assert "1 were no chat completions" in text


def test_a_name_from_a_caller_is_not_read_as_markup(path: Path) -> None:
    assert "my [bold]model" in printed(path, "model")
    assert "(not read)" in printed(path, "model")


def test_json_holds_all_that_the_tables_do(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(path, "model", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [group["key"] for group in found["groups"]] == ["", "gpt-4o", "my [bold]model"]
    assert found["groups"][2]["saved_usd"] is None
    assert found["total"]["saved_share"] == pytest.approx(0.48)
    assert found["reasons"] == [{"outcome": "failed_open", "reason": "deadline", "requests": 1}]
    assert {"reason": "too short", "segments": 2} in found["segments"]
    assert any("estimate" in note for note in found["notes"])


def test_csv_leaves_the_unknown_empty(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(path, "route", as_csv=True)
    agents, _, rag = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (agents["route"], agents["saved_usd"], agents["unpriced"]) == ("agents", "", "1")
    assert (rag["tokens_before"], rag["billed_input"], rag["billed_cache_write"]) == ("1500", "1230", "")


def test_a_day_to_begin_with(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(path, "day", since=date(2026, 1, 2))
    assert "since 2026-01-02 (UTC), by day" in capsys.readouterr().out
    report(path, "day", since=date(2026, 1, 2), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["since"], found["total"]["requests"]) == ("2026-01-02", 1)
    report(path, since=date(2026, 2, 1))
    assert capsys.readouterr().out == "No requests were recorded since 2026-02-01 (UTC).\n"


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        report(tmp_path / "none")
