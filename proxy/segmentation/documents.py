"""Cuts material into documents, and what must stay apart from them: marks, titles, source lines, JSON syntax."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policies.base import Kind
from proxy.segmentation import labels, shapes
from proxy.segmentation.labels import Meaning
from proxy.segmentation.markers import lines, stripped

BULK = 250  # characters from which a paragraph is a document of its own
_MOST_TRIED = 50  # brackets on a line of their own of which the end is looked for
_LEAST_JSON = 200  # characters of a line of JSON that is told apart from the lines around it


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text: `start` and `end` in code points. `guard`: why it must stay, where that is known here.
    `sure`: its form tells what it is, whatever its words say."""

    start: int
    end: int
    kind: Kind
    document: str | None = None
    guard: str = ""
    sure: bool = False


_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?', re.DOTALL)
_COLON = re.compile(r"([^\W\d_][^:：\n]{0,30})[:：]")
_LABELLED = re.compile(r"[^:：\n]{1,80}[:：]\s?(?=[\[{])")
_NUMBER = re.compile(r"\d{1,3}[.)]\s")
_LINK = re.compile(r"<?(?:https?|file)://\S{1,400}$")
_FILE_NAME = re.compile(r"[\w%./\\~-]{1,150}\.[A-Za-z]\w{1,4}(?:#[\w=&.-]{1,40})?\s?[:：](?=\s|$)")
_BRACKETED = re.compile(
    r"(?:[-*#>]{1,3} )?(?:[\[(【<«]{1,2}\s?\^?(?:[^\W\d_]{2,12}[ :#_-]?)?(?:\d{1,4}|[0-9a-zA-Z-]{2,12}(?<=\d))\s?"
    r"[\])】>»]{1,2}|\[(?=[^\[\]\n]{0,40}\d)[^\[\]\n]{1,40}\]|【[^【】\n]{1,40}】)[:.]?"
)
_WORDED = re.compile(
    r"(?:[-*#>]{1,3} )?([^\W\d_]{2,16})(?:[ _-]?(?:#|№|[Nn]o\.? ?|[Ii][Dd] ?)?[\[(]?\d{1,4}|[ _-][\[(]?[A-Z])[\])]?"
    r"(?=\s?[:：.)\]|-]|\s?\(|\s*$)"
)
_ENDINGS = ".!?。！？؟…:："
_CDATA = "<![CDATA["
_WRAPPERS = {
    '"': '"', "'": "'", "«": "»", "“": "”", "„": "“", "「": "」", "『": "』", "‘": "’",
    '"""': '"""', "'''": "'''", "```": "```", _CDATA: "]]>",
}  # fmt: skip


def documents(text: str, start: int, end: int, kind: Kind, title: str) -> Iterator[Piece]:
    """The documents of a stretch of material, and what stands between them as `Kind.OTHER`."""
    a, b = stripped(text, start, end)
    if c := _preamble(text, a, b):
        yield Piece(a, c, Kind.OTHER)
        a, b = stripped(text, c, b)
    if a >= b:
        return
    opening, closing = _wrapping(text, a, b)
    if opening:
        yield Piece(a, a + opening, Kind.OTHER)
    yield from _inside(text, *stripped(text, a + opening, b - closing), kind, title)
    if closing:
        yield Piece(b - closing, b, Kind.OTHER)


def _inside(text: str, a: int, b: int, kind: Kind, title: str) -> Iterator[Piece]:
    whole = text[a:b]
    if not whole:
        return
    if kind is not Kind.TOOL_OUTPUT and shapes.jsonlike(whole):
        yield from json_values(text, a, b, kind, title)
    elif kind is not Kind.TOOL_OUTPUT and (found := _json_in(text, a, b)):
        for start, end, is_json in found:
            yield from (json_values if is_json else _inside)(text, start, end, kind, title)
    elif kind is Kind.HISTORY:
        yield Piece(a, b, kind, title or None)
    elif shapes.data(whole):
        rows = shapes.rows_of(whole)
        is_code = kind is Kind.CONTEXT and shapes.code(rows) and not shapes.transcript(rows)
        if c := _label(text, a, b):
            yield Piece(a, c, Kind.OTHER)
            a, _ = stripped(text, c, b)
        yield Piece(a, b, Kind.CODE if is_code else kind, title or None)
    else:
        for piece in _prose(text, a, b, kind, title):
            yield from _unwrapped(text, piece) if piece.kind is kind else [piece]


def _label(text: str, a: int, b: int) -> int:
    """End of a label that stands before the first row of data, and before no other; 0 where there is none."""
    match = _COLON.match(text, a, b)
    if not match or labels.meaning(match[1]) not in (Meaning.CONTEXT, Meaning.CODE) or not match[1][0].isupper():
        return 0
    return 0 if text.find("\n" + match.group(), match.end(), b) >= 0 or _record(text, match, b) else match.end()


