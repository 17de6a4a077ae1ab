"""What an answer quotes from a compressed text, put back to how the original has it.

`recover` is LongLLMLingua's subsequence recovery (Jiang et al., arXiv 2310.06839, section 4.4): any words, on the whole
answer, in the tokens of the small model. `Restorer` is meant for answers on their way to somebody: it touches names,
dates and numbers only, needs no model, and works on a stream.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compressors import damage
from compressors.base import Span
from compressors.damage import Damage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NEAR = 10  # tokens of the original within which the next token of a quotation is looked for
_GROUP = 8  # words of a name or a date


def recover(original: str, compressed: str, response: str, tokenizer: "Tokenizer") -> str:
    """The response, its quotations of the compressed text replaced by what they stem from in the original.

    A quotation is a run of words, as many as stand so in `compressed`. Its tokens are followed through those of
    `original` from every place where the first one occurs; the place where most are found, on the shortest stretch,
    takes the quotation's place. The time grows with the response times the occurrences of a token.
    """
    words = response.split(" ")
    ids = tokenizer.encode(original, add_special_tokens=False).ids
    places: dict[int, list[int]] = defaultdict(list)
    for i, token in enumerate(ids):
        places[token].append(i)
    found: list[str] = []
    at = 0
    while at < len(words):
        end = at + 1
        piece = words[at]
        if piece in compressed:
            while end < len(words) and (longer := f"{piece} {words[end]}") in compressed:
                piece, end = longer, end + 1
            stretch = _stretch(tokenizer.encode(piece, add_special_tokens=False).ids, places)
            piece = tokenizer.decode(ids[slice(*stretch)], skip_special_tokens=False) if stretch else piece
        found.append(piece)
        at = end
    return " ".join(found)


def _stretch(asked: Sequence[int], places: dict[int, list[int]]) -> Span | None:
    """Where in the original most of these tokens stand in their order, none far from the one before."""
    best: tuple[int, int, Span] | None = None
    for start in places.get(asked[0], ()) if asked else ():
        last, matched = start, 1
        for token in asked[1:]:
            later = places.get(token, [])
            i = bisect_right(later, last)
            if i < len(later) and later[i] - last <= _NEAR:
                last, matched = later[i], matched + 1
        if best is None or (-matched, last - start) < best[:2]:
            best = (-matched, last - start, (start, last + 1))
    return best[2] if best else None


_GAP = re.compile(r"[ \u00a0,./'’&–-]{1,3}")
_INSIDE = re.compile(rf"{damage.CHARACTER}*")
_OPEN_END = re.compile(r"\d[.,:]\Z")


class Restorer:
    """Restores the names, dates and numbers of one answer as it comes, in pieces of any size.

    Text is held back only while it may be part of a name: until the word after it is complete, at most eight words.
    However the answer is cut into pieces, the outcome is the same; where nothing is restored, it is the answer.
    """

    def __init__(self, damage: Damage) -> None:
        self._damage = damage
        self._held = ""
        self._inside = False  # a word that is too long for a name, whose end has not come

    @property
    def held(self) -> str:
        """What has come of the answer and has not been given yet, as it came."""
        return self._held

    def feed(self, piece: str) -> str:
        """What of the answer so far is certain and has not been given yet."""
        return self._advance(piece, last=False)

    def finish(self) -> str:
        """The rest."""
        return self._advance("", last=True)

    def _advance(self, piece: str, last: bool) -> str:
        text, at = self._held + piece, 0
        out: list[str] = []
        while at < len(text):
            if self._inside:
                end = damage.end(_INSIDE.match(text, at))
                self._inside = end == len(text)
            elif not (word := damage.WORD.search(text, at)):
                end = len(text)
            elif word.start() > at:
                end = word.start()
            elif len(word.group()) == damage.LONGEST:
                end, self._inside = word.end(), True
            else:
                group = _group(text, at, last)
                if group is None:
                    break
                end = group[-1][1]
                out.append(self._damage.mend(text, group))
                at = end
                continue
            out.append(text[at:end])
            at = end
        self._held = text[at:]
        return "".join(out)


def _group(text: str, at: int, last: bool) -> list[Span] | None:
    """The words of what may be a name or a date from here on; None where that cannot be told yet."""
    words: list[Span] = []
    while True:
        word = damage.WORD.match(text, at)
        if not last and (at == len(text) or (word and _open(text, word))):
            return None
        if not word or len(word.group()) == damage.LONGEST:
            return words
        before = text[slice(*words[-1])] if words else ""
        if words and not damage.continues(word.group(), before):
            return words
        words.append(word.span())
        if not damage.tells(text[slice(*words[0])]) or len(words) == _GROUP:
            return words
        gap = _GAP.match(text, word.end())
        if gap is None:
            return words
        at = gap.end()


def _open(text: str, word: re.Match[str]) -> bool:
    """Whether the next piece may make this word longer."""
    if len(word.group()) == damage.LONGEST:
        return False
    return word.end() == len(text) or bool(_OPEN_END.match(text, word.end() - 1))
