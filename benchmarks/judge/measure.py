"""One method on one set: every case at every rate, and the time that it takes."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from compressors import spans
from compressors.base import Budget, Kept, Rate, Span, Threshold, Tokens
from judge import metrics, reading
from judge.cases import Case
from judge.methods import NOTHING, ORIGINAL, OURS, QUESTION, Method
from judge.metrics import Value
from judge.reading import Reader

PAIR, THRESHOLD = "pair", "threshold"
"""Sizes beside rates: as many tokens as the compression by people has; every word at or above one half."""
READ = ("0.5", "0.25")
"""Rates at which a reader is asked."""
TIMED = 25
"""Cases of which the first size is asked for alone, and timed; else all sizes at once, for which a model runs once."""
Progress = Callable[[Iterable[Case]], Iterable[Case]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured on a set. `sizes`: rates as strings, `PAIR` or `THRESHOLD`. `read`: cases shown to a reader."""

    name: str
    kind: str
    cases: tuple[Case, ...]
    sizes: tuple[str, ...]
    read: int


@dataclass(frozen=True, slots=True)
class Measured:
    """`values`: by size and metric, one value a case in their order. `ms`: of requests at the first size, of the first
    cases. `positions`: those of the gold documents."""

    set: str
    method: str
    values: dict[str, dict[str, list[Value]]]
    ms: list[float]
    positions: list[float | None]


def measure(plan: Plan, method: Method, reader: Reader | None, progress: Progress) -> Measured:
    chosen = plan.cases[: _most(plan, method)]
    sizes = sizes_for(plan, method)
    rows: dict[str, list[dict[str, Value]]] = {size: [] for size in sizes}
    times: list[float] = []
    compressor = method.make([case.task.text for case in plan.cases])
    for number, case in enumerate(progress(chosen)):
        tasks = [replace(case.task, budget=budget(size, case)) for size in sizes]
        found: list[Kept] = []
        if number < TIMED:
            start = time.perf_counter()
            found = compressor.compress(tasks[:1])
            times.append(round((time.perf_counter() - start) * 1000, 3))
        found += compressor.compress(tasks[len(found) :])
        kept = {size: own.spans for size, own in zip(sizes, found, strict=True)}
        for size, own in kept.items():
            rows[size].append(metrics.without(case) if method.name == NOTHING else metrics.outcome(case, own))
        if reader and method.reads and number < plan.read:
            asked = {size: own for size, own in kept.items() if size in (*READ, "1")}
            for size, value in _read(reader, case, asked).items():
                rows[size][-1].update(value)
    positions = [case.position for case in chosen]
    return Measured(plan.name, method.name, {size: columns(own) for size, own in rows.items()}, times, positions)


def sizes_for(plan: Plan, method: Method) -> tuple[str, ...]:
    if method.name in (ORIGINAL, NOTHING):
        return ("1" if method.name == ORIGINAL else "0",)
    return tuple(size for size in plan.sizes if size != THRESHOLD or method.name in ("classifier", "llmlingua2"))


def _most(plan: Plan, method: Method) -> int | None:
    """Ours are slow only where a set of questions repeats the same work at length."""
    return None if plan.kind != QUESTION and method.name in OURS else method.most


def budget(size: str, case: Case) -> Budget:
    if size == PAIR:
        return Tokens(metrics.count(spans.join(case.task.text, case.pair)))
    return Threshold(0.5) if size == THRESHOLD else Rate(float(size) or 1.0)


def _read(reader: Reader, case: Case, kept: dict[str, tuple[Span, ...]]) -> dict[str, dict[str, Value]]:
    found: dict[str, list[tuple[float, float]]] = {size: [] for size in kept}
    for one in case.asked:
        texts = [spans.join(case.task.text, own) for own in kept.values()]
        for size, answer in zip(kept, reader.answer(one.question, texts), strict=True):
            found[size].append((reading.exact(answer, one.answers), reading.f1(answer, one.answers)))
    return {
        size: {name: (sum(own[i] for own in pairs) / len(pairs), 1.0) for i, name in enumerate(("exact", "f1"))}
        for size, pairs in found.items()
        if pairs
    }


def columns(rows: Sequence[dict[str, Value]]) -> dict[str, list[Value]]:
    """By metric, a value for every case."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [(round(n, 5), d) for n, d in (row.get(name, metrics.NOTHING) for row in rows)] for name in names}
