"""What the guard has found, for people and for metrics; and the operator's word that a route may compress again."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from proxy.guard import store
from proxy.guard.state import DAY, State, begun, named, reset
from proxy.ledger import LedgerError

if TYPE_CHECKING:
    from proxy.guard.watch import Guard

NOTE = (
    "Worse: how many points less a compressed request's answer agrees with the original's than two answers to the "
    "original agree with each other, since the level began; with a 95 % interval. Where answers to the original hardly "
    "agree with each other (alike), little can be seen."
)


def watch(meter: Meter, guard: "Guard") -> None:
    """Adds the guard's metrics. Level 0 is as configured; samples and dollars are those of this process."""

    def levels(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(state.level, {"laconic.route": state.route}) for state in guard.states()]

    def samples(_: CallbackOptions) -> Iterable[Observation]:
        counts = list(guard.counts.items())
        return [Observation(n, {"laconic.route": route, "laconic.result": what}) for (route, what), n in counts]

    def spent(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(usd, {"laconic.route": route}) for route, usd in list(guard.spent.items())]

    meter.create_observable_gauge("laconic.guard.level", [levels], "{level}", "Levels stepped down")
    meter.create_observable_counter(
        "laconic.guard.samples", [samples], "{request}", "Requests drawn to be compared, by what became of them"
    )
    meter.create_observable_counter("laconic.guard.spent", [spent], "{USD}", "USD spent on answers to originals")


def rows(path: Path) -> list[dict[str, object]]:
    """One a test, in plain values; unknown is None. Raises `LedgerError`."""
    return [_row(state) for state in _states(path)]


def show(path: Path, console: Console, quiet: bool = False) -> None:
    """The table; `quiet`: nothing where there is nothing. Raises `LedgerError`."""
    states = _states(path)
    if not states:
        if not quiet:
            console.print("The quality guard has compared nothing yet.")
        return
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("route", overflow="fold")
    for title in ("compression", "since (UTC)", "samples", "worse", "95 %", "alike", "$ today", "$ in all"):
        grid.add_column(title, justify="right")
    grid.add_column("tested", overflow="fold")
    for state in states:
        grid.add_row(Text(state.route), *_cells(state))
    console.print(Text("Quality guard", style="bold"), grid)
    console.print(Text(f"* {NOTE}", style="dim"))


def reset_route(path: Path, route: str) -> None:
    """Compression as configured again, and a new test. Raises `LedgerError` for a route that is not known."""
    if route not in (known := [state.route for state in _states(path)]):
        raise LedgerError(f"the quality guard knows no route {route!r}; known: {', '.join(known) or 'none'}")
    try:
        with closing(store.Table(path)) as table:
            for terms in [state.terms for state in table.load() if state.route == route]:
                table.change(route, partial(_reset, route, terms))
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be written: {error}") from error


def _reset(route: str, terms: str, states: Sequence[State]) -> State:
    now = time()
    return reset(begun(states, route, terms, now), now)


def _states(path: Path) -> list[State]:
    """By route, the test used last first."""
    return sorted(store.read_states(path), key=lambda state: (state.route, -state.day, -state.since))


def _row(state: State) -> dict[str, object]:
    evidence = state.evidence
    return {
        "route": state.route,
        "tested": state.terms,
        "level": state.level,
        "compression": named(state.level),
        "since": state.since,
        "samples": evidence.samples,
        "worse": evidence.mean,
        "interval": evidence.interval() if evidence.samples else None,
        "alike": state.baseline,
        "spent_today_usd": state.spent_today if state.day == int(time() // DAY) else 0.0,
        "spent_usd": state.spent,
    }


def _cells(state: State) -> list[str]:
    row = _row(state)
    evidence = state.evidence
    low, high = evidence.interval()
    return [
        named(state.level),
        datetime.fromtimestamp(state.since, UTC).strftime("%Y-%m-%d %H:%M"),
        f"{evidence.samples:,}",
        "-" if evidence.mean is None else f"{100 * evidence.mean:.1f}",
        f"{100 * low:.0f} to {100 * high:.0f}" if evidence.samples else "-",
        "-" if state.baseline is None else f"{state.baseline:.0%}",
        f"{row['spent_today_usd']:.4f}",
        f"{state.spent:.4f}",
        state.terms,
    ]
