"""Sets apart what speaks to the model at the edges of material: remarks of a template, a last question."""

from collections.abc import Iterator
from dataclasses import replace

from policies.base import Kind
from proxy.segmentation import sentences
from proxy.segmentation.documents import Piece
from proxy.segmentation.markers import stripped
from proxy.segmentation.pasted import REMARK, last_question

_ASKED = ("?", "？", "؟")


def apart(text: str, pieces: list[Piece], *, last_word: bool = False) -> Iterator[Piece]:
    """The pieces, with lines that speak to the model set apart at the edges of material. `last_word`: a question that
    ends the whole text is set apart as well."""
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
        if last_word and c == b and i == len(pieces) - 1 and text[:b].rstrip("\"'”’»」』)* \n")[-1:] in _ASKED:
            c = a + last_question(text[a:b])
        if a < (d := stripped(text, a, c)[1]) and c > a:
            yield replace(piece, start=a, end=d)
        if c < b:
            yield Piece(*stripped(text, c, b), Kind.OTHER if c == last else Kind.QUESTION)


def _line_end(text: str, a: int, b: int) -> int:
    stop = text.find("\n", a, b)
    return b if stop < 0 else stop


def _speaks(text: str, a: int, b: int) -> bool:
    """Whether a line is short and speaks to the model."""
    return 0 < b - a <= REMARK and sentences.addressed(text[a:b])
