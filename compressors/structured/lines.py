"""Lines of a text as spans, as the line-based formats need them."""

from collections.abc import Iterable, Iterator, Sequence

from compressors.base import Span


def lines(text: str, start: int, end: int) -> list[Span]:
    """Lines with their line break; only a line feed breaks a line. Together they cover `start..end`."""
    found: list[Span] = []
    while start < end:
        stop = text.find("\n", start, end) + 1 or end
        found.append((start, stop))
        start = stop
    return found


def blank(text: str, span: Span) -> bool:
    return not text[slice(*span)].strip()


def spare_blanks(text: str, spans: Sequence[Span]) -> Iterator[Span]:
    """White space at line ends and every blank line after another: it shows nothing on a terminal."""
    before_blank = False
    for start, end in spans:
        body = text[start:end].rstrip()
        if body:
            stop = end - text[start:end].endswith("\n")
            yield start + len(body), stop
        elif before_blank:
            yield start, end
        before_blank = not body


def around(hits: Iterable[int], reach: int, count: int) -> set[int]:
    """Indexes within `reach` of a hit."""
    return {i for hit in hits for i in range(max(0, hit - reach), min(count, hit + reach + 1))}
