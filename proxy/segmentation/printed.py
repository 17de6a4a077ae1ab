"""What tools and programs returned, in a message of its own."""

from collections.abc import Iterator

from policies.base import Kind
from proxy.segmentation import sentences, shapes
from proxy.segmentation.documents import Piece, documents
from proxy.segmentation.markers import stripped
from proxy.segmentation.sections import read

_LEAD = 300  # characters before the fence around what a program printed


def shell(text: str, start: int, end: int) -> Iterator[Piece]:
    """What a program printed, in a fence: all but the inside stands around it."""
    opening, closing = fenced(text) or (start, end)
    yield Piece(*stripped(text, start, opening), Kind.OTHER)
    a, b = stripped(text, opening, closing)
    yield Piece(a, b, Kind.TOOL_OUTPUT, sure=True)
    yield Piece(*stripped(text, closing, end), Kind.OTHER)


def fenced(text: str) -> tuple[int, int] | None:
    """The inside of the only fence of a text that is little else."""
    opening = text.find("```", 0, _LEAD)
    begins, closing = text.find("\n", opening) + 1, text.rfind("\n```")
    lead = text[: max(0, opening)]
    if sentences.speaks_of_format(lead) or sentences.addressed(lead, strictly=True) or sentences.placeholders(text):
        return None
    if opening < 0 or not 0 < begins < closing or text.find("\n```", begins, closing) >= 0:
        return None
    return (begins, closing) if closing - begins >= 0.6 * len(text) and text[begins:closing].strip() else None


def tool_output(text: str, start: int, end: int) -> Iterator[Piece]:
    """The documents of what a tool returned, and the tags between them."""
    if not text.startswith("<", start) or shapes.data(text[start:end]):
        yield from documents(text, start, end, Kind.TOOL_OUTPUT, "")
        return
    for section in read(text, "tool"):
        if section.marker:
            yield Piece(*stripped(text, section.start, section.end), Kind.OTHER)
        else:
            yield from documents(text, section.start, section.end, Kind.TOOL_OUTPUT, section.title)