def _record(text: str, label: re.Match[str], end: int) -> bool:
    """Whether the row after that of a label has a label as well."""
    following = stripped(text, text.find("\n", label.end(), end) + 1 or end, end)[0]
    return bool(_COLON.match(text, following, end))


def _json_in(text: str, a: int, b: int) -> list[tuple[int, int, bool]]:
    """The stretches of a text that has lines of JSON with long strings among others, and whether each is JSON; []
    where it has none."""
    found: list[tuple[int, int, bool]] = []
    if '"' not in text[a:b]:
        return found
    at, tried = a, 0
    for c, d in lines(text, a, b):
        label = _LABELLED.match(text, c, d)
        c = label.end() if label else c
        if c < at or text[c] not in "[{":
            continue
        if d - c == 1 and tried < _MOST_TRIED:  # printed on several lines: up to the bracket that stands below
            tried += 1
            begins = text.rfind("\n", 0, c) + 1
            margin = text[begins : stripped(text, begins, d)[0]]
            closing = text.find(f"\n{margin}{']}'[text[c] == '{']}", d, b)
            d = text.find("\n", closing + 1, b) if closing > 0 else d
            d = stripped(text, c, b if d < 0 else d)[1]
        if d - c >= _LEAST_JSON and shapes.jsonlike(text[c:d]) and not _records(text, c, d):
            found += [(*stripped(text, at, c), False), (c, d, True)]
            at = d
    found += [(*stripped(text, at, b), False)] if found else []
    return [one for one in found if one[0] < one[1]]


def _wrapping(text: str, a: int, b: int) -> tuple[int, int]:
    """Lengths of the quotation marks, or the like, around material; (0, 0) where it has none."""
    if shapes.jsonlike(text[a:b]):
        return 0, 0
    for opening, closing in reversed(_WRAPPERS.items()):
        room = len(opening) + len(closing)
        fits = b - a > room and text.startswith(opening, a) and text.endswith(closing, a, b)
        if fits and (len(opening) != 3 or text.find(opening, a + 3, b - 3) < 0):
            return len(opening), len(closing)
    return 0, 0


def _unwrapped(text: str, piece: Piece) -> Iterator[Piece]:
    """A document without the quotation marks around it, where they stand nowhere inside."""
    opening, closing = _wrapping(text, piece.start, piece.end)
    first = text[piece.start : piece.start + opening]
    if opening not in (1, len(_CDATA)) or text.find(first, piece.start + opening, piece.end - closing) >= 0:
        yield piece
        return
    a, b = stripped(text, piece.start + opening, piece.end - closing)
    yield Piece(piece.start, piece.start + opening, Kind.OTHER)
    if a < b:
        yield replace(piece, start=a, end=b)
    yield Piece(piece.end - closing, piece.end, Kind.OTHER)


def _preamble(text: str, start: int, end: int) -> int:
    """End of the short lines before material of which the last ends with a colon; 0 where there are none."""
    found = 0
    for i, (a, b) in enumerate(lines(text, start, end)):
        if i > 2 or b - a > 200:
            break
        if text[b - 1] in ":：" and not shapes.keyword(text[a:b]):
            found = b
        elif i == 0 and (match := _COLON.match(text, a, b)) and labels.meaning(match[1]) is Meaning.OBSERVATION:
            return match.end()
    return found


def _prose(text: str, start: int, end: int, kind: Kind, title: str) -> Iterator[Piece]:
    """Documents in prose: a new one begins behind a mark or title, and with every long paragraph."""
    rows = list(lines(text, start, end))
    document: str | None = title or None
    opened: int | None = None
    fenced = False
    for i, (a, b) in enumerate(rows):
        fence = text.startswith("```", a)
        fenced ^= fence
        if fenced or fence:
            opened = a if opened is None else opened
            continue
        fresh = i == 0 or text.count("\n", rows[i - 1][1], a) > 1
        following = text[slice(*rows[i + 1])] if i + 1 < len(rows) else ""
        head = _head(text[a : min(b, a + 400)], b - a, following, fresh or opened is None)
        if opened is not None and (head or (fresh and b - a >= BULK)):
            yield Piece(opened, rows[i - 1][1], kind, document)
            opened = None
        if head:
            c, d = stripped(text, a, a + head)
            yield Piece(c, d, Kind.OTHER)
            document = text[c:d].strip("[]()#:：") or document
            a, _ = stripped(text, a + head, b)
        if opened is None and a < b:
            opened = a
    if opened is not None:
        yield Piece(opened, rows[-1][1], kind, document)


