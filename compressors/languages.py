"""Which texts a model of one language can read. What it can't is left to scores that no language matters to.

A model of English gives numbers for any text. In other scripts they mean nothing, in other languages of the Latin
script little. So a text is looked at first: at its letters, then for the words that hold every English text together
and that other languages don't have. On XQuAD no text of five other languages has more than 4.4 % of these; of English
texts of several paragraphs the lowest is 7 %. What is a list of names has few as well, and is taken for unread.
"""

import re

import numpy as np

from compressors import codepoints

_LATIN = 0.9  # the least share of a text's letters
_EVIDENCE = 0.06  # the least share of its words
_SHORT = 5  # words; a question of so many has at least one of the words, were it English
_WORD = re.compile(r"[^\W\d_]+")
_TELLING = frozenset(
    _WORD.findall(
        "the of and that with from which this these those there their they were been would could should will who what "
        "when where why how does did into than then after before between because about through while your our his"
    )
)
_COMMON = _TELLING.union(
    _WORD.findall(
        "them its it is are being has had have not but by whom whose during you she my each other some any many much "
        "more most only also if for to"
    )
)


def reads(languages: tuple[str, ...], text: str, question: str = "") -> bool:
    """Whether a model of these languages (codes; none: any) can read a text, and a question about it.

    Only English can be told: a model of others is taken to read everything in the Latin script.
    """
    if not languages:
        return True
    if not (_is_latin(text) and _is_latin(question)):
        return False
    return languages != ("en",) or (_share(text) >= _EVIDENCE and _may_be_english(question))


def _is_latin(text: str) -> bool:
    if text.isascii():
        return True
    cells = codepoints.cells(text)
    letters = cells[codepoints.letters(cells) | codepoints.dense(cells)]
    latin = (letters < 0x250) | ((letters >= 0x1E00) & (letters < 0x1F00))
    return bool(np.count_nonzero(latin) >= _LATIN * len(letters))


def _share(text: str) -> float:
    words = _WORD.findall(text.lower())
    return sum(word in _TELLING for word in words) / max(1, len(words))


def _may_be_english(question: str) -> bool:
    words = _WORD.findall(question.lower())
    return len(words) < _SHORT or not _COMMON.isdisjoint(words)
