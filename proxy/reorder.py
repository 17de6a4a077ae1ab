"""Documents in another order, inside one block: which stretches of a text move, and the text's ranges once they have.

A document takes its number, its title or its tag along, so that `[3]` still is what the caller calls `[3]`. What stands
between documents (blank lines, rules, closing tags) stays where it is. Where it cannot be told what belongs to which
document, nothing moves.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonprefix

from compressors import Span

LONGEST = 300  # code points of a label
_CLOSING = re.compile(r"\s*(?:(?:</[\w:.-]+>|-{3,}|\*{3,}|={3,}|_{3,})\s*)*")
_MARKER = re.compile(r"[^\w\s]*[^\W\d]*[^\w\n]*")


@dataclass(frozen=True, slots=True)
class Moves:
    """`units`: ranges of a text, ordered, apart. `order`: which of them comes to stand in each one's place."""

    units: tuple[Span, ...]
    order: tuple[int, ...]


def moves(text: str, documents: Sequence[Span], order: Sequence[int], floor: int = 0) -> Moves | None:
    """What must move so that the `documents` (ranges of `text`) stand in this order. None: nothing, or nothing can
    safely. No label is looked for before `floor`. Raises `ValueError` unless `order` is one of these documents."""
    if sorted(order) != list(range(len(documents))):
        raise ValueError("an order names each document once")
    if list(order) == sorted(order):
        return None
    units = _units(text, documents, floor)
    return Moves(units, tuple(order)) if units else None


def arranged(length: int, moved: Iterable[Moves]) -> list[Span]:
    """Ranges that cover a text of this length once, in their new order. The `moved` lie apart from each other."""
    new = {place: one.units[n] for one in moved for place, n in zip(one.units, one.order, strict=True)}
    ranges: list[Span] = []
    at = 0
    for start, end in sorted(new):
        ranges += [(at, start), new[start, end]]
        at = end
    return [*ranges, (at, length)]


def _units(text: str, documents: Sequence[Span], floor: int) -> tuple[Span, ...] | None:
    """Each document with what heads it."""
    starts = [min(_closed(text, before[1]), after[0]) for before, after in pairwise(documents)]
    labels = [text[start : after[0]] for start, after in zip(starts, documents[1:], strict=True)]
    lead = text[max(floor, documents[0][0] - LONGEST) : documents[0][0]]
    if max(map(len, labels)) > LONGEST:
        return None
    if len(set(labels)) == 1 and lead.endswith(labels[0]):
        return tuple(documents)
    first = _label(lead, labels)
    if first is None:
        return None
    ends = [end for _, end in documents]
    return tuple(zip([documents[0][0] - len(first), *starts], ends, strict=True))


def _closed(text: str, at: int) -> int:
    """Where what closes a document, or separates it from the next, ends."""
    found = _CLOSING.match(text, at)
    return found.end() if found else at


def _label(lead: str, labels: Sequence[str]) -> str | None:
    """The label at the end of `lead` that is of the kind of the others."""
    marker = commonprefix(labels) if len(labels) > 1 else _MARKER.findall(labels[0])[0]  # noqa: RUF071  # characters
    marker = marker.rstrip("0123456789")
    at = lead.rfind(marker)
    if not marker.strip() or at < 0 or not (at == 0 or lead[at - 1].isspace()):
        return None
    label = lead[at:]
    return label if all(label.count("\n") == other.count("\n") for other in labels) else None
