"""Rows as Markdown: a table for each thing measured, methods down, sets across."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from judge.estimates import FIFTHS, Estimate, Row
from judge.measure import PAIR, READ, THRESHOLD
from judge.methods import NEEDLE, ORIGINAL, QUESTION
from judge.sets import SETS

MAIN = "0.25"
"""The size that tables of everything else are at."""
_FIXED = ("1", "0")  # of the text as it is, and of no text: shown beside every rate


Cell = Callable[[Row], Estimate | None]


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    set: str
    cell: Cell
    sizes: tuple[str, ...]
    digits: int = 3


def _metric(name: str) -> Cell:
    return lambda row: row.metrics.get(name)


def _gain(name: str) -> Cell:
    return lambda row: row.gains.get(name)


def markdown(rows: Sequence[Row], about: Sequence[str]) -> str:
    parts = ["# Quality of compression", *about]
    for title, note, columns in tables(rows):
        lines = list(_table(rows, columns))
        if lines:
            parts += [f"## {title}", *([note] if note else []), "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def tables(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Column]]]:
    asked = [name for name, own in SETS.items() if own.kind == QUESTION]
    hops = [name for name in asked if SETS[name].hops]
    needles = [name for name, own in SETS.items() if own.kind == NEEDLE]
    sizes = sorted({row.size for row in rows if row.size not in (*_FIXED, PAIR, THRESHOLD)}, key=float, reverse=True)
    for size in sizes:
        share = f"at {float(size):.0%} of the tokens"
        yield f"Answers kept {share}", "", _over(asked, "answers", size)
        single = [name for name in asked if name not in hops]
        yield f"Evidence kept {share}", "", _over(single, "evidence", size)
        chains = _over(hops, "evidence", size, " evidence") + _over(hops, "chain", size, " whole chain")
        yield f"Evidence of questions over several documents {share}", "", chains
    note = "Differences on the same records, drawn together; what has no 0 in its interval is more than chance."
    for what in ("answers", "evidence"):
        gained = [Column(name, name, _gain(what), (MAIN,)) for name in asked]
        yield f"Above or below lexical at {float(MAIN):.0%}: {what}", note, gained
    for what in ("answers", "evidence"):
        columns = [Column(f"fifth {i + 1}", "nq", _fifth(what, i), (MAIN,)) for i in range(FIFTHS)]
        yield f"nq, {what} kept at {float(MAIN):.0%}, by where the gold document stands", "", columns
    found = [Column(f"{n} {float(s):.0%}", n, _metric("answers"), (s, *_FIXED)) for n in needles for s in sizes]
    yield "Needles found: one (`needle`), or one of 41 (`needles`)", "", found
    for what in ("numbers", "names", "negations"):
        where = "Of those in the evidence; of the whole text in qmsum (evidence turns), sgd and google."
        kept = _over([*asked, "qmsum", "sgd"], what, MAIN) + _over(["google"], what, PAIR)
        yield f"{what.capitalize()} kept at {float(MAIN):.0%}", where, kept
    for name in SETS:
        yield f"A reader on {name}", "Exact match, F1, and F1 as a share of that on the original.", _read(name)
    for name, metric, about in _BLIND:
        yield f"Without a question: {name}, {about}", "", _blind([(name, metric)], sizes)
    both = [(name, metric) for name, metric, _ in _BLIND]
    yield f"Above or below word rarity at {float(MAIN):.0%}", note, _blind([*both, ("sgd", "f1")], [MAIN], _gain)
    compared = [Column(size, "google", _metric("keep_f1"), (size, "1")) for size in (PAIR, THRESHOLD)]
    yield "Compression by people: google", _PAIRS, compared
    yield f"Tokens really kept at {float(MAIN):.0%}", "", _over(list(SETS), "kept", MAIN)
    yield "Milliseconds a request (median, at the first rate)", "", _times(rows)


_BLIND = (
    ("qmsum", "topics", "rare words of reference answers that the evidence keeps"),
    ("qmsum", "evidence", "characters of evidence turns"),
    ("sgd", "slots", "values of the dialogue kept"),
    ("sgd", "answers", "queries whose answer is kept"),
)
_PAIRS = (
    f"F1 of kept words against a compression by people: at its size in tokens (`{PAIR}`), and with every word at or "
    f"above one half (`{THRESHOLD}`). `original` keeps every word."
)


def _over(names: Sequence[str], metric: str, size: str, label: str = "") -> list[Column]:
    return [Column(name + label, name, _metric(metric), (size, *_FIXED)) for name in names]


def _read(name: str) -> list[Column]:
    found = []
    for size in READ:
        share = f"{float(size):.0%}"
        found += [Column(f"{m} {share}", name, _metric(m), (size, "1")) for m in ("exact", "f1")]
        found.append(Column(f"of original {share}", name, lambda row: row.read, (size,)))
    return found


def _blind(
    which: Sequence[tuple[str, str]], sizes: Sequence[str], cell: Callable[[str], Cell] = _metric
) -> list[Column]:
    return [Column(f"{n} {m} {float(size):.0%}", n, cell(m), (size,)) for n, m in which for size in sizes]


def _times(rows: Sequence[Row]) -> list[Column]:
    first = {row.set: row.size for row in reversed(rows) if row.size not in _FIXED}
    return [Column(name, name, lambda row: (row.ms,) * 3, (first[name],), 1) for name in SETS if name in first]


def _fifth(name: str, number: int) -> Cell:
    return lambda row: row.fifths[name][number] if name in row.fifths else None


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[str]:
    """Columns and rows that have anything; methods in the order in which they were measured."""
    methods = sorted(dict.fromkeys(row.method for row in rows), key=lambda name: name == ORIGINAL)
    cells = {(m, c.title): _cell(rows, m, c) for m in methods for c in columns}
    shown = [c for c in columns if any(cells[m, c.title] for m in methods)]
    if not shown:
        return
    yield "| | " + " | ".join(c.title for c in shown) + " |"
    yield "|---|" + "--:|" * len(shown)
    for method in methods:
        own = [cells[method, c.title] for c in shown]
        if any(own):
            yield f"| {method} | " + " | ".join(cell or "–" for cell in own) + " |"


def _cell(rows: Sequence[Row], method: str, column: Column) -> str:
    for row in rows:
        if (row.set, row.method) == (column.set, method) and row.size in column.sizes:
            found = column.cell(row)
            return "" if found is None else number(found, column.digits)
    return ""


def number(found: Estimate, digits: int = 3) -> str:
    value, low, high = found
    return _plain(value, digits) if low == high else f"{_plain(value, digits)} [{_plain(low, 2)}, {_plain(high, 2)}]"


def _plain(value: float, digits: int) -> str:
    if abs(value) >= 10:
        return f"{value:.0f}"
    shown = f"{value:.{digits}f}"
    return shown if abs(value) >= 1 else shown.replace("0.", ".", 1)
