"""Unified diffs: whole hunks and whole files go, nothing inside a hunk.

Lossless: nothing, a blank at the end of a line is part of the file. A hunk keeps its context lines, so that its
header's counts stay right and every patch tool reads what is left; a file goes with its last hunk. Text around the
files (the commit message, the list of files) stays.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from compressors.base import Span
from compressors.structured.lines import lines
from compressors.structured.units import DULL, Layout, Unit

_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")
_HEADER = re.compile(
    r"diff --git |--- |\+\+\+ |index [0-9a-f]|old mode |new mode |new file |deleted file |similarity |dissimilarity "
    r"|rename |copy |Binary files "
)
_MADE = re.compile(r"(?i)[\w.-]*[-.]lock(?:\.json|\.yaml)?\s|\.min\.(?:js|css)\s|\.map\s|\.snap\s|go\.sum\s")


@dataclass(slots=True)
class _File:
    start: int
    end: int
    hunks: list[Span] = field(default_factory=list)


def layout(text: str, start: int, end: int) -> Layout | None:
    """None without a file header followed by a hunk, or where a hunk is not as long as it says (but for the last)."""
    files = _files(text, lines(text, start, end)) if text.find("@@ -", start, end) >= 0 else []
    if not any(file.hunks for file in files):
        return None
    units: list[Unit] = []
    for file in files:
        head = file.hunks[0][0] if file.hunks else file.end
        prior = DULL if _MADE.search(text, file.start, min(head, file.start + 1000)) else 0.0
        parent = len(units)
        units.append(Unit(file.start, file.end, prior=prior, head=head, alone=not file.hunks))
        units.extend(Unit(*hunk, parent, prior) for hunk in file.hunks)
    return Layout((), units)


def _files(text: str, rows: Sequence[Span]) -> list[_File]:
    """Files with their hunks; none where the text breaks the format."""
    files: list[_File] = []
    current: _File | None = None
    at = 0
    while at < len(rows):
        begin, stop = rows[at]
        hunk = _HUNK.match(text, begin, stop) if current else None
        if current and hunk:
            past = _past_hunk(text, rows, at + 1, int(hunk[1] or 1), int(hunk[2] or 1))
            if past is None:
                return []
            at, current.end = past, rows[past - 1][1]
            current.hunks.append((begin, current.end))
            continue
        if _starts_file(text, rows, at, current):
            current = _File(begin, stop)
            files.append(current)
        elif current and not current.hunks and _HEADER.match(text, begin, stop):
            current.end = stop
        else:
            current = None
        at += 1
    return files


def _starts_file(text: str, rows: Sequence[Span], at: int, current: _File | None) -> bool:
    begin, stop = rows[at]
    if text.startswith("diff --git ", begin):
        return True
    in_header = current is not None and not current.hunks
    return not in_header and text.startswith("--- ", begin) and text.startswith("+++ ", stop)


def _past_hunk(text: str, rows: Sequence[Span], at: int, old: int, new: int) -> int | None:
    """The index of the first line after a hunk with so many lines; None if a line is none of a hunk."""
    while at < len(rows) and (old > 0 or new > 0 or text[rows[at][0]] == "\\"):
        sign = text[rows[at][0]]
        if sign not in " +-\\\n\r":
            return None
        old -= sign not in "+\\"
        new -= sign not in "-\\"
        at += 1
    return at
