"""Phrases: function words and the content words after them, "of the old | harbour" staying together. Pure, no model.

Liberman and Church ("Text analysis and word pronunciation in text-to-speech synthesis", 1992) cut text so: a phrase is
a run of function words, then a run of content words. Selective Context takes noun chunks of a parser instead, which
would be another model, for English alone; this needs a short list, and works wherever words stand apart.
"""

import re
from collections.abc import Iterator

from compressors.base import Span

_WORDS = 6  # in one phrase; more are cut
_DENSE = 6  # characters, in scripts without spaces
_PART = re.compile(
    r"(?P<kana>[\u3040-\u309f\u30fc]+)"
    r"|(?P<dense>[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u30a0-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+)"
    r"|(?P<word>[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+(?:['’.,:/@-][^\W\u3040-\u9fff]+)*)"
    r"|(?P<open>[(\[{<«„“‘「『（《#$€£]+)"
    r"|(?P<mark>\S)"
)
_SHORT = 3  # letters: a lower-case word of so few is taken for a function word, in any language
_LONGER = """
about above after against along although among because been before behind below between both could does during each
either ever every from have having here hers herself himself into itself just less many might more most much must near
neither once only onto other ours over same shall should since some such than that their theirs them then there these
they this those though through till toward towards under unless until upon very were what when where whether which while
whom whose will with within without would your yours
aber alle auch beim dass dein deren dessen diese dieser dieses doch durch eine einem einen einer eines gegen hatte haben
jede jeder kann kein keine mein mich mit nach nicht noch oder ohne sein seine sich sind über unter wenn werden wurde
avec cette ceux chez comme dans depuis donc elle elles entre leur leurs mais nous pour sans sont sous vers vous
como cuando desde donde ella ellos entre esta este esto hasta para pero porque según sobre también todo
alla alle anche come dalla dalle degli della delle dello nella nelle quando questa questo sono sulla
aan deze door hebben heeft maar naar niet omdat onder tussen voor waar wanneer werd worden zijn
или если когда который между перед после потому чтобы
"""
_FUNCTION = frozenset(_LONGER.split())


def phrases(text: str, start: int, end: int) -> Iterator[Span]:
    """The phrases of text[start:end], in order, apart, without white space at their edges; together all that shows.

    A mark belongs to the phrase before it, an opening bracket or quote to the one after it.
    """
    begin = last = start
    words = 0
    content = closed = False  # whether the phrase has a content word; whether a mark ends it
    kind = ""
    for part in _PART.finditer(text, start, end):
        here = part.lastgroup or ""
        apart = text[last : part.start()].isspace() if last < part.start() else False
        new = _starts(here, kind, apart, closed)
        if here == "word":
            function = is_function(part.group())
            new = new or (content and function) or words >= _WORDS
        if here in ("dense", "kana"):
            new = new or part.start() - begin >= _DENSE
        if new and last > begin:
            yield begin, last
            begin = part.start()
        elif last == begin:
            begin = part.start()
        if new:
            words, content = 0, False
        last, kind, closed = part.end(), here, here == "mark"
        words += here == "word"
        content = content or (here == "word" and not is_function(part.group())) or here == "dense"
        while here == "dense" and last - begin > _DENSE:
            yield begin, begin + _DENSE
            begin += _DENSE
    if last > begin:
        yield begin, last


def is_function(word: str) -> bool:
    """Whether a word is one of those that hold a sentence together. Numbers and names are none."""
    return word.islower() and word.isalpha() and (len(word) <= _SHORT or word in _FUNCTION)


def _starts(here: str, before: str, apart: bool, closed: bool) -> bool:
    """Whether a part starts a phrase by what it is, whatever words are in it."""
    if here == "mark":
        return False
    if here == "open":
        return before != "open"
    if before == "open":
        return False
    return (closed and (apart or here != "word")) or (here == "dense" and before == "kana")
