"""Bills as tables: $ per 1,000 requests, one table a model line; and what follows from them."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import mean

from rich.console import Console
from rich.table import Table

from promptcache.replay import BLIND, LINES, NONE, Bill, Line

_SAME = 1e-9  # of the cost: differences below are those of adding up


@dataclass(frozen=True, slots=True)
class Result:
    """`ours`: the arms that are policies; `absent`: workloads left out; `about`: date, machine, command, seconds."""

    bills: tuple[Bill, ...]
    ours: tuple[str, ...]
    absent: tuple[str, ...]
    about: Mapping[str, str]

    @property
    def arms(self) -> tuple[str, ...]:
        return (*BLIND, *self.ours)

    @property
    def workloads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(bill.workload for bill in self.bills))

    def bill(self, workload: str, line: Line, arm: str) -> Bill:
        return next(b for b in self.bills if (b.workload, b.line, b.arm) == (workload, line.name, arm))

    def saving(self, workload: str, line: Line, arm: str) -> float:
        """The share of the cost of no compression that an arm saves; negative where it is dearer."""
        return 1 - self.bill(workload, line, arm).usd / self.bill(workload, line, NONE).usd

    def sent(self, workload: str, line: Line, arm: str) -> float:
        """The share of the tokens that an arm sends."""
        return self.bill(workload, line, arm).input / self.bill(workload, line, NONE).input


def dearer(result: Result, arm: str) -> dict[tuple[str, str], float]:
    """By workload and line: by how much of the cost an arm costs more than no compression, where it does."""
    found = {(w, line.name): -result.saving(w, line, arm) for w in result.workloads for line in LINES}
    return {case: more for case, more in found.items() if more > _SAME}


def beaten(result: Result, arm: str) -> dict[tuple[str, str], float]:
    """By workload, arm and what each sends, and by line: by how much an arm that is not ours is cheaper than `arm`."""
    found = {}
    for workload in result.workloads:
        for line in LINES:
            best = max(BLIND, key=lambda a: result.saving(workload, line, a))
            ahead = result.saving(workload, line, best) - result.saving(workload, line, arm)
            theirs, own = (f"{result.sent(workload, line, a):.0%}" for a in (best, arm))
            if ahead > _SAME:
                found[f"{workload}, {best} ({theirs} sent, ours {own})", line.name] = ahead
    return found


def verdicts(result: Result) -> Iterator[str]:
    cases = len(LINES) * len(result.workloads)
    for arm in (arm for arm in BLIND if arm != NONE):
        yield f"`{arm}` costs more than no compression in {len(dearer(result, arm))} of {cases} cases."
    for arm in result.ours:
        if found := beaten(result, arm):
            yield f"Something else is cheaper than `{arm}` in {len(found)} of {cases} cases: {_grouped(found)}."
        else:
            yield f"Nothing is cheaper than `{arm}`."
    for arm in result.ours:
        if found := dearer(result, arm):
            yield f"`{arm}` COSTS MORE than no compression in {len(found)} of {cases} cases: {_grouped(found)}."
        else:
            yield f"`{arm}` never costs more than no compression."


def _grouped(cases: Mapping[tuple[str, str], float]) -> str:
    groups: dict[str, list[str]] = defaultdict(list)
    for (what, line), share in cases.items():
        groups[what].append(f"{line} {share:.1%}")
    return "; ".join(f"{what}: {', '.join(places)}" for what, places in groups.items())


def as_json(result: Result) -> str:
    rows = [
        {k: round(v, 9) if isinstance(v, float) else v for k, v in asdict(bill).items() if k != "seconds"}
        for bill in result.bills
    ]
    lines = {line.name: {"model": line.model, **asdict(line.rules), **asdict(line.price)} for line in LINES}
    whole = {**result.about, "left_out": result.absent, "lines": lines, "verdicts": [*verdicts(result)], "bills": rows}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def as_markdown(result: Result) -> str:
    about = result.about
    parts = [
        "# What compression does to the bill under a prompt cache",
        f"{about['date']}, {about['machine']}, {about['seconds']} s: `{about['command']}`",
        "$ per 1,000 requests, input only; in brackets what is saved of the cost without compression (negative: lost), "
        "then the share of the input that came from the provider's cache. A simulation: workloads and arms are "
        "described in `benchmarks/prompt_cache.py`, the cache in `benchmarks/promptcache/provider.py`.",
    ]
    if result.absent:
        parts.append("Left out, no data: " + ", ".join(result.absent))
    parts.append("\n".join(f"* {line}" for line in verdicts(result)))
    parts += ["## Mean saving over the workloads", "\n".join(_means(result))]
    for line in LINES:
        price = line.price
        write = f", written {price.cache_write:g}" if price.cache_write else ""
        parts.append(f"## {line.name}: {line.model} (input {price.input:g}, cached {price.cached:g}{write})")
        parts.append("\n".join(_table(result, line)))
    return "\n\n".join(parts) + "\n"


def _means(result: Result) -> Iterator[str]:
    yield "| | " + " | ".join(result.arms[1:]) + " |"
    yield "|---|" + "--:|" * len(result.arms[1:])
    for line in LINES:
        means = (mean(result.saving(w, line, arm) for w in result.workloads) for arm in result.arms[1:])
        yield f"| {line.name} | " + " | ".join(f"{value:.1%}" for value in means) + " |"


def _table(result: Result, line: Line) -> Iterator[str]:
    yield "| | requests | tokens each | " + " | ".join(result.arms) + " |"
    yield "|---|" + "--:|" * (2 + len(result.arms))
    for workload in result.workloads:
        plain = result.bill(workload, line, NONE)
        cells = [workload, f"{plain.requests}", f"{plain.input / plain.requests:,.0f}"]
        yield "| " + " | ".join([*cells, *(_cell(result, workload, line, arm) for arm in result.arms)]) + " |"


def _cell(result: Result, workload: str, line: Line, arm: str) -> str:
    bill = result.bill(workload, line, arm)
    if arm == NONE:
        return f"{bill.per_thousand:.3f} ({bill.cached_share:.0%})"
    return f"{bill.per_thousand:.3f} ({result.saving(workload, line, arm):.1%}, {bill.cached_share:.0%})"


def show(result: Result, console: Console) -> None:
    for line in LINES:
        table = Table("workload", *(f"{arm}" for arm in result.arms), title=f"{line.name}: $ per 1,000 requests")
        for workload in result.workloads:
            table.add_row(workload, *(_cell(result, workload, line, arm) for arm in result.arms))
        console.print(table)
    for verdict in verdicts(result):
        console.print(verdict)
