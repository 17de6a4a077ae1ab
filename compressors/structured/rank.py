"""Which units of a structured text matter: words shared with the question, errors, outliers."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from compressors.spans import terms
from compressors.structured.units import Unit

ERRORS = re.compile(
    r"""(?ix) (?<![a-z])
      (?: errors? | err | exception | fatal | critical | panic(?:ked)? | traceback | fail(?:ed|ure|ures|s)? | refused
      | denied | time[d]?[ _-]?out | unreachable | crash(?:ed)? | segfault | oom | killed )
      (?! [a-z] | ["']?\s{0,4}[:=]\s{0,4}(?:null|none|nil|false|no|0(?![.\d])|""|''|\[\s{0,4}\]|\{\s{0,4}\}) )"""
)
"""Words of failure, unless a value beside them says that there was none (`"error": null`, `failed=0`)."""

_POSITION = re.compile(
    r"(?i)(?:entry|row|item|element|record|result|line)s? (?:number |no\.? ?|#)?(\d{1,6})(?![\w-])"
    r"|\b(\d{1,6})(?:st|nd|rd|th)\b"
)
_THERE = 1.0  # the row that the question counts to
_BEFORE = 0.9  # rows before it: without them, counting fails
_NEXT = 0.3  # the row after it, for those who count from 0
_COMMON = 0.2  # a mark on more than this share of the rows is no outlier
_RARE = 0.02
_FAR = 6.0  # median absolute deviations


def relevance(question: str, text: str, units: Sequence[Unit], own: Sequence[str]) -> list[float]:
    """Share of the question's words in each unit, 0 to 1, rare words weighing more (idf over the units).

    `own` holds what each unit says itself; what the heads of the units around it say counts too. Rows are short, so
    neither how often a word stands in a row nor the row's length would tell anything.
    """
    asked = set(terms(question))
    if not asked:
        return [0.0] * len(units)
    counted = _counted(question)
    heads: dict[int, set[str]] = {-1: set()}
    said: list[set[str]] = []
    for index, unit in enumerate(units):
        above = heads[unit.parent]
        said.append(asked.intersection(terms(own[index])) | above)
        heads[index] = above
        if unit.head > unit.start:
            heads[index] = asked.intersection(terms(text[unit.start : unit.head])) | above
    seen = Counter(word for words in said for word in words)
    weights = {word: math.log(1 + (len(units) - n + 0.5) / (n + 0.5)) for word, n in seen.items()}
    best = sum(weights[word] for word in sorted(weights)) or 1.0
    shares = (sum(weights[word] for word in sorted(words)) / best for words in said)
    return [round(share + _by_position(unit, counted), 6) for share, unit in zip(shares, units, strict=True)]


def _counted(question: str) -> set[int]:
    """Rows that the question names by their position."""
    return {int(first or second) for first, second in _POSITION.findall(question)}


def _by_position(unit: Unit, counted: set[int]) -> float:
    if not unit.number or not counted or unit.number > max(counted) + 1:
        return 0.0
    if unit.number in counted:
        return _THERE
    return _BEFORE if unit.number < max(counted) else _NEXT


def marked(flags: Iterable[bool]) -> set[int]:
    """The rows with a flag, or none where it is so common that it marks nothing."""
    flags = list(flags)
    rows = {i for i, flag in enumerate(flags) if flag}
    return rows if len(rows) <= max(1, _COMMON * len(flags)) else set()


def odd_rows(columns: Mapping[str, Sequence[tuple[int, str]]], count: int) -> set[int]:
    """Rows of a table of `count` rows that stand out: a number far from its column's median, a value that is rare
    where few values are usual, a column that hardly any row has. `columns` maps a name to (row, value) pairs.
    """
    odd: set[int] = set()
    if count < 8:
        return odd
    few = max(1, int(_RARE * count))
    for cells in columns.values():
        if len(cells) <= few:
            odd.update(row for row, _ in cells)
            continue
        found = _far(cells)
        if not found:
            usual = Counter(value for _, value in cells)
            if len(usual) <= len(cells) / 8:
                found = {row for row, value in cells if usual[value] <= few}
        if len(found) <= max(1, _RARE * 2 * count):
            odd |= found
    return odd


def _far(cells: Sequence[tuple[int, str]]) -> set[int]:
    numbers = [(row, number) for row, value in cells if (number := _number(value)) is not None]
    if len(numbers) < 0.9 * len(cells) or len(numbers) < 8:
        return set()
    middle = median(n for _, n in numbers)
    spread = 1.4826 * median(abs(n - middle) for _, n in numbers)
    return {row for row, n in numbers if spread and abs(n - middle) > _FAR * spread}


def _number(value: str) -> float | None:
    if len(value) > 32:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
