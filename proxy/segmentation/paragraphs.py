"""Paragraphs of a text: parted by blank lines, by what they are, and by their length."""

from collections.abc import Iterator

from proxy.segmentation import sentences, series, shapes
from proxy.segmentation.markers import lines


def blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Paragraphs: parted by blank lines; in a paragraph of prose a long line stands alone."""
    group: list[tuple[int, int]] = []
    for a, b in lines(text, start, end):
        if group and (text.count("\n", group[-1][1], a) > 1):
            yield from _split(text, group)
            group = []
        group.append((a, b))
    if group:
        yield from _split(text, group)


def _split(text: str, group: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first, last = series.chat([text[a:b] for a, b in group]) if len(group) > 3 else (0, 0)
    if last:
        yield from _split(text, group[:first])
        yield group[first][0], group[last - 1][1]
        group = group[last:]
    if not group:
        return
    start, end = group[0][0], group[-1][1]
    if text[group[-1][0]] == ">" and shapes.quoted([text[a:b] for a, b in group]):
        yield start, end
        return
    if len(group) > 4 and shapes.data(text[start:end]):
        first = sentences.asks(text[slice(*group[0])]) or text[group[0][1] - 1] in ":："
        last = sentences.asks(text[slice(*group[-1])])
        if first:
            yield group[0]
        yield group[first][0], group[-1 - last][1]
        if last:
            yield group[-1]
        return
    if len(group) == 1 or shapes.data(text[start:end]):
        yield start, end
        return
    run: list[tuple[int, int]] = []
    for a, b in group:
        if b - a >= 250:
            if run:
                yield run[0][0], run[-1][1]
                run = []
            yield a, b
        else:
            run.append((a, b))
    if run:
        yield run[0][0], run[-1][1]
