"""What a ledger adds up to, with the unknown kept apart from nothing."""

from pathlib import Path

import pytest

from proxy.ledger import LedgerError, open_ledger
from proxy.savings import Measured, Money, Outcome, Savings, Usage
from proxy.summaries import Reason, summarise

DAY = 86_400
NEW_YEAR = 1_767_225_600.0  # 2026-01-01 00:00 UTC


def chat(outcome: Outcome, before: int | None, after: int | None, ms: float | None = 1.0, **more: object) -> Measured:
    stages = () if ms is None else (("compress", ms),)
    return Measured(outcome, tokens_before=before, tokens_after=after, stages=stages, model="gpt-4o", **more)  # type: ignore[arg-type]


def fill(path: Path, *records: Savings) -> Path:
    kept = open_ledger(path)
    for record in records:
        kept.record(record)
    kept.close()
    return path


def told(measured: Measured, route: str = "rag", at: float = NEW_YEAR, **more: object) -> Savings:
    values: dict[str, object] = {"status": 200, "usage": Usage(100, 10, 0), "money": Money(0.0)} | more
    return Savings("id", at, route, "balanced", "openai", False, measured, **values)  # type: ignore[arg-type]


def test_only_what_did_not_go_upstream_counts_as_saved(tmp_path: Path) -> None:
    path = fill(
        tmp_path / "ledger",
        told(chat(Outcome.COMPRESSED, 1000, 400), money=Money(0.5)),
        told(chat(Outcome.AUDITED, 1000, 300)),
        told(chat(Outcome.UNTOUCHED, 500, 500)),
        told(chat(Outcome.FAILED_OPEN, 500, None)),
    )
    total = summarise(path, "route").total
    assert (total.requests, total.compressed, total.audited, total.failed_open) == (4, 1, 1, 1)
    assert (total.tokens_before, total.tokens_sent, total.audited_removable) == (3000, 2400, 700)
    assert total.saved_share == pytest.approx(0.2)
    assert total.saved_usd == 0.5


def test_unknown_is_counted_and_never_added_as_zero(tmp_path: Path) -> None:
    path = fill(
        tmp_path / "ledger",
        told(chat(Outcome.COMPRESSED, 100, 50, estimated=True), money=Money(), usage=None),
        told(chat(Outcome.FAILED_OPEN, None, None, ms=None), usage=Usage(input=70)),
        told(chat(Outcome.BYPASSED, None, None, ms=None), usage=None, status=500),
        told(Measured(Outcome.PASSED), usage=None),
    )
    total = summarise(path, "route").total
    assert (total.saved_usd, total.unpriced, total.estimated) == (None, 1, 1)
    assert (total.billed_input, total.billed_output, total.billed_cached) == (70, None, None)
    assert total.unknown_usage == 1, "neither the 500 nor what was no chat completion owes us a usage"
    assert (total.uncounted, total.passed) == (2, 1)


def test_groups_by_route_model_and_day(tmp_path: Path) -> None:
    path = fill(
        tmp_path / "ledger",
        told(chat(Outcome.COMPRESSED, 100, 50)),
        told(chat(Outcome.COMPRESSED, 200, 50), route="agents", at=NEW_YEAR + DAY - 1),
        told(Measured(Outcome.PASSED), at=NEW_YEAR + DAY),
    )
    assert [(g.key, g.requests, g.tokens_before) for g in summarise(path, "route").groups] == [
        ("agents", 1, 200),
        ("rag", 2, 100),
    ]
    assert [(g.key, g.tokens_sent) for g in summarise(path, "model").groups] == [("", None), ("gpt-4o", 100)]
    assert [(g.key, g.requests) for g in summarise(path, "day").groups] == [("2026-01-01", 2), ("2026-01-02", 1)]


def test_a_period_takes_its_first_second_and_not_its_last(tmp_path: Path) -> None:
    ats = [NEW_YEAR - 1, NEW_YEAR, NEW_YEAR + 5, NEW_YEAR + DAY]
    path = fill(tmp_path / "ledger", *(told(chat(Outcome.COMPRESSED, 10, 5), at=at) for at in ats))
    assert summarise(path, "day", NEW_YEAR, NEW_YEAR + DAY).total.requests == 2
    assert summarise(path, "day", NEW_YEAR).total.requests == 3


def test_milliseconds_are_the_quantiles_of_what_was_measured(tmp_path: Path) -> None:
    times = [float(n) for n in range(1, 101)]
    path = fill(
        tmp_path / "ledger",
        *(told(chat(Outcome.COMPRESSED, 10, 5, ms)) for ms in times),
        told(chat(Outcome.BYPASSED, None, None, ms=None)),
        told(Measured(Outcome.PASSED), route="files"),
    )
    files, rag = summarise(path, "route").groups
    assert (rag.ms_p50, rag.ms_p95) == (50.0, 95.0)
    assert (files.ms_p50, files.ms_p95) == (None, None)


def test_reasons_of_requests_and_of_segments_come_by_falling_count(tmp_path: Path) -> None:
    path = fill(
        tmp_path / "ledger",
        *(told(Measured(Outcome.FAILED_OPEN, "deadline")) for _ in range(3)),
        told(Measured(Outcome.UNTOUCHED, "too short", reasons=(("too short", 2), ("protected", 5)))),
        told(Measured(Outcome.COMPRESSED, reasons=(("compressed", 1), ("too short", 1)))),
    )
    report = summarise(path, "route")
    assert report.reasons == (Reason("failed_open", "deadline", 3), Reason("untouched", "too short", 1))
    assert report.segments == (("protected", 5), ("too short", 3), ("compressed", 1))


def test_an_empty_period_is_no_error(tmp_path: Path) -> None:
    report = summarise(fill(tmp_path / "ledger"), "model")
    assert report.groups == ()
    assert (report.total.requests, report.total.tokens_before, report.total.saved_share) == (0, None, None)


def test_a_ledger_is_read_while_it_is_written(tmp_path: Path) -> None:
    kept = open_ledger(tmp_path / "ledger")
    assert summarise(tmp_path / "ledger", "route").total.requests == 0
    kept.record(told(chat(Outcome.COMPRESSED, 10, 5)))
    kept.close()
    assert summarise(tmp_path / "ledger", "route").total.requests == 1


def test_a_file_damaged_in_the_middle_is_told(tmp_path: Path) -> None:
    path = fill(tmp_path / "ledger", *(told(chat(Outcome.COMPRESSED, 10, 5)) for _ in range(2000)))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 20 * 4096)
    with pytest.raises(LedgerError, match="is damaged"):
        summarise(path, "route")
