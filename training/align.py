"""Which words of a text a shortened form of it kept, although the form is not quite a part of the text.

A model that is told to drop words only sometimes changes their form, moves some and adds others; and of a word that the
text has ten times, the form does not say which it kept (LLMLingua-2, Pan et al., arXiv 2403.12968, section 4.2, names
these three: variation, reordering, ambiguity). The paper goes through the shortened words one by one and takes for each
the nearest free match on either side of the one before. That is decided word by word: one "the" matched too far ahead
leads on all that follow.

Here, the best alignment in order is found first, for all words at once; of equal ones, that in which words follow each
other more closely. What it leaves over was moved (or has a match at a wrong place only): such words are then looked
for as in the paper, in a window on both sides of where their neighbours stand.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from compressors.base import Span
from compressors.spans import DENSE

WINDOW = 150  # words on either side; the paper's default
_MARKS = "".join(chr(i) for i in range(0x300, 0x10000) if unicodedata.category(chr(i))[0] == "M") + "\u200c\u200d"
_LETTERS = rf"(?:[^\W_{DENSE}][{_MARKS}]*+)++"
_WORD = re.compile(
    rf"\d++(?:[.,:]\d++)*+(?![^\W\d_])"  # a number
    rf"|{_LETTERS}(?:['’]{_LETTERS})*+"
    rf"|\S[{_MARKS}]*+"  # a mark, or a character of a script without spaces
)
_FORMS, _MARK = 0.7, 0.3  # what another form of a word is worth as a match, and what a full stop or a comma is
_NEAR = (0.3, 0.2, 0.1)  # times that, more for a match none, one or two words behind the match before
_ALIKE = 0.85
_STEM, _ENDING, _LONG = 3, 4, 5  # letters

Scores = NDArray[np.float64]


def words(text: str) -> list[Span]:
    """Words, numbers, and single marks; single characters in scripts that write no spaces."""
    return [match.span() for match in _WORD.finditer(text)]


def folded(word: str) -> str:
    """A word without what does not tell it from another: case, and the width or composition of its characters."""
    return unicodedata.normalize("NFKC", word).casefold().replace("’", "'")


def align(text: Sequence[str], short: Sequence[str], window: int = WINDOW) -> list[int]:
    """For each word of the shortened form the place of its match in the text, -1 for none; no place comes twice.

    Words as `folded`. A word matches itself; a word that the text does not have matches other forms of it.
    """
    if not text or not short:
        return [-1] * len(short)
    likeness = _likeness(text, short)
    places = _in_order(likeness)
    _moved(places, likeness, window)
    return places


def _likeness(text: Sequence[str], short: Sequence[str]) -> Scores:
    """1 for the same word, less for another form of it or for the same mark, 0 for another word; (short, text)."""
    numbers = {word: i for i, word in enumerate(dict.fromkeys(text))}
    ids = np.array([numbers[word] for word in text])
    rows: dict[str, Scores] = {}
    for word in dict.fromkeys(short):
        if word in numbers:
            values = np.zeros(len(numbers))
            values[numbers[word]] = 1.0 if word[0].isalnum() else _MARK
        else:
            values = np.array([_FORMS * is_form(word, other) for other in numbers])
        rows[word] = values[ids]
    return np.array([rows[word] for word in short])


def is_form(word: str, other: str) -> bool:
    """Whether two words that differ may be forms of one: an ending more or less, in longer words another ending, or a
    letter here or there; commas in a number. Never two numbers: 2018 is no form of 2019."""
    shortest, longest = sorted((len(word), len(other)))
    if not (word[0].isalnum() and other[0].isalnum()) or shortest < _STEM or word[0] != other[0]:
        return False
    if any(map(str.isdigit, word + other)):
        return word.replace(",", "") == other.replace(",", "")
    same = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), shortest)
    if longest - same <= _ENDING and same * 2 >= longest and same >= _STEM and (same == shortest or longest >= _LONG):
        return True
    return shortest >= _LONG and SequenceMatcher(None, word, other, autojunk=False).ratio() >= _ALIKE


def _in_order(likeness: Scores) -> list[int]:
    """The alignment in order with the highest sum: of likeness, and of nearness to the match before."""
    count, length = likeness.shape
    best = np.zeros((count + 1, length + 1))  # of the first words of the form and the first words of the text
    ends = np.full((count + 1, length + 1), -np.inf)  # the same, with the last of either matched
    for i in range(1, count + 1):
        like = likeness[i - 1]
        found = best[i - 1, :-1].copy()
        for gap, bonus in enumerate(_NEAR):
            found[gap:] = np.maximum(found[gap:], ends[i - 1, : length - gap] + bonus * like[gap:])
        ends[i, 1:] = np.where(like > 0, found + like, -np.inf)
        best[i] = np.maximum.accumulate(np.maximum(best[i - 1], ends[i]))
    return _path(likeness, best, ends)


def _path(likeness: Scores, best: Scores, ends: Scores) -> list[int]:
    places = [-1] * len(likeness)
    i, j = likeness.shape
    matched = False
    while i and j:
        if not matched:
            if best[i, j] == best[i - 1, j]:
                i -= 1
                continue
            j = int(np.argmax(ends[i, : j + 1] == best[i, j]))
        places[i - 1] = j - 1
        i, j = i - 1, j - 1
        like = likeness[i, j]
        rest = ends[i + 1, j + 1] - like
        near = [ends[i, j - gap] + bonus * like if gap <= j else -np.inf for gap, bonus in enumerate(_NEAR)]
        gap = int(np.argmax(near))
        matched = near[gap] >= max(rest - 1e-9, best[i, j])
        j -= gap * matched
    return places


def _moved(places: list[int], likeness: Scores, window: int) -> None:
    """Gives each word without a place the nearest free match around the one before, or after at the beginning."""
    free = np.ones(likeness.shape[1], bool)
    free[[place for place in places if place >= 0]] = False
    around = next((place for place in places if place >= 0), 0)
    for i, place in enumerate(places):
        if place < 0:
            first = max(0, around - window)
            like = np.where(free, likeness[i], 0.0)[first : around + window + 1]
            if like.any():
                there = np.flatnonzero(like == like.max()) + first
                place = int(there[np.argmin(np.abs(there - around) - 0.5 * (there > around))])
                places[i] = place
                free[place] = False
        around = place if place >= 0 else around
