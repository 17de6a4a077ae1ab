"""Tables: CSV and its kin, pipe tables (Markdown, psql, MySQL), columns aligned with blanks.

Lossless: padding inside the cells of pipe tables. Nothing else: a blank at the end of a CSV line is data, and columns
aligned with blanks tell their empty cells by the padding. Then rows go whole, as the csv module reads them (fields
may hold line breaks); the header, rules and everything around the table stay.
"""

import csv
import re
from collections.abc import Iterator, Sequence

from compressors.base import Span
from compressors.structured.lines import blank, lines
from compressors.structured.rank import ERRORS, marked, odd_rows
from compressors.structured.units import EDGE, ERROR, ODD, Layout, Unit

_DELIMITERS = ",\t;|"
_LEAST = 4  # lines, the header included
_RULE = frozenset("|:-+= \t\r\n")
_PADDING = re.compile(r"(?<=\|) {2,}(?=[^ ])|(?<=[^ ]) {2,}(?=\|)")
_GAP = re.compile(r" {2,}|\t+")
_MANY_LINES = 200  # lines looked at for gutters


def delimited(text: str, start: int, end: int) -> Layout | None:
    """CSV, TSV, or with semicolons or pipes: all records have as many fields as the first. A label line may precede."""
    rows = lines(text, start, end)
    while rows and blank(text, rows[-1]):
        rows.pop()
    for first in (0, 1):
        for delimiter in _DELIMITERS:
            if (found := _records(text, rows[first:], delimiter)) is not None:
                spans, records = found
                return Layout((), _units(text, spans[1:], records[1:], records[0]))
    return None


def _records(text: str, rows: Sequence[Span], delimiter: str) -> tuple[list[Span], list[list[str]]] | None:
    """Spans and fields of the records, or None where the text is surely no such table."""
    if len(rows) < _LEAST or delimiter not in text[slice(*rows[0])]:
        return None
    reader = csv.reader((text[start:end] for start, end in rows), delimiter=delimiter, strict=True)
    spans: list[Span] = []
    records: list[list[str]] = []
    line = 0
    try:
        for record in reader:
            spans.append((rows[line][0], rows[reader.line_num - 1][1]))
            line = reader.line_num
            records.append(record)
            if len(record) != len(records[0]):
                return None
    except csv.Error:
        return None
    return (spans, records) if len(records) >= _LEAST and _is_header(records, delimiter) else None


def _is_header(records: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Short, different names, and cells that are no clauses of prose (which has a blank after a comma).

    A number is no name: numbered lines of a file (`cat -n`) are no table.
    """
    header = [cell.strip() for cell in records[0]]
    if not all(cell and len(cell) <= 60 and cell[-1] not in ".!?:{;" and not cell[0].isdecimal() for cell in header):
        return False
    if len(set(header)) < len(header) or len(header) < 2 or (len(header) == 2 and len(records) < 6):
        return False
    cells = [cell for record in records for cell in record[1:] if cell]
    spaced = sum(cell[0] == " " for cell in cells)
    return delimiter == "\t" or spaced <= 0.1 * len(cells) or len(header) > 3


def pipes(text: str, start: int, end: int) -> Layout | None:
    """Every pipe table of the text: lines with pipes around a rule (`|---|`, `-+-`); the text between stays."""
    free: list[Span] = []
    units: list[Unit] = []
    for block in _pipe_blocks(text, lines(text, start, end)):
        rules = [i for i, row in enumerate(block) if _is_rule(text, row)]
        top = next((i for i in rules if i > 0), None)
        if top is None or top > 2 or len(block) - len(rules) < _LEAST - 1:
            continue
        body = [row for i, row in enumerate(block) if i > top and i not in set(rules)]
        cells = [text[a:b].strip().strip("|").split("|") for a, b in body]
        names = text[slice(*block[top - 1])].strip().strip("|").split("|")
        units.extend(_units(text, body, cells, names))
        for row in block:
            if "`" not in text[slice(*row)]:
                free.extend((m.start(), m.end() - 1) for m in _PADDING.finditer(text, *row))
    return Layout(free, units) if units else None


def _pipe_blocks(text: str, rows: Sequence[Span]) -> Iterator[list[Span]]:
    block: list[Span] = []
    for row in [*rows, (0, 0)]:
        if "|" in text[slice(*row)] or _is_rule(text, row):
            block.append(row)
        elif block:
            yield block
            block = []


def _is_rule(text: str, row: Span) -> bool:
    line = text[slice(*row)]
    return "-" in line and ("|" in line or "+" in line) and _RULE.issuperset(line)


def aligned(text: str, start: int, end: int) -> Layout | None:
    """Columns that stand under each other: at least two gutters of blanks run through (nearly) all lines."""
    rows = [row for row in lines(text, start, end) if not blank(text, row)]
    if len(rows) < 2 * _LEAST:
        return None
    ruled = re.fullmatch(r"(?:[-=]{2,}\s+){2,}", text[slice(*rows[1])]) is not None
    sample = [text[a:b].rstrip() for a, b in rows[:_MANY_LINES]]
    padded = sum(_GAP.search(row.strip()) is not None for row in sample)
    if 2 * min(padded, len(set(sample))) < len(sample) or _gutters(sample) < 2 - ruled:
        return None
    body = rows[2:] if ruled else rows[1:]
    cells = [_GAP.split(text[a:b].strip()) for a, b in body]
    return Layout((), _units(text, body, cells, _GAP.split(text[slice(*rows[0])].strip())))


def _gutters(rows: Sequence[str]) -> int:
    """Runs of positions at which nearly every line has a blank and that have text on both sides in most lines."""
    width = min(max(map(len, rows)), 400)
    misses = 0.02 * len(rows)
    found = 0
    inside = True  # leading blanks are no gutter
    for at in range(width):
        filled = sum(len(row) > at and row[at] not in " \t" for row in rows)
        reach = sum(len(row) > at for row in rows)
        if filled <= misses:
            found += not inside and reach >= 0.8 * len(rows)
            inside = True
        elif filled > 0.2 * len(rows):
            inside = False
    return found


def _units(text: str, spans: Sequence[Span], records: Sequence[Sequence[str]], names: Sequence[str]) -> list[Unit]:
    """One unit a row."""
    columns: dict[str, list[tuple[int, str]]] = {}
    for row, record in enumerate(records):
        for name, cell in zip(names, record, strict=False):
            columns.setdefault(name, []).append((row, cell.strip()[:40]))
    priors = dict.fromkeys(odd_rows(columns, len(spans)), ODD)
    priors |= dict.fromkeys(marked(ERRORS.search(text, a, b) is not None for a, b in spans), ERROR)
    edges = {0: EDGE, len(spans) - 1: EDGE}
    return [Unit(a, b, prior=priors.get(i, edges.get(i, 0.0)), number=i + 1) for i, (a, b) in enumerate(spans)]
