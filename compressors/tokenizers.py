"""Token counts by tiktoken's encodings, from vocabularies on board: nothing is ever downloaded.

tiktoken as it is cannot be given anybody's text: a million spaces overflow its regex engine's stack, and a long run
without a break is one piece of work that grows faster than its length. So long texts are counted in pieces, cut where
both encodings cut anyway (a letter or digit, then a blank or punctuation). Only a text with no such place for
thousands of characters is cut blindly, which may add a token or two a piece.
"""

import ctypes
import re
import sys
import threading
from array import array
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tiktoken

if TYPE_CHECKING:  # a proxy that only passes requests on has no use for numpy, nor 13 MB for it
    import numpy as np
    from numpy.typing import NDArray

_FOLDER = Path(__file__).with_name("vocabularies")
_FILES = {  # named as tiktoken's own cache names them, so that TIKTOKEN_CACHE_DIR may point here
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}
_PIECE = 16_384  # characters
_WINDOW = 1_024  # characters before the end of a piece in which a harmless cut is looked for
_CUT = re.compile(r"""(?<=[^\W_])(?=[ \n.,;:!?()\[\]{}"<>=/|。、，！？：；「」（）])""")

_counters: dict[str, "Counter"] = {}
_lock = threading.Lock()


class Counter:
    """Counts the tokens of plain text; special-token strings (`<|endoftext|>`) are text like any other.

    A lone surrogate counts as U+FFFD, as tiktoken has it. Safe to call from several threads; the work is done
    without the interpreter's lock, a piece at a time.
    """

    __slots__ = ("_encoding", "_lengths", "encoding")

    def __init__(self, encoding: tiktoken.Encoding, lengths: "array[int]") -> None:
        """`lengths`: the bytes of each token, by its number."""
        self.encoding = encoding.name
        self._encoding = encoding
        self._lengths = lengths

    def count(self, text: str) -> int:
        """The number of tokens of `text` on its own."""
        if len(text) <= _PIECE:
            return len(self._encoding.encode_ordinary(text))
        return sum(len(self._encoding.encode_ordinary(piece)) for piece in _pieces(text))

    def ids(self, text: str) -> list[int]:
        """The tokens of `text` on its own, by their numbers."""
        return [id for piece in _pieces(text) for id in self._encoding.encode_ordinary(piece)]

    def starts(self, text: str) -> "NDArray[np.intp]":
        """Where each token of `text` starts, in code points; where a lone surrogate is in it, about there."""
        import numpy as np

        ids = self.ids(text)
        ends = np.cumsum(np.frombuffer(self._lengths, np.uint16)[np.array(ids, np.intp)], dtype=np.intp)
        starts = np.concatenate((np.zeros(1, np.intp), ends))[: len(ids)]
        if text.isascii():
            return starts
        letters = np.frombuffer(text.encode("utf-8", "replace"), np.uint8) & 0xC0 != 0x80  # not in the middle of one
        return (np.cumsum(letters) - 1)[np.minimum(starts, len(letters) - 1)]

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """One number a text, in order."""
        return [self.count(text) for text in texts]


def names() -> list[str]:
    """The encodings on board."""
    return list(_FILES)


def counter(encoding: str) -> Counter:
    """The counter of an encoding, loaded on the first call (some tenths of a second) and kept.

    Raises `ValueError` for an encoding that is not on board.
    """
    if known := _counters.get(encoding):
        return known
    if encoding not in _FILES:
        raise ValueError(f"no encoding {encoding!r} on board; known: {', '.join(_FILES)}")
    with _lock:
        if encoding not in _counters:
            _counters[encoding] = _load(encoding)
        return _counters[encoding]


def _load(name: str) -> Counter:
    ranks: dict[bytes, int] = {}
    with (_FOLDER / _FILES[name]).open("rb") as lines:
        for line in lines:
            token, _, rank = line.partition(b" ")
            ranks[a2b_base64(token)] = int(rank)
    pattern = (_FOLDER / f"{name}.pattern").read_text("utf-8").strip()
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    lengths = array("H", bytes(2 * (max(ranks.values()) + 1)))
    for token, number in ranks.items():
        lengths[number] = len(token)
    ranks.clear()  # the encoder has its own copy; ours would cost 24 MB for the life of the process
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # or glibc would keep 4 MB that the building took
    return Counter(encoding, lengths)


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        found = _CUT.search(text, end - _WINDOW, end)
        end = found.start() if found else end
        yield text[start:end]
        start = end
    yield text[start:]
