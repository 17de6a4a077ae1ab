"""Pure text geometry: sentences, terms, and arithmetic on character spans.

Every function takes a `str` and spans of its code points; nothing here looks at a clock, a file or a language tag.
All loops over a text move forward only (possessive patterns), so that hostile input stays linear, and no single call
into the regex engine works through more than a window or a unit, so that other threads get their turn.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from compressors.base import Span

LONGEST = 1000  # code points; a longer unit (speech without punctuation) is cut at white space
_WINDOW = 65_536
_THAI_CLAUSE = 40  # Thai writes a space between clauses and no full stop: shorter stretches are not worth a unit

_CLOSERS = r"""["'”’»›)\]}」』）】》〉*_]"""
_BORDER = re.compile(
    rf"(?P<stop>[.!?…;\u037e]++){_CLOSERS}*+(?:\[\d{{1,3}}\])*+(?P<gap>\s*+)"  # a border if white space follows
    rf"|(?P<full>[。！？｡．؟۔।॥։።၊။។]++){_CLOSERS}*+\s*+"  # a border wherever it stands
    r"|(?P<line>\n\s*+)"
    r"|(?<=[\u0e00-\u0e7f])(?P<thai> ++)(?=[\u0e00-\u0e7f])"
)
_LEADS = "am vom zum zur der die das des dem den im bis und seit ab beim ein eine einem einer på til dne dnia"
_BEFORE_ORDINAL = frozenset(_LEADS.split())
_LAST_WORD = re.compile(r"[^\s(\[\"'“„«]*$")
_ABBREVIATIONS = """
mr mrs ms dr prof rev gov sgt capt lt col rep st mt vs etc al inc ltd corp jr sr ed eds cf ca approx dept esp resp
bzw usw ggf evtl bspw vgl hrsg inkl exkl zzgl mio mrd geb gest mm mme mlle mgr sra srta ud uds av avda dña ing lic
sig dott avv гг вв тыс млн млрд руб ул им стр рис табл пр напр tj tzv např αρ σελ δρ örn bkz yrd doç
"""
_BEFORE_NUMBERS = """
no nos nr núm vol fig figs eq eqs sec ch pp p pág págs art abs str tel cap см
jan feb mar apr jun jul aug sep sept oct nov dec
"""
_ALWAYS = frozenset(_ABBREVIATIONS.split())
_NUMBERED = frozenset(_BEFORE_NUMBERS.split())


def sentences(text: str) -> list[Span]:
    """Units of the text, in order: sentences, list items, headings, lines. Together they cover it without a gap.

    A unit ends with the white space after it, so that dropping it leaves clean text. Scripts: Latin, Cyrillic, Greek,
    Arabic, Devanagari and other Indic, Chinese, Japanese, Korean, Thai (clauses, at spaces), Armenian, Ethiopic.
    A lower-case letter after a full stop or a line break means that the sentence goes on, in a text with capitals.
    """
    units: list[Span] = []
    start = 0
    cased = any(map(str.isupper, text[:100_000]))
    for match in _borders(text):
        end = match.end()
        if end == len(text) or _ends_unit(text, start, match, cased):
            units.extend(_cut(text, start, end))
            start = end
    if start < len(text):
        units.extend(_cut(text, start, len(text)))
    return units


def _borders(text: str) -> Iterator[re.Match[str]]:
    """`_BORDER.finditer`, a window at a time, so that a long stretch without a border does not hold the interpreter."""
    at = 0
    while at < len(text):
        match = _BORDER.search(text, at, at + _WINDOW)
        if match and match.end() == at + _WINDOW:
            match = _BORDER.match(text, match.start())
        at = match.end() if match else at + _WINDOW
        if match:
            yield match


def _ends_unit(text: str, start: int, match: re.Match[str], cased: bool) -> bool:
    kind, at = match.lastgroup, match.start()
    if kind == "full":
        return True
    if kind == "thai":
        return at - start >= _THAI_CLAUSE
    goes_on = cased and text[match.end()].islower()
    if kind == "line":
        return not goes_on or match["line"].count("\n") > 1 or text[at - 1 : at] == ":"
    if not match["gap"] or goes_on:
        return False
    stop = match["stop"]
    if stop in ";\u037e":  # the Greek question mark looks like a semicolon
        return "\u0370" <= text[at - 1 : at] <= "\u1fff"
    if stop != "." or "\n" in match["gap"]:
        return True
    return not _is_abbreviation(text[max(start, at - 16) : at], text[match.end()])


def _is_abbreviation(before: str, after: str) -> bool:
    """Whether a full stop closes an abbreviation, an initial or an ordinal and not a sentence."""
    found = _LAST_WORD.search(before)
    word = found.group().lower() if found else ""
    if word in _NUMBERED:
        return after.isdecimal()
    if word.isdecimal() and len(word) <= 2:  # "1. Open the lid", "am 3. Mai"; but "… in village 3. Then …"
        lead = before[: -len(word)].lower().split()
        return not lead or lead[-1] in _BEFORE_ORDINAL
    dotted = "." in word and not word.replace(".", "").isdecimal()
    return (word.isalpha() and len(word) == 1) or dotted or word in _ALWAYS


def _cut(text: str, start: int, end: int) -> Iterator[Span]:
    """The unit itself, or pieces of at most `LONGEST` code points where it has white space to cut at."""
    while end - start > LONGEST:
        cut = text.rfind(" ", start, start + LONGEST) + 1 or text.find(" ", start + LONGEST, end) + 1
        if not cut or cut >= end:
            break
        yield start, cut
        start = cut
    yield start, end


# Scripts without spaces are indexed by pairs of characters, and so is Hangul, whose words carry particles.
DENSE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Combining marks are no word characters to `re`; without them Hindi falls apart at every vowel sign.
_MARKS = (
    r"\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    r"\u0900-\u0963\u0966-\u0dff\u200c\u200d"
)
_LETTER = rf"[^\W_{DENSE}]"
_ASCII_TERM = re.compile(r"[a-z0-9]+")
_TERM = re.compile(rf"[{DENSE}]+|{_LETTER}+(?:[{_MARKS}]+{_LETTER}*)*")
_DENSE_START = re.compile(rf"[{DENSE}]")


def terms(text: str) -> list[str]:
    """Index terms in order: words, folded (NFKC, lower case); pairs of characters in scripts without spaces."""
    folded = text.lower()
    if folded.isascii():
        return _ASCII_TERM.findall(folded)
    if not unicodedata.is_normalized("NFKC", folded):
        folded = unicodedata.normalize("NFKC", folded)
    found: list[str] = []
    for run in _TERM.findall(folded):
        if len(run) > 1 and _DENSE_START.match(run):
            found.extend(run[i : i + 2] for i in range(len(run) - 1))
        else:
            found.append(run)
    return found


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same characters as ordered spans that lie apart; empty ones go."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def clip(spans: Iterable[Span], length: int) -> tuple[Span, ...]:
    """`merge`, with whatever lies outside `0..length` cut off."""
    return merge((max(start, 0), min(end, length)) for start, end in spans)


def complement(spans: Sequence[Span], length: int, start: int = 0) -> tuple[Span, ...]:
    """What merged spans, all of which lie in `start..length`, leave out of it."""
    edges = [start, *(edge for span in spans for edge in span), length]
    return tuple((start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if start < end)


def within(spans: Sequence[Span], start: int, end: int) -> tuple[Span, ...]:
    """`intersect` with one window, found by bisection."""
    first = bisect_left(spans, (start, start))
    if first and spans[first - 1][1] > start:
        first -= 1
    return tuple((max(a, start), min(b, end)) for a, b in spans[first : bisect_left(spans, (end, end), first)])


def intersect(left: Sequence[Span], right: Sequence[Span]) -> tuple[Span, ...]:
    """The characters that two merged sequences have in common."""
    common: list[Span] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            common.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


def solid(text: str, span: Span) -> int:
    """Where the white space at the end of a span begins."""
    return span[0] + len(text[slice(*span)].rstrip())


def join(text: str, spans: Iterable[Span]) -> str:
    """The kept text: the spans' characters, one after the other, nothing in between."""
    return "".join(text[start:end] for start, end in spans)
