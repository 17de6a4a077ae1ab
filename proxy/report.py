"""`laconic report`: what the ledger adds up to, as tables, JSON or CSV."""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.guard import shown
from proxy.summaries import By, Report, Summary, summarise

NOTES = (
    "Tokens are our own counts of the text in chat requests; markup, tools and images are not in them.",
    "$ saved is an estimate: tokens removed at the list price of uncached input. What a provider's cache would have "
    "taken off anyway is not deducted, and models without a price are left out.",
    "Billed figures are what the upstreams reported, summed over the answers that did; the others are unknown.",
)
_PIPED_WIDTH = 120
_MOST = 10  # rows of a table of reasons


def report(
    path: Path, by: By = "route", since: date | None = None, as_json: bool = False, as_csv: bool = False
) -> None:
    """Prints what was saved, since a day (UTC) or ever. Raises `LedgerError` where the ledger cannot be read."""
    start = datetime(since.year, since.month, since.day, tzinfo=UTC).timestamp() if since else 0.0
    found = summarise(path, by, start)
    if as_json:
        print(json.dumps(_plain(found, since) | {"guard": shown.rows(path)}, indent=2))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([by, *(key for key in _row(found.total) if key != "key")])
        writer.writerows(_row(group).values() for group in found.groups)
    else:
        console = Console(highlight=False)
        console = console if console.is_terminal else Console(width=_PIPED_WIDTH, highlight=False)
        show(found, since, console)
        shown.show(path, console, quiet=True)


def show(found: Report, since: date | None, console: Console) -> None:
    """The tables, the unknown told apart from nothing."""
    total = found.total
    period = f"since {since} (UTC)" if since else "so far"
    if not total.requests:
        console.print(f"No requests were recorded {period}.")
        return
    failed = [(r.reason, r.requests) for r in found.reasons if r.outcome == "failed_open"]
    others = [(f"{r.outcome}: {r.reason}", r.requests) for r in found.reasons if r.outcome != "failed_open"]
    for title, table in (
        (f"Saved {period}, by {found.by}", _saved(found)),
        (f"Time spent compressing, and what did not go well, by {found.by}", _cost(found)),
        (f"Tokens billed upstream {period}, by {found.by}", _billed(found)),
        ("Failed open: something broke, and the original was sent", _reasons("requests", failed)),
        ("Why requests were left alone", _reasons("requests", others)),
        ("What became of the segments of all requests that were read", _reasons("segments", found.segments)),
    ):
        if table.row_count:
            console.print(Text(title, style="bold"), table)
    for note in (*NOTES, *_unknown(total)):
        console.print(Text(f"* {note}", style="dim"))


def _saved(found: Report) -> Table:
    titles = ("requests", "compressed", "tokens before", "tokens sent", "saved", "$ saved (est.)")
    table = _table(found.by, *titles)
    for s in _with_total(found):
        table.add_row(
            _name(s),
            _number(s.requests),
            _number(s.compressed),
            _known(s.tokens_before, s),
            _known(s.tokens_sent, s),
            "-" if s.saved_share is None else f"{s.saved_share:.1%}",
            f"{s.saved_usd:,.4f}" if s.saved_usd is not None else "unknown" if s.compressed else "-",
        )
    return table


def _cost(found: Report) -> Table:
    table = _table(found.by, "ms p50", "ms p95", "failed open", "unpriced")
    for s in _with_total(found):
        milliseconds = ("-" if ms is None else f"{ms:.1f}" for ms in (s.ms_p50, s.ms_p95))
        table.add_row(_name(s), *milliseconds, _number(s.failed_open), _number(s.unpriced))
    return table


def _billed(found: Report) -> Table:
    table = _table(found.by, "input", "of it cached", "cache writes", "output", "unknown answers")
    for s in _with_total(found):
        billed = (s.billed_input, s.billed_cached, s.billed_cache_write, s.billed_output)
        table.add_row(_name(s), *(_known(n, s) for n in billed), _number(s.unknown_usage))
    return table


def _reasons(what: str, counts: Sequence[tuple[str, int]]) -> Table:
    table = _table("reason", what)
    for reason, count in counts[:_MOST]:
        table.add_row(Text(reason), _number(count))
    if rest := counts[_MOST:]:
        table.add_row(f"{len(rest)} more", _number(sum(count for _, count in rest)))
    return table


def _unknown(total: Summary) -> list[str]:
    """What the sums leave out or rest on, where there is any of it."""
    removable = "unknown" if total.audited_removable is None else f"{total.audited_removable:,}"
    gaps = (
        (total.audited, f"were audited: measured, and sent as they came; {removable} tokens could have been removed"),
        (total.unpriced, "were shortened but have no price: the $ column leaves them out"),
        (total.uncounted, "were not counted (bypassed or not readable): the token columns leave them out"),
        (total.estimated, "were counted by another model's tokenizer: their token counts are estimates"),
        (total.passed, "were no chat completions and passed through"),
    )
    return [f"Of all requests, {count:,} {what}." for count, what in gaps if count]


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _with_total(found: Report) -> tuple[Summary, ...]:
    return found.groups if len(found.groups) == 1 else (*found.groups, found.total)


def _name(summary: Summary) -> Text:
    """Not read as markup: a caller chose the name of the model."""
    return Text(summary.key or "(not read)")


def _known(value: int | None, summary: Summary) -> str:
    """Nothing is to be known of what was no chat completion."""
    if value is not None:
        return _number(value)
    return "-" if summary.passed == summary.requests else "unknown"


def _number(value: int) -> str:
    return f"{value:,}"


def _row(summary: Summary) -> dict[str, object]:
    return asdict(summary) | {"saved_share": summary.saved_share}


def _plain(found: Report, since: date | None) -> dict[str, object]:
    return {
        "by": found.by,
        "since": since and since.isoformat(),
        "groups": [_row(group) for group in found.groups],
        "total": _row(found.total),
        "reasons": [asdict(reason) for reason in found.reasons],
        "segments": [{"reason": reason, "segments": count} for reason, count in found.segments],
        "notes": NOTES,
    }
