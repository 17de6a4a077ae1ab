"""`laconic report`: what the ledger adds up to, as tables, JSON or CSV."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from rich.console import Console

from proxy.guard import shown
from proxy.report_tables import NOTES, show
from proxy.summaries import By, Report, Summary, summarise
from proxy.trial import Compared

_PIPED_WIDTH = 120


def report(
    path: Path, by: By = "route", since: date | None = None, as_json: bool = False, as_csv: bool = False
) -> None:
    """Prints what was saved, since a day (UTC) or ever. Raises `LedgerError` where the ledger cannot be read."""
    if as_json:
        print(as_object(path, by, since))
        return
    found = _found(path, by, since)
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([by, *(key for key in _flat(found.total) if key != "key")])
        writer.writerows(_flat(group).values() for group in found.groups)
    else:
        console = Console(highlight=False)
        console = console if console.is_terminal else Console(width=_PIPED_WIDTH, highlight=False)
        show(found, since, console)
        shown.show(path, console, quiet=True)


def as_object(path: Path, by: By, since: date | None) -> str:
    """One JSON object. Raises `LedgerError`."""
    return json.dumps(_plain(_found(path, by, since), since) | {"guard": shown.rows(path)}, indent=2)


def _found(path: Path, by: By, since: date | None) -> Report:
    start = datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp() if since else 0.0
    return summarise(path, by, start)


def _row(summary: Summary) -> dict[str, object]:
    return asdict(summary) | {"saved_share": summary.saved_share}


def _flat(summary: Summary) -> dict[str, object]:
    """A row with the trial in columns of its own."""
    trial = summary.trial
    plain = {key: value for key, value in _row(summary).items() if key != "trial"}
    counts = ("treated", "bypass", "treated_unknown", "bypass_unknown")
    plain |= {f"trial_{name}": getattr(trial, name) for name in counts}
    return plain | dict(_columns("trial_cost", trial.cost)) | dict(_columns("trial_answer", trial.answer))


def _columns(name: str, compared: Compared) -> Iterator[tuple[str, float | None]]:
    yield f"{name}_treated", compared.treated
    yield f"{name}_bypass", compared.bypass
    for key, estimate in (("change", compared.change), ("total", compared.total)):
        yield f"{name}_{key}", None if estimate is None else estimate.value
        yield f"{name}_{key}_low", None if estimate is None else estimate.low
        yield f"{name}_{key}_high", None if estimate is None else estimate.high


def _plain(found: Report, since: date | None) -> dict[str, object]:
    return {
        "by": found.by,
        "since": since and since.isoformat(),
        "groups": [_row(group) for group in found.groups],
        "total": _row(found.total),
        "reasons": [asdict(reason) for reason in found.reasons],
        "trials": [asdict(held) for held in found.trials],
        "segments": [{"reason": reason, "segments": count} for reason, count in found.segments],
        "notes": NOTES,
    }
