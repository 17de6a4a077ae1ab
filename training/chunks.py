"""Texts in chunks that a model shortens well: whole sentences, and few enough of them that it does not skip any.

The longer a text, the more a model leaves out of it on its own account: LLMLingua-2 (Pan et al., arXiv 2403.12968,
section 4.1) therefore has each chunk of at most 512 tokens shortened by itself.
"""

from collections.abc import Iterator

from compressors import codepoints
from compressors.base import Span
from compressors.spans import sentences
from compressors.tokenizers import Counter

TOKENS = 512


def chunks(text: str, counter: Counter, tokens: int = TOKENS) -> list[Span]:
    """The text in order, each chunk of at most so many tokens, white space at its edges left out.

    A chunk ends where a sentence does. Only a sentence that is longer than a chunk is cut, at white space if
    it has any.
    """
    parts = [part for start, end in sentences(text) for part in _fitting(text, (start, end), counter, tokens)]
    counts = counter.count_all([text[start:end] for start, end in parts])
    found: list[Span] = []
    first = 0
    while first < len(parts):
        last, total = first + 1, counts[first]
        while last < len(parts) and total + counts[last] <= tokens:
            total += counts[last]
            last += 1
        span = _stripped(text, parts[first][0], parts[last - 1][1])
        while last - first > 1 and counter.count(text[slice(*span)]) > tokens:  # together may be more than apart
            last -= 1
            span = _stripped(text, parts[first][0], parts[last - 1][1])
        if span[0] < span[1]:
            found.append(span)
        first = last
    return found


def _fitting(text: str, span: Span, counter: Counter, tokens: int) -> Iterator[Span]:
    start, end = span
    if end - start <= 1 or counter.count(text[slice(*_stripped(text, start, end))]) <= tokens:
        yield span
        return
    middle = _middle(text, start, end)
    yield from _fitting(text, (start, middle), counter, tokens)
    yield from _fitting(text, (middle, end), counter, tokens)


def _middle(text: str, start: int, end: int) -> int:
    """Where to cut in two: behind white space in the middle half, else not before a mark that belongs to a letter."""
    half, quarter = (start + end) // 2, (end - start) // 4
    near = sorted(range(half - quarter, half + quarter + 1), key=lambda place: abs(place - half))
    inner = [place for place in near if start < place < end]
    if spaced := next((place for place in inner if text[place - 1].isspace()), None):
        return spaced
    bound = codepoints.bound(codepoints.cells(text[start:end]))
    return next((place for place in inner if not bound[place - start]), inner[0])


def _stripped(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
