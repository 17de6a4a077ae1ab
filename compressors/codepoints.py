"""Classes of characters for whole texts at once: arrays of one flag a code point."""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.uint32]
Flags = NDArray[np.bool_]

_BLANK = np.array([chr(i).isspace() for i in range(0x3002)])  # the last white space is U+3000
_DENSE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3000, 0x30FF),  # the punctuation of Chinese and Japanese, kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0xFF00, 0xFFDF),  # full-width forms
    (0x20000, 0x3FFFF),
)
_JOINER = 0x200D
_MODIFIERS = ((0x1F3FB, 0x1F3FF), (0xE0020, 0xE01EF), (0x1D165, 0x1D1AD))


def cells(text: str) -> Cells:
    """The code points of a text; lone surrogates are themselves."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def blank(found: Cells) -> Flags:
    """White space, as `str.isspace` has it."""
    return _BLANK[np.minimum(found, len(_BLANK) - 1)]


def dense(found: Cells) -> Flags:
    """Characters of scripts that are written without spaces between words."""
    return _within(found, _DENSE)


def bound(found: Cells) -> Flags:
    """Characters that stay with the one before: combining marks, joiners, selectors, skin tones."""
    joiners = joins(found)
    return _is(found, "M") | joiners | _within(found, _MODIFIERS)


def joins(found: Cells) -> Flags:
    """Characters that hold on to the one after: the zero-width joiner."""
    return np.asarray(found == _JOINER)


def letters(found: Cells) -> Flags:
    """Letters and their marks, of scripts that are written with spaces."""
    return _is(found, "LM") & ~dense(found)


def digits(found: Cells) -> Flags:
    """Digits and other numbers of any script."""
    return _is(found, "N")


def _is(found: Cells, categories: str) -> Flags:
    flags = np.isin(_categories(), [ord(category) for category in categories])
    return np.asarray(flags[np.minimum(found, 0x10000)])


@cache
def _categories() -> NDArray[np.uint8]:
    """The main category of each character of the first plane, and "C" for all that lies beyond."""
    return np.frombuffer(("".join(unicodedata.category(chr(i))[0] for i in range(0x10000)) + "C").encode(), np.uint8)


def _within(found: Cells, ranges: tuple[tuple[int, int], ...]) -> Flags:
    flags = np.zeros(len(found), bool)
    for first, last in ranges:
        flags |= (found >= first) & (found <= last)
    return flags
