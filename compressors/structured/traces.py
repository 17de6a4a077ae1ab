"""Stack traces in lines of text: Python, Java, JavaScript, C#, Go, Ruby, Rust.

The exception line, the first frames and the last ones stay; frames in the middle may go, each whole.
"""

import re
from collections.abc import Sequence

from compressors.base import Span
from compressors.structured.units import DULL, Unit

_FRAME = re.compile(
    r"""[ \t]*(?: File[ ]"[^"\n]{1,500}",[ ]line[ ]\d
      | at[ ]\S[^\n]{0,300}[).\d][ \t\r]*(?:\n|\Z) | from[ ]\S{1,300}:\d+:in[ ]
      | \d{1,4}:[ ]+(?:0x[0-9a-f]+[ ]-[ ])?\S+::\S ) | [\w./*()-]{1,300}\([^\n]{0,300}\)\s*\n\t/""",
    re.VERBOSE,
)
_LIBRARY = re.compile(
    r"site-packages|dist-packages|node_modules|node:internal|/lib/python|<frozen|java\.base|\bjdk\.|sun\."
)
_FIRST, _LAST = 2, 3
_LONGEST = 8  # lines of one frame


def middle_frames(text: str, rows: Sequence[Span]) -> list[Unit]:
    """Units for the frames between the first and the last of each trace in these lines, in order."""
    units: list[Unit] = []
    trace: list[Span] = []
    at = 0
    while at < len(rows):
        if _FRAME.match(text, rows[at][0], rows[min(at + 1, len(rows) - 1)][1]):
            past = _past_frame(text, rows, at)
            trace.append((rows[at][0], rows[past - 1][1]))
            at = past
        else:
            units.extend(_middle(text, trace))
            trace = []
            at += 1
    units.extend(_middle(text, trace))
    return units


def _past_frame(text: str, rows: Sequence[Span], at: int) -> int:
    """The index after a frame: the lines below it that are indented deeper are its source lines or its place."""
    depth = _indent(text, rows[at])
    past = at + 1
    while past < len(rows) and past - at < _LONGEST and _indent(text, rows[past]) > depth:
        if _FRAME.match(text, *rows[past]) and not text.startswith("at ", rows[past][0] + _indent(text, rows[past])):
            break
        past += 1
    return past


def _indent(text: str, row: Span) -> int:
    line = text[slice(*row)]
    return len(line) - len(line.lstrip()) if line.strip() else 0


def _middle(text: str, trace: Sequence[Span]) -> list[Unit]:
    return [
        Unit(a, b, prior=DULL if _LIBRARY.search(text, a, b) else 0.0) for a, b in trace[_FIRST : len(trace) - _LAST]
    ]
