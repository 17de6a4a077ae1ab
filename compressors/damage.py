"""Names, dates and numbers that compression cut into, so that they can be known again where an answer quotes them.

Only what is certain is mended: a stretch of words that tell (figures, words with a capital, the particles of names
between them) which stands so in the compressed text, nowhere so in the original, and always for the same stretch of it.
That stretch may hold no end of a sentence, no line break, and no words other than such. Scripts without spaces and
without capitals keep their figures only.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from compressors import spans
from compressors.base import Span

LONGEST = 64  # code points; a longer run of letters is no name
CHARACTER = rf"[^\W_{spans.DENSE}]"
WORD = re.compile(rf"{CHARACTER}(?:{CHARACTER}|[\u0300-\u036f]|(?<=\d)[.,:](?=\d)){{0,{LONGEST - 1}}}")

_PLACES = 64  # a word that occurs more often is too common to tell what it stems from
_RUN = 160  # code points of a restored stretch
_NAMES = """
a af al av ben bin d da das de degli dei del della den der di do dos du e el het ibn l la las le les los of op ter the
und van vom von y zu zum zur
"""
_PARTICLES = frozenset(_NAMES.split())
_BETWEEN = 2  # small words that may stand between two figures, as in "4 de marzo de 1921" and "from 5 up to 7"
_INNER = re.compile(r"(?:[ \u00a0]|(?P<stop>\.)[ \u00a0]?|(?P<comma>,)[ \u00a0]?|[-/'’–]| & )\Z")
_ABBREVIATION = 3  # letters before a full stop that ends no sentence: "Dr. Lee", "J. Lee"


def end(match: re.Match[str] | None) -> int:
    """Where a pattern that always matches ends."""
    return match.end() if match else 0


def tells(word: str) -> bool:
    """Whether it may begin or end a name, a date or a number."""
    return word[0].isupper() or any(map(str.isdigit, word))


def continues(word: str, before: str) -> bool:
    """Whether a word may be part of the name or date that `before` belongs to."""
    return tells(word) or word.lower() in _PARTICLES or any(map(str.isdigit, before))


class Words:
    """The words of a text: `spans`, and where telling ones occur."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in WORD.finditer(text)]
        self._places: dict[str, list[int]] = defaultdict(list)
        for i, (a, b) in enumerate(self.spans):
            if tells(text[a:b]):
                self._places[text[a:b]].append(i)

    def find(self, wanted: "Words", first: int, last: int) -> list[int] | None:
        """Each word at which the words `first..last` of another text begin here; None: too many to look at."""
        places = self._places.get(wanted[first], [])
        return [i for i in places if self._same(i, wanted, first, last)] if len(places) <= _PLACES else None

    def __getitem__(self, index: int) -> str:
        return self.text[slice(*self.spans[index])]

    def gap(self, index: int) -> str:
        """What stands between this word and the next; any white space as a blank."""
        return re.sub(r"\s+", " ", self.text[self.spans[index][1] : self.spans[index + 1][0]])

    def _same(self, at: int, wanted: "Words", first: int, last: int) -> bool:
        return at + last - first < len(self.spans) and all(
            self[at + n - first] == wanted[n] and (n == first or self.gap(at + n - first - 1) == wanted.gap(n - 1))
            for n in range(first, last + 1)
        )


@dataclass(frozen=True, slots=True)
class _Text:
    """One text before and after compression. `kept`: its spans; `starts`: where each begins in the compressed text."""

    original: Words
    compressed: Words
    kept: tuple[Span, ...]
    starts: tuple[int, ...]

    def source(self, first: int, last: int) -> str:
        """What the words `first..last` of the compressed text stem from: whole words of the original."""
        start = self._place(self.compressed.spans[first][0])
        stop = self._place(self.compressed.spans[last][1] - 1) + 1
        words = self.original.spans
        opening = words[bisect_right(words, (start, len(self.original.text))) - 1]
        closing = words[bisect_right(words, (stop - 1, len(self.original.text))) - 1]
        return self.original.text[min(opening[0], start) : max(closing[1], stop)]

    def _place(self, at: int) -> int:
        span = bisect_right(self.starts, at) - 1
        return self.kept[span][0] + at - self.starts[span]


