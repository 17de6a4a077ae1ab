"""The words of a text as a token classifier sees them: which characters each has, and which pieces say how good it is.

Words are spans of the original text, found from the offsets that the tokenizer gives for its pieces; no text is made
of pieces again, so nothing is re-spaced, normalised or lost. A word is what the tokenizer cuts first (at white space,
and some at punctuation), as in LLMLingua-2 (Pan et al., arXiv 2403.12968), with three differences: where a script has
no spaces a word ends with its piece; a letter keeps its combining marks; and what the tokenizer drops stays with the
word that it touches.
"""

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compressors import codepoints

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LONGEST = 100  # code points; longer ones are cut where a piece ends, so that a text without spaces has words too
_PUNCTUATION = np.array([chr(i) in string.punctuation for i in range(129)])
_SURROGATES = re.compile("[\ud800-\udfff]")
_UNKNOWN = ("<unk>", "[UNK]")
_INNER = np.array([ord(c) for c in ".,:/'’-‑_@&"])  # between two letters or digits
_LEADING = np.array([ord(c) for c in "-+−±$€£¥#№§~<>≤≥=^"])  # before a digit
_TRAILING = np.array([ord(c) for c in "%‰°$€£¥"])  # after a digit

Ints = NDArray[np.intp]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Words:
    """Words from `starts` to `ends`, in order, apart, without white space at their edges; together they hold all of
    the text that shows. `ids` are the text's pieces, without special tokens, `first` and `last` their characters
    (white space left out: empty for pieces that are nothing else), `owners` the word of each, -1 for none."""

    starts: Ints
    ends: Ints
    ids: Ints
    first: Ints
    last: Ints
    owners: Ints


def read(text: str, tokenizer: "Tokenizer") -> Words:
    """The words and pieces of a text, whatever is in it. What spells a special token is text like any other."""
    encoded = tokenizer.encode(_SURROGATES.sub("\ufffd", text), add_special_tokens=False)
    count = len(encoded)
    offsets = np.array(encoded.offsets, np.intp).reshape(count, 2)
    groups = np.array([-1 if group is None else group for group in encoded.word_ids], np.intp)
    cells = codepoints.cells(text)
    showing = np.flatnonzero(~codepoints.blank(cells))
    first, last, seen = _solid(offsets, showing, len(text))
    begins = np.zeros(count, bool)
    begins[seen] = _begins(text, cells, first[seen], last[seen], groups[seen])
    owners = np.cumsum(begins) - 1
    owners[~seen] = _with_next(owners, groups, seen)[~seen]
    starts = first[begins]
    ends = np.maximum.accumulate(last[seen])
    ends = ends[np.append(np.flatnonzero(begins[seen])[1:] - 1, len(ends) - 1)] if len(ends) else ends
    starts, ends, places = _covering(starts, ends, showing)
    owners = np.where(owners < 0, -1, places[owners] if len(places) else -1)
    return Words(starts, ends, _plain(np.array(encoded.ids, np.intp), tokenizer), first, last, owners)


def _plain(ids: Ints, tokenizer: "Tokenizer") -> Ints:
    """Some vocabularies hold their special tokens as pieces too: what spells one is unknown to the model."""
    unknown = next((i for name in _UNKNOWN if (i := tokenizer.token_to_id(name)) is not None), None)
    special = [i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special and i != unknown]
    return ids if unknown is None else np.where(np.isin(ids, special), unknown, ids)


def _solid(offsets: Ints, showing: Ints, length: int) -> tuple[Ints, Ints, Flags]:
    """Each piece's characters without white space at the edges, and whether it has any."""
    low = np.searchsorted(showing, offsets[:, 0])
    high = np.searchsorted(showing, offsets[:, 1])
    seen = low < high
    places = np.append(showing, length)
    first = np.where(seen, places[low], offsets[:, 0])
    last = np.where(seen, places[high - 1] + 1, first)
    return first, last, seen


