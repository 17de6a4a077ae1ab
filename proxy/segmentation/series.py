"""Runs of paragraphs that begin alike: what is repeated in one form was put together by a program or copied, so that it
is material, whatever its words."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from proxy.segmentation import labels, sentences, shapes
from proxy.segmentation.labels import Meaning

_FEWEST = 3  # paragraphs that begin alike
_FEWEST_SAID = 4  # paragraphs that begin with a name
_READ = 12_000  # characters of a paragraph that are read to tell its lines
_LEAST = 60  # characters that such paragraphs have on average
LONG_ITEM = 150  # the same where the mark may also be one of a list of orders
_NUMBERS = r"(?:\d{1,3}(?:\.\d{1,3}){0,3}|[IVXLC]{1,6}|[一二三四五六七八九十百]{1,4})"
_MARKED = re.compile(
    r"(?:[-*>] )?(?:[\[(【〔<]{1,2}\^?(?:[^\W\d_]{1,14}[ :#№_-]{0,2})?\d{1,4}(?=\W)"
    rf"|第{_NUMBERS}[条條章节節款项項回号]|제 ?\d{{1,4}} ?[조항장절]|§{{1,2}} ?\d"
    r"|\d{1,3}(?:\.\d{1,3}){1,3}\.?(?=\s)"
    r"|[^\W\d_]{2,14}[ _]?(?:#|№|[Nn]o\.? ?)?\d{1,4}(?:\.\d{1,3}){0,3}(?=\s?[:：.)\]|-]|\s?\(|\s*$))",
    re.MULTILINE,
)
_LISTED = re.compile(rf"(?:(?P<heading>#{{1,6}} )|(?P<bullet>[-*•+] )|(?P<number>{_NUMBERS}[.)、．] ?))(?=\S)")
_SPOKEN = re.compile(
    r"(?:\*\*)?@?([^\W\d_][\w.@’'-]{0,30}(?: [\w.(’'-]{1,20}\)?){0,4})(?:\*\*)?\s?(?:：|:(?:\*\*)?(?=\s|[^\x00-\x7f]))"
)


def alike(texts: Sequence[str], listed: int = LONG_ITEM) -> list[bool]:
    """Which of some paragraphs belong to a run of three or more that begin in the same way. Headings, bullets and plain
    numbers count as well, where the paragraphs have `listed` characters on average and mostly give no orders."""
    forms = [_form(text) for text in texts]
    found = [False] * len(texts)
    for form, run in groupby(range(len(texts)), key=forms.__getitem__):
        members = list(run)
        size = sum(sentences.weight(texts[i]) for i in members) / len(members)
        if len(members) < _FEWEST or not form:
            continue
        orders = 0 if form == "mark" else sum(sentences.addressed(texts[i], strictly=True) for i in members)
        if size >= (_LEAST if form == "mark" else listed) and orders <= len(members) // 3:
            found[members[0] : members[-1] + 1] = [True] * len(members)
    return found


def members(texts: Sequence[str], listed: int = LONG_ITEM) -> list[bool]:
    """Which paragraphs belong to a run, or are one themselves, line by line."""
    return [one or inside(text, listed) for one, text in zip(alike(texts, listed), texts, strict=True)]


def inside(text: str, listed: int) -> bool:
    """Whether most lines of one paragraph begin alike, so that each of them would be a paragraph of a run, or are
    quoted from a mail."""
    if text.count("\n", 0, _READ) < _FEWEST - 1:
        return False
    rows = [row for line in text[:_READ].split("\n") if (row := line.strip())]
    if shapes.quoted(rows):
        return True
    first, last = chat(rows)
    return len(rows) >= _FEWEST and max(sum(alike(rows, listed)), last - first) >= 0.7 * len(rows)


def _form(text: str) -> str:
    """The way in which a paragraph begins; empty where it has no mark."""
    if _MARKED.match(text[:60]):
        return "" if labels.steps(text) else "mark"
    match = _LISTED.match(text[:20])
    return (match.lastgroup or "") if match else ""


def chat(texts: Sequence[str]) -> tuple[int, int]:
    """Where a chat begins and ends: most paragraphs begin with a name, and names come again. (0, 0): there is none."""
    heads = ((i, head) for i, text in enumerate(texts) if ":" in (head := text[:120]) or "：" in head)
    found = {i: match[1] for i, head in heads if (match := _SPOKEN.match(head))}
    found = {i: name for i, name in found.items() if labels.meaning(name) in (None, Meaning.SPEAKER)}
    names = Counter(found.values())
    if len(found) < _FEWEST_SAID or not 2 <= len(names) <= 0.75 * len(found):
        return 0, 0
    first, last = min(found), max(found) + 1
    size = sum(map(sentences.weight, texts[first:last]))
    fits = len(found) >= 0.6 * (last - first) and size >= _LEAST * len(found)
    return (first, last) if fits and not shapes.code(list(texts[first:last])) else (0, 0)