class Damage:
    """What compression did to the telling words of some texts: (original, kept spans) each. Texts that were sent as
    they are belong to it too (one span over all), so that what an answer quotes from them is left alone."""

    def __init__(self, texts: Sequence[tuple[str, Sequence[Span]]]) -> None:
        self._texts = [_text(original, spans.merge(kept)) for original, kept in texts]

    def mend(self, text: str, group: Sequence[Span]) -> str:
        """The stretch of an answer over these words, what is damaged in it restored."""
        start, stop = group[0][0], group[-1][1]
        words = Words(text[start:stop])
        out: list[str] = []
        at = i = 0
        while i < len(words.spans):
            last, source = self._source(words, i)
            if source is not None:
                out += [words.text[at : words.spans[i][0]], source]
                at = words.spans[last][1]
            i = last + 1
        return "".join(out) + words.text[at:]

    def _source(self, words: Words, first: int) -> tuple[int, str | None]:
        """The longest quotation that begins with this word: its last word, and what it must be instead, if anything."""
        for last in range(len(words.spans) - 1, first - 1, -1):
            if not tells(words[last]) or not tells(words[first]):
                continue
            intact = [each.original.find(words, first, last) for each in self._texts]
            if None in intact:
                continue
            if any(intact):
                return last, None
            found = self._sources(words, first, last)
            if len(found) == 1 and _certain(words, first, last, source := found.pop()):
                return last, source
        return first, None

    def _sources(self, words: Words, first: int, last: int) -> set[str]:
        """All that these words stem from where they stand so in a compressed text; nothing where that is uncertain."""
        found: set[str] = set()
        for each in self._texts:
            places = each.compressed.find(words, first, last)
            if places is None:
                return set()
            found.update(each.source(i, i + last - first) for i in places)
        return found


def _text(original: str, kept: tuple[Span, ...]) -> _Text:
    starts = tuple(accumulate((b - a for a, b in kept), initial=0))[:-1]
    return _Text(Words(original), Words(spans.join(original, kept)), kept, starts)


def _certain(words: Words, first: int, last: int, source: str) -> bool:
    """Whether the source is a name, a date or a number as a whole, and not the quotation itself in other spacing."""
    alone = first == last and sum(tells(words[i]) for i in range(len(words.spans))) > 1
    if len(source) > _RUN or (alone and any(map(str.isdigit, words[first]))):  # a figure beside a name is its own
        return False
    parts = Words(source)
    if not parts.spans or parts.spans[0][0] or parts.spans[-1][1] < len(source):
        return False
    return all(map(_tells_inside, [parts] * len(parts.spans), range(len(parts.spans)))) and all(
        _joins(parts, i) for i in range(len(parts.spans) - 1)
    )


def _tells_inside(words: Words, at: int) -> bool:
    if tells(words[at]) or words[at].lower() in _PARTICLES:
        return True
    near = range(max(at - _BETWEEN, 0), min(at + _BETWEEN + 1, len(words.spans)))
    figures = [i for i in near if any(map(str.isdigit, words[i]))]
    return bool(figures) and figures[0] < at < figures[-1] and figures[-1] - figures[0] <= 2 * _BETWEEN


def _joins(words: Words, at: int) -> bool:
    """Whether two words may belong to one name or date by what stands between them."""
    gap = words.text[words.spans[at][1] : words.spans[at + 1][0]]
    found = _INNER.match(gap)
    if not found:
        return False
    if found["stop"]:
        return len(words[at]) <= _ABBREVIATION or words[at].isdigit()
    return not found["comma"] or any(any(map(str.isdigit, words[i])) for i in (at, at + 1))
