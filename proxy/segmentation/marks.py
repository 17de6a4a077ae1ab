"""Explicit marks: `<laconic:context>...</laconic:context>` and `<laconic:keep>...</laconic:keep>` in any text."""

import re
from collections.abc import Iterator

from compressors.base import Span

_MARK = re.compile(r"<(/?)laconic:(context|keep)>")


def marked(text: str) -> tuple[tuple[str, Span, Span, Span], ...]:
    """Name, opening tag, inside and closing tag of every mark. () where any tag is unbalanced or
    nested: no guessing."""
    found = list(_MARK.finditer(text)) if "laconic:" in text else []
    out = []
    for opening, closing in zip(found[::2], found[1::2], strict=False):
        if opening[1] or not closing[1] or opening[2] != closing[2]:
            return ()
        out.append((opening[2], opening.span(), (opening.end(), closing.start()), closing.span()))
    return () if len(found) % 2 else tuple(out)


def marks(text: str) -> tuple[Span, ...]:
    """The spans of the tags themselves, in order: what is cut out before sending."""
    return tuple(_tags(text))


def _tags(text: str) -> Iterator[Span]:
    for _, opening, _, closing in marked(text):
        yield opening
        yield closing
