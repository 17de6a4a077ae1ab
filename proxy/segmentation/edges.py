"""Sets apart what speaks to the model at the edges of material: remarks of a template, a last question."""

import re
from collections.abc import Iterator
from dataclasses import replace

from policies.base import Kind
from proxy.segmentation import sentences, shapes
from proxy.segmentation.documents import Piece
from proxy.segmentation.markers import stripped
from proxy.segmentation.pasted import REMARK, last_question

_ASKED = ("?", "？", "؟")
_MATERIAL = (Kind.CONTEXT, Kind.TOOL_OUTPUT, Kind.CODE)
_CLOSING = re.compile(r"\n[ \t\r]*\n\s*([^\W\d_\n][^\n]*(?:\n[^\W\d_\n][^\n]*){0,2})\s*\Z")
_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’»」』)]{0,2}(?:\s+|(?<=[。！？]))(?=\S)")
_READ = 400  # characters of the end of a message in which the last words of the user are looked for
_LABEL = 60  # characters of a name and the like before a colon
_WORDED = 0.85  # share of letters and spaces in what is said, more than in a row of data


def apart(text: str, pieces: list[Piece], *, last_word: bool = False) -> Iterator[Piece]:
    """The pieces, with lines that speak to the model set apart at the edges of material. `last_word`: a question that
    ends the whole text is set apart as well."""
    if last_word and pieces and pieces[-1].kind in _MATERIAL and not pieces[-1].guard:
        *before, end = pieces
        said = _closing(text, end)
        if said < end.end:
            above = stripped(text, end.start, said)[1]
            shown = [replace(end, end=above)] if end.start < above else []
            yield from apart(text, [*before, *shown, Piece(said, end.end, Kind.QUESTION)])
            return
    for i, piece in enumerate(pieces):
        if piece.kind not in (Kind.CONTEXT, Kind.TOOL_OUTPUT) or piece.guard or piece.sure:
            yield piece
            continue
        a, b = piece.start, piece.end
        if _speaks(text, a, first := _line_end(text, a, b)):
            yield Piece(*stripped(text, a, first), Kind.OTHER)
            a, _ = stripped(text, first, b)
        last = max(text.rfind("\n", a, b) + 1, a)
        c = last if a < b and _speaks(text, last, b) else b
        if last_word and c == b and i == len(pieces) - 1:
            c = _orders(text, a, b)
        if last_word and c == b and i == len(pieces) - 1 and text[:b].rstrip("\"'”’»」』)* \n")[-1:] in _ASKED:
            c = a + last_question(text[a:b])
        if a < (d := stripped(text, a, c)[1]) and c > a:
            yield replace(piece, start=a, end=d)
        if c < b:
            yield Piece(*stripped(text, c, b), Kind.OTHER if c == last else Kind.QUESTION)


def _orders(text: str, a: int, b: int) -> int:
    """Where the sentences begin that end a paragraph and speak to the model; else the end."""
    begins = [m.end() for m in _SENTENCE_END.finditer(text, max(a, b - _READ), b)]
    c = b
    for start in reversed(begins):
        if not sentences.addressed(text[start:c], strictly=True) and not sentences.asks(text[start:c]):
            break
        c = start
    return c


def _closing(text: str, piece: Piece) -> int:
    """Where the short words begin that stand behind a blank line, below code, a log or a table; else the end."""
    a, b = piece.start, piece.end
    match = _CLOSING.search(text, max(a, b - _READ), b)
    if not match:
        return b
    said = match[1].rstrip()
    letters = sum(1 for c in said if c.isalpha() or c.isspace())
    worded = letters >= _WORDED * len(said) and said[-1] not in "{};,)=\\" and not shapes.keyword(said)
    label = said[: max(said.find(mark, 0, _LABEL) for mark in ":：") + 1]
    if label and f"\n{label}" in text[a : match.start()]:  # one more of a chat
        return b
    several = " " in said or not said.isascii()
    above = text[a : match.start()]
    return match.start(1) if worded and several and (piece.kind is Kind.CODE or shapes.data(above)) else b


def _line_end(text: str, a: int, b: int) -> int:
    stop = text.find("\n", a, b)
    return b if stop < 0 else stop


def _speaks(text: str, a: int, b: int) -> bool:
    """Whether a line is short and speaks to the model."""
    return 0 < b - a <= REMARK and sentences.addressed(text[a:b])
