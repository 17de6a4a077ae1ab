"""What can be said of a shortened request without asking a model: how much of what seems to matter is still there.

In context it is the sentences that BM25 ranks highest for the question of their turn (Robertson and Zaragoza, 2009);
in history the words, rare ones more; in tool output both, rows for sentences. This stands in for the quality of
answers and is not it: it knows words, not meaning, and favours compressors that rank as it does.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log1p

from compressors.base import Span
from compressors.bm25 import rank
from compressors.spans import DENSE, sentences, within
from compressors.structured import layout
from policies.base import Kind, Segment

_WORD = re.compile(rf"[{DENSE}]|[^\W{DENSE}]+")
_TOP = 5  # sentences or rows that are taken to hold the answer
_KINDS = (Kind.CONTEXT, Kind.HISTORY, Kind.TOOL_OUTPUT, Kind.DEMONSTRATION)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that should still be there: one of the `spans` of the field is enough."""

    field: int
    spans: tuple[Span, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    span: Span  # in the field


Unit = list[Word]


def marks(segments: Sequence[Segment]) -> tuple[Mark, ...]:
    """What matters of these; each segment weighs as much as it has tokens."""
    groups: dict[tuple[str, str], list[Segment]] = defaultdict(list)
    for segment in segments:
        if segment.kind in _KINDS and segment.may_change:
            groups[segment.kind, segment.question].append(segment)
    return tuple(mark for group in groups.values() for mark in _group(group))


def survival(of: Sequence[Mark], kept: Mapping[int, Sequence[Span]]) -> float:
    """The share of the marks that is still there, 0..1. `kept`: what stays of each field that was changed."""
    total = sum(mark.weight for mark in of)
    there = sum(mark.weight for mark in of if mark.field not in kept or _stands(mark.spans, kept[mark.field]))
    return there / total if total else 1.0


def _stands(spans: Sequence[Span], kept: Sequence[Span]) -> bool:
    return any(within(kept, *span) == (span,) for span in spans)


def _group(segments: Sequence[Segment]) -> Iterator[Mark]:
    """The marks of segments of one kind and one question."""
    kind, tokens = segments[0].kind, sum(segment.tokens for segment in segments)
    units = [(segment.field, unit) for segment in segments for unit in _units(segment)]
    spread = Counter(word for _, unit in units for word in {word.text for word in unit})
    rarity = {word: log1p((len(units) - n + 0.5) / (n + 0.5)) for word, n in spread.items()}
    asked = [] if kind is Kind.HISTORY else list(_asked(units, segments[0].question, rarity))
    wide = 0.0 if asked and kind is Kind.CONTEXT else 0.5 if asked else 1.0
    yield from _scaled(asked, tokens * (1 - wide))
    if wide:
        yield from _scaled(_told(units, rarity), tokens * wide)


def _units(segment: Segment) -> Iterator[Unit]:
    rows = layout(segment.text).units if segment.kind is Kind.TOOL_OUTPUT else ()
    for start, end in [(row.start, row.end) for row in rows] or sentences(segment.text):
        found = _WORD.finditer(segment.text, start, end)
        if unit := [Word(m[0].lower(), (segment.start + m.start(), segment.start + m.end())) for m in found]:
            yield unit


def _asked(units: Sequence[tuple[int, Unit]], question: str, rarity: Mapping[str, float]) -> Iterator[Mark]:
    """The words of the units that bear most on the question; nothing where none does."""
    query = [word for word in (m[0].lower() for m in _WORD.finditer(question)) if word in rarity]
    if not query:
        return
    numbers = {word: n for n, word in enumerate(dict.fromkeys(query), 1)}
    passages = [[numbers.get(word.text, 0) for word in unit] for _, unit in units]
    scores = rank(passages, [numbers[word] for word in query], len(numbers) + 1).scores.round(4)
    for n in sorted(range(len(units)), key=lambda n: -scores[n])[:_TOP]:
        field, unit = units[n]
        if scores[n] > 0:
            yield from (Mark(field, (word.span,), float(scores[n]) * rarity[word.text]) for word in unit)


def _told(units: Sequence[tuple[int, Unit]], rarity: Mapping[str, float]) -> Iterator[Mark]:
    """Each word once, wherever it stands."""
    places: dict[tuple[int, str], list[Span]] = defaultdict(list)
    for field, unit in units:
        for word in unit:
            places[field, word.text].append(word.span)
    return (Mark(field, tuple(spans), rarity[word]) for (field, word), spans in places.items())


def _scaled(of: Iterable[Mark], total: float) -> Iterator[Mark]:
    """The same, their weights adding up to `total`."""
    found = list(of)
    whole = sum(mark.weight for mark in found)
    return (Mark(mark.field, mark.spans, mark.weight / whole * total) for mark in found if whole)
