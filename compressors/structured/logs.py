"""Logs, test runs and other output of one record a line (search hits, paths, commits).

Lossless: white space at line ends and blank lines beyond the first of a row. A line that repeats another is NOT
free: that something happened 400 times is news. Repeats are the first lines to go. A record is its first line and
what follows until the next record starts (a stack trace, a wrapped message); it goes whole, but the middle frames of
its traces may go alone. Errors, warnings, failed tests and summaries outlast the rest, with the lines around errors.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from compressors.base import Span
from compressors.structured.lines import around, blank, lines, spare_blanks
from compressors.structured.rank import marked
from compressors.structured.traces import middle_frames
from compressors.structured.units import DULL, EDGE, ERROR, ODD, Layout, Unit

_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|FATAL|CRITICAL)"
_RECORD = re.compile(
    rf"""(?ix) \[?(?:\d{{4}}[-/]\d\d[-/]\d\d[T\ ]?\d\d:\d\d | \d\d:\d\d:\d\d | [a-z]{{3}}\ [\ \d]\d\ \d\d:\d\d:\d\d)
      | \[?{_LEVEL}\]?[\ :|\t] | [IWEF]\d{{4}}\ \d\d:\d\d | (?:time|ts|level|t)=\S
      | \S{{1,60}}\ \S{{1,40}}\ \S{{1,40}}\ \[\d\d/[a-z]{{3}}/\d{{4}}: | \S{{1,40}}\ {{1,20}}\|\ \S
      | commit\ [0-9a-f]{{7,40}}\s | [0-9a-f]{{7,12}}\ \S """
)
_HIT = re.compile(r"[\w./@+-]{1,200}(?::\d{1,7}:|-\d{1,7}-)|\.{0,2}/?[\w.@+-]{1,100}/[\w.@+/-]{0,200}\s*$")
_RUN = re.compile(
    r"(?m)^={3,80} test session starts =|^Ran \d+ tests? in |^test result: |^Test Suites: |^--- (?:PASS|FAIL): "
    r"|^1\.\.\d+$|\) \.\.\. (?:ok|FAIL|ERROR)$"
)
_PASSED = re.compile(r"(?:\bok|\bPASSED|\bpassed|\bskipped)\b[\s.\[\]%\d()ms]*$|^\s*(?:[✓✔√]|ok \d|--- PASS|PASS\b)")
_SUMMARY = re.compile(
    r"={3,80} .{0,200} in [\d.]+ ?m?s|Ran \d+ tests? in |OK\b|FAILED"
    r"|(?:Tests|Test Suites|test result|Error|FAIL|ERROR|E ):? "
)
_BAD = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|SEVERE|EMERG|ALERT|PANIC|FAIL|FAILED)\b"
    r"|\b(?:level|severity)[\"']?[=:] ?[\"']?(?:error|fatal|crit)"
    r"|\w(?:Exception|Error)\b[:(]|^Traceback |^panic: |^E\d{4} |\b(?:error|fatal|critical|failed)\b ?[:\]]|\" 5\d\d "
)
_POOR = re.compile(r"\bWARN(?:ING)?\b|\bwarn(?:ing)?\b ?[:\]]|level=\"?warn|^W\d{4} |\" 4\d\d ")
_INSIDE = re.compile(
    r"Traceback |Caused by: |\w[\w.]{0,100}(?:Exception|Error)\b|(?:Author|Date|Merge|Commit|AuthorDate): |goroutine \d"
)
_CHANGING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,64}|\d+")
_LEAST = 5  # records
_ENDS = 20_000  # characters
_NEAR = 2  # records around an error
_RARITY = 0.2


def layout(text: str, start: int, end: int) -> Layout | None:
    """A log, a test run or a list of hits; failing that the stack traces of the text; None without either."""
    rows = lines(text, start, end)
    records = _records(text, rows)
    if records is None:
        frames = middle_frames(text, rows)
        return Layout((), frames) if frames else None
    return Layout(list(spare_blanks(text, rows)), _units(text, records))


def _records(text: str, rows: Sequence[Span]) -> list[list[Span]] | None:
    """The lines of each record; None where the text is surely no log."""
    run = bool(rows) and _is_run(text, rows[0][0], rows[-1][1])
    records: list[list[Span]] = []
    starts = strange = 0
    in_trace = False
    for row in rows:
        begins = bool(_RECORD.match(text, *row) or _HIT.match(text, *row))
        starts += begins
        if begins or (run and not in_trace) or not records:
            records.append([row])
        else:
            records[-1].append(row)
            strange += not (blank(text, row) or text[row[0]] in " \t" or _INSIDE.match(text, *row))
        in_trace = text.startswith("Traceback (", row[0]) or (in_trace and text[row[0]] in " \t")
    certain = run or (starts >= _LEAST and starts >= 4 * strange)
    return records if certain else None


def _is_run(text: str, start: int, end: int) -> bool:
    """Whether a test runner wrote the text; its first and last lines tell."""
    return bool(_RUN.search(text, start, min(start + _ENDS, end)) or _RUN.search(text, max(start, end - _ENDS), end))


def _units(text: str, records: Sequence[Sequence[Span]]) -> list[Unit]:
    units: list[Unit] = []
    for rows, prior in zip(records, _priors(text, records), strict=True):
        parent = len(units)
        units.append(Unit(rows[0][0], rows[-1][1], prior=prior))
        if len(rows) > 1:
            units.extend(replace(frame, parent=parent) for frame in middle_frames(text, rows))
    return units


def _priors(text: str, records: Sequence[Sequence[Span]]) -> list[float]:
    texts = [text[rows[0][0] : rows[-1][1]] for rows in records]
    shapes = [_CHANGING.sub("#", said[:200]) for said in texts]
    usual = Counter(shapes)
    seen: set[str] = set()
    priors: list[float] = []
    for said, shape in zip(texts, shapes, strict=True):
        passed = bool(_PASSED.search(said[-100:]) or _PASSED.match(said))
        dull = passed or said in seen or not said.strip()
        seen.add(said)
        priors.append(DULL if dull else _RARITY / usual[shape])
    bad = marked(bool(_BAD.search(said)) for said in texts)
    poor = marked(bool(_POOR.search(said)) for said in texts)
    edges = {i for i in (0, *range(max(0, len(texts) - 3), len(texts))) if priors[i] > DULL}
    for rows, prior in ((around(bad, _NEAR, len(texts)), EDGE), (edges, EDGE), (poor, ODD), (bad, ERROR)):
        for i in rows:
            priors[i] = max(priors[i], prior)
    for i, said in enumerate(texts):
        if _SUMMARY.match(said):
            priors[i] = ERROR
    return priors
