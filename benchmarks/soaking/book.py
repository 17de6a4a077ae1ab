"""What a soak counts, and the invariants that it holds against the ledger and the provider."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from proxy.ledger import read_only
from soaking.callers import Seen
from soaking.kinds import KINDS
from soaking.provider import State
from soaking.watching import Slope

SHOWN = 20
"""Wrong answers that are kept word for word; all are counted."""
LIMITS = {"resident": 24.0, "descriptors": 12.0, "threads": 4.0}
"""Growth an hour, MB or number, above which the whole 95 % interval must lie to be called a leak."""
ENOUGH_SECONDS = 1500
"""Shorter soaks say their slopes, and judge nothing by them: caches fill for some six minutes, and the quarter that is
left out of slopes must be longer than that."""


PROVOKED = ("not reloaded", "ASGI callable returned without completing response")
"""Errors that belong in the log: an invalid configuration; a stream that broke off at the provider and is cut."""


@dataclass
class Tally:
    """Of one kind: requests, and what became of them. `routed`: answers that named a route; `billed`: serial numbers
    that the ledger must know."""

    sent: int = 0
    wrong: int = 0
    routed: int = 0
    serials: set[int] = field(default_factory=set)
    billed: set[int] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)


@dataclass
class Book:
    tallies: dict[str, Tally] = field(default_factory=lambda: {kind.name: Tally() for kind in KINDS})
    wrong: list[str] = field(default_factory=list)
    reloads: int = 0

    def note(self, seen: Seen) -> None:
        it = self.tallies[seen.kind]
        it.sent += 1
        it.serials.add(seen.serial)
        it.routed += seen.routed
        it.statuses[seen.status] += 1
        it.outcomes[seen.outcome] += 1
        if seen.billed:
            it.billed.add(seen.serial)
        if seen.wrong:
            it.wrong += 1
            if len(self.wrong) < SHOWN:
                self.wrong.append(f"{seen.kind}, request {seen.serial}: {seen.wrong}")

    @property
    def requests(self) -> int:
        return sum(it.sent for it in self.tallies.values())

    @property
    def wrongs(self) -> int:
        return sum(it.wrong for it in self.tallies.values())


@dataclass(frozen=True, slots=True)
class Records:
    """The ledger: rows by route, and how often it names each serial number."""

    rows: Mapping[str, int]
    serials: Mapping[int, int]


def records(path: Path) -> Records:
    with closing(read_only(path)) as connection:
        rows = dict(connection.execute("SELECT route, count(*) FROM requests GROUP BY route"))
        query = "SELECT billed_output, count(*) FROM requests WHERE billed_output IS NOT NULL GROUP BY 1"
        return Records(rows, dict(connection.execute(query)))


def missing(book: Book, found: Records, seen: Sequence[int]) -> list[str]:
    """Records that are lost or too many, by kind. Who leaves may leave before a route was taken: then what the provider
    has seen is the least, and the number sent the most; all others are counted exactly."""
    problems = []
    there = set(seen)
    for kind in KINDS:
        it, rows = book.tallies[kind.name], found.rows.get(kind.name, 0)
        least, most = (len(it.serials & there), it.sent) if kind.pace.leaves else (it.routed, it.routed)
        if not least <= rows <= most:
            problems.append(f"{kind.name}: {rows} records for {least} to {most} requests")
        if lost := [serial for serial in it.billed if serial not in found.serials]:
            problems.append(f"{kind.name}: {len(lost)} answered requests are not in the ledger, like {lost[0]}")
    if twice := [serial for serial, count in found.serials.items() if count > 1]:
        problems.append(f"{len(twice)} requests are in the ledger more than once, like {twice[0]}")
    return problems


def repeated(state: State) -> list[str]:
    """What the provider knows: requests that came twice, connections that stayed."""
    problems = []
    if twice := [serial for serial, count in Counter(state.seen).items() if count > 1]:
        problems.append(f"{len(twice)} requests were sent upstream more than once, like {twice[0]}")
    if state.open:
        problems.append(f"{state.open} connections to the provider stayed open")
    return problems


def leaks(found: Mapping[str, Slope], seconds: float) -> Iterator[str]:
    for name, limit in LIMITS.items():
        if seconds >= ENOUGH_SECONDS and name in found and found[name].low > limit:
            yield f"{name} grows by {found[name].per_hour:.1f} an hour (at least {found[name].low:.1f})"


def logged(log: Sequence[str]) -> list[str]:
    """Errors that the log tells of, but for those that were provoked, the first of each wording."""
    told = [line.partition(" ERROR ")[2] for line in log if " ERROR " in line]
    errors = Counter(text for text in told if not text.startswith(PROVOKED))
    return [f"{count} times in the log: {text[:200]}" for text, count in errors.items()]
