"""The tables of `laconic report`. The unknown is told apart from nothing, and what is measured from an estimate."""

from collections.abc import Sequence
from datetime import date

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.summaries import Report, Summary
from proxy.trial import ENOUGH, Estimate, Trial

NOTES = (
    "Tokens are our own counts of the text in chat requests; markup, tools and images are not in them.",
    "$ gross is an estimate: tokens removed at the list price of uncached input. What a provider's cache would have "
    "taken off anyway is not deducted, and models without a price are left out.",
    "$ net is an estimate, by the method `own mix`: tokens removed at the mix of cached, written and uncached input "
    "that the same request was billed, less what compressing cost.",
    "Billed tokens are what the upstreams reported, summed over the answers that did; the others are unknown. $ billed "
    "is that at our prices.",
    "Conversations drawn at random bypass compression, and the others are compared with them: $ billed, with what "
    "compressing cost, for each text token before compression. Intervals take conversations as independent.",
)
_MOST = 10  # rows of a table of reasons


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
        (f"$ billed upstream {period}, by {found.by}", _bills(found)),
        ("Measured against conversations that bypassed compression: $ for 1,000 text tokens", _costs(found)),
        ("Measured against them: output tokens of an answer", _answers(found)),
        ("Failed open: something broke, and the original was sent", _reasons("requests", failed)),
        ("Why requests were left alone", _reasons("requests", others)),
        ("What became of the segments of all requests that were read", _reasons("segments", found.segments)),
    ):
        if table.row_count:
            console.print(Text(title, style="bold"), table)
    for note in (*NOTES, *_unknown(total)):
        console.print(Text(f"* {note}", style="dim"))


def _saved(found: Report) -> Table:
    titles = ("requests", "compressed", "tokens before", "tokens sent", "saved", "$ gross", "$ net", "net unknown")
    table = _table(found.by, *titles)
    for s in _with_total(found):
        table.add_row(
            _name(s, found.by),
            _number(s.requests),
            _number(s.compressed),
            _known(s.tokens_before, s),
            _known(s.tokens_sent, s),
            "-" if s.saved_share is None else f"{s.saved_share:.1%}",
            _dollars(s.saved_usd, s, unknown=s.compressed),
            _dollars(s.saved_net_usd, s, unknown=s.compressed),
            _number(s.unknown_net),
        )
    return table


def _cost(found: Report) -> Table:
    table = _table(found.by, "ms p50", "ms p95", "seconds", "$", "failed open", "unpriced")
    for s in _with_total(found):
        milliseconds = ("-" if ms is None else f"{ms:.1f}" for ms in (s.ms_p50, s.ms_p95))
        seconds = "-" if s.compressor_seconds is None else f"{s.compressor_seconds:,.3f}"
        counts = _number(s.failed_open), _number(s.unpriced)
        table.add_row(_name(s, found.by), *milliseconds, seconds, _dollars(s.compressor_usd, s), *counts)
    return table


def _billed(found: Report) -> Table:
    table = _table(found.by, "input", "of it cached", "cache writes", "output", "unknown answers")
    for s in _with_total(found):
        billed = (s.billed_input, s.billed_cached, s.billed_cache_write, s.billed_output)
        table.add_row(_name(s, found.by), *(_known(n, s) for n in billed), _number(s.unknown_usage))
    return table


def _bills(found: Report) -> Table:
    table = _table(found.by, "uncached input", "cached", "cache writes", "output", "total", "unknown answers")
    for s in _with_total(found):
        parts = (s.billed_uncached_usd, s.billed_cached_usd, s.billed_written_usd, s.billed_output_usd, s.billed_usd)
        dollars = (_dollars(usd, s, unknown=s.unknown_bills) for usd in parts)
        table.add_row(_name(s, found.by), *dollars, _number(s.unknown_bills))
    return table


# The trial


def _costs(found: Report) -> Table:
    titles = ("conversations", "of them bypass", "left out", "$ compressed", "$ bypass", "$ saved in all, 95 %")
    table = _table("route and model", *titles)
    for name, trial in _trials(found):
        cost, left_out = trial.cost, trial.treated_unknown + trial.bypass_unknown
        counts = (trial.treated + trial.bypass, trial.bypass, left_out)
        ratios = (_ratio(value, ".5f") for value in (cost.treated, cost.bypass))
        saved = cost.total and Estimate(-cost.total.value, -cost.total.high, -cost.total.low)
        table.add_row(name, *map(_number, counts), *ratios, _interval(saved, ",.4f"))
    return table


def _answers(found: Report) -> Table:
    table = _table("route and model", "compressed", "bypass", "change, 95 %")
    for name, trial in _trials(found):
        ratios = (_ratio(value, ",.1f") for value in (trial.answer.treated, trial.answer.bypass))
        table.add_row(name, *ratios, _interval(trial.answer.change, "+,.1f"))
    return table


def _trials(found: Report) -> list[tuple[Text, Trial]]:
    trials = [(Text(f"{held.route} {held.model}"), held.trial) for held in found.trials]
    return trials if len(trials) < 2 else [*trials, (Text("total"), found.total.trial)]


def _ratio(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _interval(estimate: Estimate | None, form: str) -> str:
    if estimate is None:
        return f"too few: {ENOUGH} each are needed"
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


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
        (total.unpriced, "were shortened but have no price: $ gross leaves them out"),
        (total.unknown_net, "were shortened, and what their input was billed at is unknown: $ net leaves them out"),
        (total.unknown_bills, "were answered, and what that cost is unknown: $ billed leaves them out"),
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


def _name(summary: Summary, by: str) -> Text:
    """Not read as markup: a caller chose the name of the model."""
    return Text(summary.key or ("(no key)" if by == "caller" else "(not read)"))


def _known(value: int | None, summary: Summary) -> str:
    """Nothing is to be known of what was no chat completion."""
    if value is not None:
        return _number(value)
    return "-" if summary.passed == summary.requests else "unknown"


def _dollars(value: float | None, summary: Summary, unknown: int = 0) -> str:
    """A sum is unknown where something is that should be in it, and nothing else is in it."""
    if value is not None and summary.passed != summary.requests:
        return f"{value:,.4f}"
    return "unknown" if unknown else "-"


def _number(value: int) -> str:
    return f"{value:,}"
