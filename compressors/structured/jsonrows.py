"""JSON, JSON Lines and Python literals: white space first, then rows, then members of large objects.

Lossless: white space outside strings. Then items of lists and of maps go whole, with one comma, so that the text
stays valid. Members of record-like objects go only where the object is large, and never those that say which record
it is or how it fares. A list's item is opened (its own lists and members may go) only where it is large itself.
"""

import re
from collections.abc import Sequence

from compressors.base import Span
from compressors.structured.rank import ERRORS, marked, odd_rows
from compressors.structured.scanner import Found, Item, scan_all, spaces
from compressors.structured.units import EDGE, ERROR, ODD, Layout, Unit

_LABEL = re.compile(r"[^\n\[\]{}\"]{0,80}[:>`]?[ \t]*+\n?[ \t]*+")
_SMALL = 300  # characters: a smaller list or object stays or goes whole
_ROW = 2000  # characters: so does an item up to this size, in a list of at least `_MANY`
_MANY = 4
_MOST = 20_000  # units of one list; in longer lists several items make one
_DEEP = 30  # levels; what lies deeper stays or goes with what is around it
_NAMES = frozenset(
    [
        "id",
        "_id",
        "key",
        "uuid",
        "guid",
        "name",
        "full_name",
        "title",
        "label",
        "login",
        "email",
        "slug",
        "status",
        "state",
        "error",
        "errors",
        "err",
        "message",
        "reason",
        "type",
        "kind",
        "code",
        "level",
        "severity",
        "result",
        "success",
        "ok",
        "path",
        "file",
        "url_path",
        "number",
        "date",
    ]
)
_HINT = 0.3  # a member near the top of a record, before list items that match nothing
_EMPTY = re.compile(r"""null|None|false|False|0|""|''|\[\s*\]|\{\s*\}|["']https?://""")


def layout(text: str, start: int, end: int) -> Layout | None:
    """The JSON in `start..end`: all of it, or what follows a label, if it makes up most of the stretch."""
    found = find(text, start, end)
    if found is None:
        return None
    free: list[Span] = []
    for item in found.items:
        free.extend(spaces(text, item, found.grammar))
    return Layout(free, _Rows(text, found).units())


def find(text: str, start: int, end: int) -> Found | None:
    label = _LABEL.match(text, start, end)
    begin = label.end() if label else start
    if not text.startswith(("{", "["), begin):
        return None
    found = scan_all(text, begin, end)
    if found is None or 2 * (found.items[-1].end - begin) < end - start:
        return None
    return found


class _Rows:
    """Reads the units off the values; one object a text."""

    def __init__(self, text: str, found: Found) -> None:
        self._text = text
        self._roots = found.items
        self._units: list[Unit] = []
        self._todo: list[tuple[Item, Unit | None, int]] = []  # value, its unit, depth

    def units(self) -> list[Unit]:
        if len(self._roots) > 1:
            self._push_lines()
        elif self._opens(self._roots[0], 1):
            self._todo.append((self._roots[0], None, 0))
        while self._todo:
            item, unit, depth = self._todo.pop()
            index = -1
            if unit is not None:
                index = len(self._units)
                self._units.append(unit)
            if unit is None or unit.head:
                self._open(item, index, depth)
        return self._units

    def _push_lines(self) -> None:
        roots = self._roots
        priors = self._row_priors(roots)
        for at in range(len(roots) - 1, -1, -1):
            item = roots[at]
            end = roots[at + 1].start if at + 1 < len(roots) else item.end
            head = item.value + 1 if self._opens(item, len(roots)) else 0
            self._todo.append((item, Unit(item.start, end, -1, priors[at], head, number=at + 1), 1))

    def _opens(self, item: Item, siblings: int) -> bool:
        return bool(item.items) and item.end - item.start > (_ROW if siblings >= _MANY else _SMALL)

    def _open(self, item: Item, parent: int, depth: int) -> None:
        """Queue the items of a list or object as units, last first."""
        items = item.items or []
        in_list = self._text[item.value] == "["
        rows = in_list or self._is_map(items)
        priors: Sequence[float | None] = self._row_priors(items) if rows else self._member_priors(items, depth)
        step = 1 + len(items) // _MOST if rows else 1
        anchored = False
        fresh: list[tuple[Item, Unit | None, int]] = []
        for at in range(0, len(items), step):
            child, past = items[at], min(at + step, len(items))
            found = [prior for prior in priors[at:past] if prior is not None]
            if not found:
                anchored = True
                continue
            opens = depth < _DEEP and step == 1 and self._opens(child, len(items) if rows else 0)
            unit = Unit(
                child.start,
                items[past - 1].end,
                parent,
                max(found),
                head=child.value + 1 if opens else 0,
                lead=items[at - 1].end if at else child.start,
                tail=items[past].start if past < len(items) else items[past - 1].end,
                anchored=anchored,
                number=at + 1 if in_list else 0,
            )
            fresh.append((child, unit, depth + 1))
        self._todo.extend(reversed(fresh))

    def _is_map(self, items: Sequence[Item]) -> bool:
        """An object whose keys are data: many members, none with a name that records have, values of one shape."""
        if len(items) < 2 * _MANY or any(item.key(self._text).lower() in _NAMES for item in items):
            return False
        return len({self._text[item.value] for item in items}) == 1 and (items[0].items is not None or len(items) > 24)

    def _row_priors(self, items: Sequence[Item]) -> list[float]:
        priors = [0.0] * len(items)
        if items:
            priors[0] = priors[-1] = EDGE
        for row in odd_rows(self._columns(items), len(items)):
            priors[row] = ODD
        for row in marked(ERRORS.search(self._text, item.start, item.end) is not None for item in items):
            priors[row] = ERROR
        return priors

    def _columns(self, items: Sequence[Item]) -> dict[str, list[tuple[int, str]]]:
        """Scalars of the rows by key, short ones only."""
        columns: dict[str, list[tuple[int, str]]] = {}
        for row, item in enumerate(items):
            for cell in item.items or ():
                value = "" if cell.items is not None else self._text[cell.value : min(cell.end, cell.value + 40)]
                columns.setdefault(cell.key(self._text), []).append((row, value))
        return columns

    def _member_priors(self, items: Sequence[Item], depth: int) -> list[float | None]:
        """One number a member; None for members that stay as long as their object does."""
        return [self._member_prior(item, depth) for item in items]

    def _member_prior(self, item: Item, depth: int) -> float | None:
        short = item.items is None and item.end - item.value <= 200
        if short and item.key(self._text).lower() in _NAMES:
            return None
        near = _HINT / (1 + depth)
        return near / 3 if _EMPTY.match(self._text, item.value, item.end) else near