def _head(line: str, size: int, following: str, fresh: bool) -> int:
    """How much of a line is a document's mark, title or property; 0: none of it. `line` may be cut,
    `size` is whole."""
    if (size <= 5 and not any(c.isalnum() for c in line)) or _LINK.match(line):
        return size
    if mark := _mark(line, size, following):
        rest = line[mark:].strip()
        whole = size <= 200 and (not rest or rest[-1] in ":：" or _headline(rest, following))
        return size if whole else mark
    if length := _property(line, size, following, fresh):
        return length
    short = size <= 120
    if short and line[-1] in ":：" and not shapes.keyword(line):
        return size
    return size if fresh and short and _headline(line, following) else 0


def _mark(line: str, size: int, following: str) -> int:
    """Length of the mark of a document; 0 also for the tags of a log, many marked short lines in a row."""
    mark = document_mark(line)
    record = size < 120 and any(c.isalpha() for c in line[:mark]) and document_mark(following[:80])
    return 0 if record else mark


def document_mark(line: str) -> int:
    """Length of a mark like "[1]", "2. ", "Document 2", "leave.pdf:" at the start of a line; 0 where there is none."""
    for pattern in (_FILE_NAME, _BRACKETED, _NUMBER):
        if match := pattern.match(line[:200]):
            return match.end()
    worded = _WORDED.match(line[:80])
    named = worded and labels.meaning(worded[1]) in (Meaning.CONTEXT, Meaning.CODE, Meaning.META)
    return worded.end() if worded and named else 0


def _property(line: str, size: int, following: str, fresh: bool) -> int:
    """Length of `name: value` where the name is a property's, or of `Name:` alone where a text follows it."""
    label = _COLON.match(line)
    if not label:
        return size if fresh and _names_value(line) else 0
    name, value = label[1].strip("*_- "), line[label.end() :].strip()
    property_of = labels.is_property(name)
    material = labels.meaning(name) is Meaning.CONTEXT
    if value and size <= 200 and (fresh or property_of) and ("_" in name or property_of or material):
        return size
    follows = len(following) >= BULK or _COLON.match(following[:60])
    if fresh and 0 < len(value) <= 90 and len(name.split()) <= 3 and follows:
        return size
    if (fresh or property_of) and material and len(name.split()) <= 2:
        return label.end()
    return label.end() if fresh and size - label.end() >= 100 else 0


def _names_value(line: str) -> bool:
    head, colon, value = line[:200].partition(":")
    return bool(colon and value.strip()) and "_" in head and " " not in head.strip()


def _headline(line: str, following: str) -> bool:
    """Whether a short line is the title of the long one, or of the link, after it."""
    if len(line) > 120 or line[-1] in _ENDINGS:
        return False
    return bool(_LINK.match(following)) or len(following) >= max(100, 1.5 * len(line))


def json_values(text: str, start: int, end: int, kind: Kind, title: str) -> Iterator[Piece]:
    """JSON in a prompt: long string values are material, a value under a question's key is the question. Records of
    short values are material as a whole."""
    if _records(text, start, end):
        yield Piece(start, end, kind, title or None)
        return
    position, meaning = start, None
    for match in _strings(text, start, end):
        a, b = stripped(text, *match.span(1))
        if match[2]:
            meaning = labels.meaning(match[1][:100].replace("_", " "))
        elif a < b and (meaning is Meaning.QUESTION or b - a >= 60):
            yield from _other(text, position, match.start(1))
            guard = "existing answer" if meaning in (Meaning.ANSWER, Meaning.EXISTING) else ""
            yield Piece(a, b, Kind.QUESTION if meaning is Meaning.QUESTION else kind, title or None, guard)
            position = match.end(1)
    yield from _other(text, position, end)


def _strings(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    """The strings of JSON. Stops at one that is never closed: to look on behind it would take quadratic time."""
    at = text.find('"', start, end)
    while at >= 0 and (match := _STRING.match(text, at, end)):
        yield match
        at = text.find('"', match.end(), end)


def _other(text: str, start: int, end: int) -> Iterator[Piece]:
    a, b = stripped(text, start, end)
    if a < b:
        yield Piece(a, b, Kind.OTHER)


def _records(text: str, start: int, end: int) -> bool:
    """Whether JSON is lines of objects, or holds few long strings; never where one of its keys is a question's."""
    stop = min(end, start + 20_000)
    long = 0
    for match in _strings(text, start, stop):
        if match[2] and labels.meaning(match[1][:100].replace("_", " ")) is Meaning.QUESTION:
            return False
        size = match.end(1) - match.start(1)
        long += size if size >= 60 else 0
    return text.count("\n{", start, end) > 0 or long < 0.3 * (stop - start)
