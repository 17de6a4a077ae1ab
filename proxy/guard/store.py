"""Where the states of the guard are kept: a table of the ledger's file, shared by all workers, or memory.

Each change reads the newest state and writes its successor in one transaction, so that several workers make up one
test and one budget, and nothing is forgotten by a restart.
"""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import msgspec

from proxy.guard.sequential import BETS, Evidence
from proxy.guard.state import OFF, State
from proxy.ledger import LedgerError, connect, read_only

Change = Callable[[Sequence[State]], State | None]
"""The states of a route, one a test, and the successor of one, or a new one; the same, or None: nothing is written."""

_COLUMNS = "route, terms, since, level, samples, evidence, alike, day, spent_today, spent"
_READ = f"SELECT {_COLUMNS} FROM guard"
_WRITE = f"INSERT OR REPLACE INTO guard ({_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS.split(',')))})"


class Store(Protocol):
    """Both methods may be called in any thread, and wait for the disk."""

    def load(self) -> Sequence[State]: ...

    def change(self, route: str, change: Change) -> State | None: ...

    def close(self) -> None: ...


class Memory:
    """For as long as the process lasts."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], State] = {}
        self._lock = threading.Lock()

    def load(self) -> Sequence[State]:
        with self._lock:
            return list(self._states.values())

    def change(self, route: str, change: Change) -> State | None:
        with self._lock:
            new = change([state for state in self._states.values() if state.route == route])
            if new is not None:
                self._states[route, new.terms] = new
            return new

    def close(self) -> None: ...


class Table:
    """Raises `sqlite3.Error` where the file is locked for longer than a second, or out of reach; making one raises
    `LedgerError`."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._lock = threading.Lock()

    def load(self) -> Sequence[State]:
        with self._lock:
            return [_state(row) for row in self._connection.execute(_READ)]

    def change(self, route: str, change: Change) -> State | None:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                rows = self._connection.execute(f"{_READ} WHERE route = ?", (route,))
                old = [_state(row) for row in rows]
                new = change(old)
                if new is not None and new not in old:
                    self._connection.execute(_WRITE, _row(new))
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            return new

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def open_store(path: str | None) -> Store:
    """The states beside the ledger at `path`; in memory without one. Raises `LedgerError`."""
    return Memory() if path is None else Table(Path(path))


def read_states(path: Path) -> Sequence[State]:
    """For reports: makes and changes nothing. Raises `LedgerError`."""
    with closing(read_only(path)) as connection:
        try:
            return [_state(row) for row in connection.execute(_READ)]
        except sqlite3.Error as error:
            raise LedgerError(f"{path} cannot be read: {error}") from error


def _row(state: State) -> tuple[object, ...]:
    e = state.evidence
    numbers = [e.total, e.squares, e.stakes, e.staked, e.doubt, *e.wealth]
    evidence = msgspec.json.encode(numbers).decode()
    spent = (state.day, state.spent_today, state.spent)
    return state.route, state.terms, state.since, state.level, e.samples, evidence, state.alike, *spent


def _state(row: tuple[Any, ...]) -> State:
    """Of a row in the order of the columns. Where its evidence is damaged, or written by a version with other bets,
    the test begins anew; a route whose level is none is off."""
    route, terms, since, level, samples, packed, alike, *spent = row
    level = level if isinstance(level, int) and 0 <= level <= OFF else OFF
    try:
        numbers = msgspec.json.decode(packed, type=list[float])
        sound = len(numbers) == 5 + len(BETS) and all(map(isfinite, (*numbers, alike))) and 0 <= samples < 2**53
    except (ValueError, TypeError):
        sound = False
    if not sound:
        return State(route, terms, since, level, Evidence(), 0.0, *spent)
    total, squares, stakes, staked, doubt, *wealth = numbers
    evidence = Evidence(samples, total, squares, tuple(wealth), stakes, staked, doubt)
    return State(route, terms, since, level, evidence, alike, *spent)