def _begins(text: str, cells: codepoints.Cells, first: Ints, last: Ints, groups: Ints) -> Flags:
    """Which pieces begin a word, of those that show."""
    if not len(first):
        return np.zeros(0, bool)
    ends = np.append(0, np.maximum.accumulate(last)[:-1])  # where the pieces before end
    blanks = np.append(0, np.cumsum(codepoints.blank(cells)))
    apart = blanks[first] > blanks[np.minimum(ends, first)]
    head = cells[first]
    begins: Flags = apart | _is_punctuation(text, head, first, last)
    begins[1:] |= groups[1:] != groups[:-1]
    free = first >= ends  # not in the middle of a character that makes several pieces
    if not text.isascii():
        tail = cells[np.maximum(first - 1, 0)]  # what stands before
        begins &= apart | ~(codepoints.letters(head) & codepoints.letters(tail))  # some tokenizers cut at marks
        begins |= codepoints.dense(head) | codepoints.dense(tail)
        free &= apart | ~(codepoints.bound(head) | codepoints.joins(tail))
    begins &= free
    begins[0] = True
    starts = first[begins][np.cumsum(begins) - 1]
    far = (first - starts) // _LONGEST
    begins[1:] |= free[1:] & (far[1:] > far[:-1])
    return begins


def _is_punctuation(text: str, head: codepoints.Cells, first: Ints, last: Ints) -> Flags:
    """Single marks, and the runs that LLMLingua-2 takes for one: those that stand so in `string.punctuation`."""
    found = _PUNCTUATION[np.minimum(head, 128)]
    for i in np.flatnonzero(found & (last - first > 1)).tolist():
        found[i] = text[first[i] : last[i]] in string.punctuation
    return found


def _with_next(owners: Ints, groups: Ints, seen: Flags) -> Ints:
    """For pieces that show nothing: the word of the next piece that does, where the tokenizer has both in one group (a
    lone "▁" before its word), else none."""
    after = np.minimum.accumulate(np.where(seen, np.arange(len(seen)), len(seen))[::-1])[::-1]
    found = np.append(owners, -1)[after]
    return np.where(np.append(groups, -2)[after] == groups, found, -1)


def _covering(starts: Ints, ends: Ints, showing: Ints) -> tuple[Ints, Ints, Ints]:
    """The words with all that shows around them up to white space or the next word, words of their own for what is
    left, and the new number of each old word."""
    if not len(showing):
        return starts, ends, starts
    runs = np.append(0, np.cumsum(np.diff(showing) > 1))  # stretches without white space
    begun = np.searchsorted(starts, showing, "right")
    before = np.append(-1, runs[np.searchsorted(showing, ends - 1)])[begun]  # the stretch in which that word ends
    after = np.append(runs[np.searchsorted(showing, starts)], -1)[begun]  # and in which the next one begins
    keys = 2 * begun + np.select([runs <= before, runs == after], [-1, 1], 0)  # odd: a word and what touches it
    edges = np.append(True, (np.diff(keys) > 0) | ((keys[1:] % 2 == 0) & (np.diff(runs) > 0)))
    begin = np.flatnonzero(edges)
    places = np.searchsorted(keys[begin], 2 * np.arange(len(starts)) + 1)
    return showing[begin], showing[np.append(begin[1:], len(showing)) - 1] + 1, places


def compounds(text: str, words: Words) -> Ints:
    """The number of the compound that each word belongs to: numbers with their marks and signs (1,234.50; 19:30; -5;
    18 %), contractions, names with dots and hyphens. A part of one can say the opposite: 1 for 1,234, can for can't."""
    if not len(words.starts):
        return words.starts
    cells = np.concatenate(([32], codepoints.cells(text), [32]))
    digits = codepoints.digits(cells)
    solid = digits | codepoints.letters(cells)
    left, right = words.ends[:-1], words.starts[1:] + 1  # the characters on both sides of a border
    joint = np.isin(cells[right], _INNER) & solid[left] & solid[right + 1]
    joint |= np.isin(cells[left], _INNER) & solid[left - 1] & solid[right]
    joint |= np.isin(cells[left], _LEADING) & ~solid[left - 1] & digits[right]
    joint |= np.isin(cells[right], _TRAILING) & digits[left]
    joint &= words.ends[:-1] == words.starts[1:]
    group = np.append(0, np.cumsum(~joint))
    far = (words.starts - words.starts[np.searchsorted(group, group)]) // _LONGEST
    return np.append(0, np.cumsum(~joint | (far[1:] > far[:-1])))
