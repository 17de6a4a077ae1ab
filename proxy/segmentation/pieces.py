"""Cuts one text into pieces of a kind: what its sections say, and, where they say nothing, what it looks like."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policies.base import Kind
from proxy.segmentation import labels, shapes
from proxy.segmentation.labels import Meaning
from proxy.segmentation.markers import lines, stripped
from proxy.segmentation.sections import Section, announces, blocks, points_back, read

BULK = 250  # characters from which an unlabelled paragraph may be pasted material


@dataclass(frozen=True, slots=True)
class Piece:
    start: int
    end: int
    kind: Kind
    document: str | None = None
    guard: str = ""


_KINDS = {
    Meaning.CONTEXT: Kind.CONTEXT,
    Meaning.CODE: Kind.CODE,
    Meaning.HISTORY: Kind.HISTORY,
    Meaning.OBSERVATION: Kind.TOOL_OUTPUT,
    Meaning.STEP: Kind.HISTORY,
    Meaning.EXAMPLE: Kind.DEMONSTRATION,
    Meaning.EXISTING: Kind.CONTEXT,
    Meaning.ANSWER: Kind.OTHER,
    Meaning.QUESTION: Kind.QUESTION,
    Meaning.INSTRUCTION: Kind.INSTRUCTION,
    Meaning.META: Kind.OTHER,
    Meaning.SPEAKER: Kind.OTHER,
}
_MATERIAL = (Kind.CONTEXT, Kind.CODE, Kind.HISTORY, Kind.TOOL_OUTPUT)
_STRING = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?', re.DOTALL)
_COLON = re.compile(r"([^\W\d_][^:：\n]{0,30})[:：]")
_QUOTES = {'"': '"', "'": "'", "«": "»", "“": "”", "„": "“", "「": "」", "『": "』", "‘": "’"}
_CDATA = "<![CDATA["
_LISTED = re.compile(r"(?:[-*•+]|\d{1,2}[.)])\s")
_FORMAT = re.compile(
    r"\b(?:format\w*|schema|example|template|respond|return|output|as follows|like this|such as|syntax|beispiel|exemple"
    r"|ejemplo|exemplo|esempio|пример)\b|例|形式|格式|예시|형식",
    re.IGNORECASE,
)


def cut(text: str, role: str) -> list[Piece]:
    """The pieces of a text, ordered, apart, covering all that is not blank. `role` as in the message."""
    whole = stripped(text, 0, len(text))
    if role in ("tool", "function"):
        return list(_tool_output(text, *whole))
    if role == "user" and shapes.jsonlike(text[whole[0] : whole[1]]):
        return list(_json(text, *whole, Kind.CONTEXT, ""))
    sections = read(text, role)
    if role == "assistant" and not any(s.meaning in (Meaning.OBSERVATION, Meaning.STEP) for s in sections):
        return [Piece(*whole, Kind.HISTORY)] if whole[0] < whole[1] else []
    return list(_Cutter(text, role, sections).run())


def _tool_output(text: str, start: int, end: int) -> Iterator[Piece]:
    if not text.startswith("<", start) or shapes.data(text[start:end]):
        yield from documents(text, start, end, Kind.TOOL_OUTPUT, "")
        return
    for section in read(text, "tool"):
        if section.marker:
            yield Piece(*stripped(text, section.start, section.end), Kind.OTHER)
        else:
            yield from documents(text, section.start, section.end, Kind.TOOL_OUTPUT, section.title)


@dataclass(slots=True)
class _Cutter:
    text: str
    role: str
    sections: list[Section]
    answers: int = 0

    def run(self) -> Iterator[Piece]:
        self.answers = sum(1 for s in self.sections if s.meaning is Meaning.ANSWER and s.closed)
        labelled = any(not s.marker and s.meaning in _LABELLED and s.end - s.start >= 100 for s in self.sections)
        asked = any(not s.marker and s.meaning is Meaning.QUESTION for s in self.sections)
        for i, section in enumerate(self.sections):
            before = self.text[max(0, section.start - 300) : section.start].rstrip(" \n`")
            if section.marker:
                a, b = stripped(self.text, section.start, section.end)
                yield Piece(a, b, Kind.OTHER)
            elif section.meaning is None:
                yield from self.loose(section, before, labelled, asked)
            elif section.meaning is Meaning.QUESTION and section.inline:
                yield from self.asked_inline(section, labelled)
            else:
                yield from self.known(section, i)

    def asked_inline(self, section: Section, labelled: bool) -> Iterator[Piece]:
        """`Question: ...` is one paragraph long; what follows it is read as if it stood alone."""
        found = list(blocks(self.text, section.start, section.end))
        yield Piece(*found[0], Kind.QUESTION)
        if self.role == "user" and found[1:]:
            yield from self.unlabelled(found[1:], "", labelled, True)
        else:
            yield from (Piece(a, b, Kind.QUESTION) for a, b in found[1:])

    def known(self, section: Section, i: int) -> Iterator[Piece]:
        meaning = section.meaning
        assert meaning is not None
        kind = _KINDS[meaning]
        a, b = stripped(self.text, section.start, section.end)
        if meaning is Meaning.STEP and self.role == "system":
            yield Piece(a, b, Kind.INSTRUCTION)
        elif meaning is Meaning.OBSERVATION and self.role == "system":
            yield Piece(a, b, Kind.INSTRUCTION)
        elif meaning is Meaning.EXISTING:
            yield Piece(a, b, kind, section.title, "existing answer")
        elif meaning is Meaning.ANSWER and section.closed and self.answers > 1:
            yield from documents(self.text, a, b, Kind.CONTEXT, section.title)
        elif meaning is Meaning.ANSWER and self.role != "assistant":
            yield from self.answer(a, b)
        elif kind in _MATERIAL and meaning is not Meaning.STEP:
            if self.role == "system" and not self.material_in_system(section):
                yield Piece(a, b, Kind.INSTRUCTION)
            elif section.fenced or (section.closed and not self.edged(a, b)):
                yield from documents(self.text, a, b, kind, section.title)
            else:
                yield from self.trimmed(a, b, kind, section.title)
        else:
            yield Piece(a, b, kind, section.title if kind is Kind.DEMONSTRATION else None)

    def material_in_system(self, section: Section) -> bool:
        """A system text explains its own headings: only what is long, and no list of rules, is taken for material."""
        text = self.text[section.start : section.end].strip()
        if section.closed or section.fenced:
            return not shapes.addressed(text[:400]) or len(text) > 1500
        size = sum(
            shapes.weight(self.text[c:d])
            for c, d in blocks(self.text, section.start, section.end)
            if self.template_kind(c, d) is None
        )
        return size >= 400

    def edged(self, a: int, b: int) -> bool:
        """Whether a closed section ends with sentences of the template after all."""
        found = list(blocks(self.text, max(a, b - 3000), b))
        c, d = found[-1] if found else (a, b)
        whole = len(found) == 1 and d - c <= 600 and shapes.addressed(self.text[c:d], strictly=True)
        return whole or (d - c <= 300 and len(found) > 1 and self.template_kind(c, d) is Kind.INSTRUCTION)

    def answer(self, a: int, b: int) -> Iterator[Piece]:
        for c, d in blocks(self.text, a, b):
            yield Piece(c, d, Kind.INSTRUCTION)

    def trimmed(self, a: int, b: int, kind: Kind, title: str) -> Iterator[Piece]:
        """An open section: sentences of the template at its edges are cut off, the rest is material."""
        found = list(blocks(self.text, a, b))
        kinds = [self.template_kind(c, d, kind) for c, d in found]
        first = next((i for i, k in enumerate(kinds) if k is None), len(kinds))
        last = next((i for i in range(len(kinds) - 1, -1, -1) if kinds[i] is None), -1)
        for i, (c, d) in enumerate(found):
            template = kinds[i] if i < first or i > last or self.role == "system" else None
            if template:
                yield Piece(c, d, template)
        if first <= last:
            yield from self.material(found, kinds, first, last, kind, title)

    def material(
        self, found: list[tuple[int, int]], kinds: list[Kind | None], first: int, last: int, kind: Kind, title: str
    ) -> Iterator[Piece]:
        start: int | None = None
        for i in range(first, last + 1):
            stays = self.role == "system" and kinds[i] is not None
            if stays and start is not None:
                yield from documents(self.text, start, found[i - 1][1], kind, title)
                start = None
            elif not stays and start is None:
                start = found[i][0]
        if start is not None:
            yield from documents(self.text, start, found[last][1], kind, title)

    def template_kind(self, a: int, b: int, kind: Kind = Kind.CONTEXT) -> Kind | None:
        """Question or instruction where a block of an open section reads as one; None where it is material."""
        block = self.text[a:b]
        if shapes.data(block):
            return None
        if b - a <= 400 and block[-1] in ":：":
            return Kind.OTHER
        if shapes.placeholders(block) or (b - a <= 200 and points_back(block)):
            return Kind.INSTRUCTION
        if self.role == "system" and (_LISTED.match(block) or shapes.addressed(block, strictly=True)):
            return Kind.INSTRUCTION
        if kind is not Kind.HISTORY and b - a <= 400 and shapes.asks(block):
            return Kind.QUESTION
        return Kind.INSTRUCTION if b - a <= 900 and shapes.addressed(block) else None

    def loose(self, section: Section, before: str, labelled: bool, asked: bool) -> Iterator[Piece]:
        a, b = stripped(self.text, section.start, section.end)
        if section.fenced:
            yield from self.fence(a, b, before, section.title)
        elif self.role == "user":
            yield from self.unlabelled(list(blocks(self.text, a, b)), before, labelled, asked)
        elif self.role == "assistant":
            yield Piece(a, b, Kind.HISTORY)
        else:
            yield from self.announced(list(blocks(self.text, a, b)))

    def fence(self, a: int, b: int, before: str, title: str) -> Iterator[Piece]:
        if self.role == "system" or (before and _FORMAT.search(before[-300:])):
            yield Piece(a, b, Kind.INSTRUCTION)
        elif self.role == "assistant":
            yield Piece(a, b, Kind.HISTORY)
        else:
            kind = Kind.CODE if shapes.code(shapes.rows_of(self.text[a:b])) else Kind.CONTEXT
            yield from [Piece(a, b, kind, title)] if kind is Kind.CODE else documents(self.text, a, b, kind, title)

    def announced(self, found: list[tuple[int, int]]) -> Iterator[Piece]:
        """System text: instructions, but for the paragraphs behind one that announces material."""
        said: Meaning | None = None
        for a, b in found:
            block = self.text[a:b]
            if said and shapes.weight(block) >= BULK and self.template_kind(a, b) is None:
                yield from documents(self.text, a, b, _KINDS[said], "")
                continue
            yield Piece(a, b, Kind.INSTRUCTION)
            said = announces(block) if shapes.addressed(block) or block[-1] in ":：" else said

    def unlabelled(self, found: list[tuple[int, int]], before: str, labelled: bool, asked: bool) -> Iterator[Piece]:
        """User text without a label: long paragraphs that neither ask nor order nor speak of the writer are pasted."""
        texts = [self.text[a:b] for a, b in found]
        bulk = [self.pasted(t) for t in texts]
        said = [bool(announces(t)) for t in [before, *texts]]
        if labelled:
            bulk = [is_bulk and said[i] for i, is_bulk in enumerate(bulk)]
        alone = all(bulk) and not asked
        if alone and not any(map(shapes.data, texts)) and sum(map(len, texts)) < 1000:
            bulk = [False] * len(bulk)
        question = any(shapes.asks(t) for t, is_bulk in zip(texts, bulk, strict=True) if not is_bulk)
        for (a, b), text, is_bulk in zip(found, texts, bulk, strict=True):
            if is_bulk:
                yield from (
                    self.bare(a, b) if not question and not asked else documents(self.text, a, b, Kind.CONTEXT, "")
                )
            elif (question or asked or labelled) and not shapes.asks(text):
                yield Piece(a, b, Kind.INSTRUCTION)
            else:
                yield Piece(a, b, Kind.QUESTION)

    def bare(self, a: int, b: int) -> Iterator[Piece]:
        """Pasted text in a message without a question of its own: it may stand at the end of the very paragraph."""
        c, d = a, b
        head = self.text.find(": ", a, a + 160)
        if head > 0 and announces(self.text[a : head + 1]) or head > 0 and shapes.personal(self.text[a : head + 1]):
            c = head + 1
        asked = max(self.text.rfind(mark, max(a, b - 400), b) for mark in "?？")
        if asked > 0 and not shapes.data(self.text[a:b]):
            d = max((self.text.rfind(e, a, asked) for e in (". ", "! ", "。", "\n")), default=-1) + 1
            d = d if d > c else b
        if c > a:
            yield Piece(a, c, Kind.OTHER)
        yield from documents(self.text, c, d, Kind.CONTEXT, "")
        if d < b:
            yield Piece(*stripped(self.text, d, b), Kind.QUESTION)

    def pasted(self, block: str) -> bool:
        if len(block) < 150:
            return False
        if shapes.data(block):
            return True
        return shapes.weight(block) >= BULK and not (
            shapes.addressed(block) or shapes.personal(block) or shapes.asks(block)
        )


_LABELLED = (Meaning.CONTEXT, Meaning.CODE, Meaning.HISTORY, Meaning.OBSERVATION)


def documents(text: str, start: int, end: int, kind: Kind, title: str) -> Iterator[Piece]:
    """Material: its documents, with their marks, titles and source lines apart."""
    a, b = stripped(text, start, end)
    if c := _preamble(text, a, b):
        yield Piece(a, c, Kind.OTHER)
        a, b = stripped(text, c, b)
    if a >= b:
        return
    opening, closing = _wrapping(text, a, b)
    if opening:
        yield Piece(a, a + opening, Kind.OTHER)
        yield from _unwrapped(text, *stripped(text, a + opening, b - closing), kind, title)
        yield Piece(b - closing, b, Kind.OTHER)
    else:
        yield from _unwrapped(text, a, b, kind, title)


def _wrapping(text: str, a: int, b: int) -> tuple[int, int]:
    """Lengths of the quotation marks, or the CDATA tags, around material; (0, 0) where it has none."""
    if b - a > 2 and _QUOTES.get(text[a]) == text[b - 1] and not shapes.jsonlike(text[a:b]):
        return 1, 1
    if b - a > len(_CDATA) + 3 and text.startswith(_CDATA, a) and text.endswith("]]>", a, b):
        return len(_CDATA), 3
    return 0, 0


def _unwrapped(text: str, a: int, b: int, kind: Kind, title: str) -> Iterator[Piece]:
    if a >= b:
        return
    whole = text[a:b]
    if kind is not Kind.TOOL_OUTPUT and shapes.jsonlike(whole):
        yield from _json(text, a, b, kind, title)
        return
    if kind is Kind.HISTORY:
        yield Piece(a, b, kind, title or None)
        return
    if shapes.data(whole):
        rows = shapes.rows_of(whole)
        is_code = kind is Kind.CONTEXT and shapes.code(rows) and not shapes.transcript(rows)
        yield Piece(a, b, Kind.CODE if is_code else kind, title or None)
        return
    for piece in _prose(text, a, b, kind, title):
        yield from _unquoted(text, piece) if piece.kind is kind else [piece]


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
        following = text[rows[i + 1][0] : rows[i + 1][1]] if i + 1 < len(rows) else ""
        head = _head(text[a : min(b, a + 400)], b - a, following, fresh or opened is None)
        if head == 0 and opened is None:
            opened = a
        elif head == 0 and fresh and b - a >= BULK and opened is not None:
            yield Piece(opened, rows[i - 1][1], kind, document)
            opened = a
        elif head:
            if opened is not None:
                yield Piece(opened, rows[i - 1][1], kind, document)
            a2, b2 = stripped(text, a, a + head)
            yield Piece(a2, b2, Kind.OTHER)
            document = text[a2:b2].strip("[]()#:：") or document
            c, d = stripped(text, a + head, b)
            opened = c if c < d else None
    if opened is not None:
        yield Piece(opened, rows[-1][1], kind, document)


def _unquoted(text: str, piece: Piece) -> Iterator[Piece]:
    """Material without the quotation marks around it."""
    first, last = text[piece.start], text[piece.end - 1]
    if (
        piece.end - piece.start < 3
        or _QUOTES.get(first) != last
        or text.find(first, piece.start + 1, piece.end - 1) >= 0
    ):
        yield piece
        return
    a, b = stripped(text, piece.start + 1, piece.end - 1)
    yield Piece(piece.start, piece.start + 1, Kind.OTHER)
    if a < b:
        yield replace(piece, start=a, end=b)
    yield Piece(piece.end - 1, piece.end, Kind.OTHER)


def _head(line: str, size: int, following: str, fresh: bool) -> int:
    """How much of a line is a document's mark, title or property; 0: none of it."""
    if size <= 5 and not any(c.isalnum() for c in line):
        return size
    mark = shapes.document_mark(line)
    if mark and not (size < 120 and _record_mark(line[:mark]) and shapes.document_mark(following[:80])):
        rest = line[mark:].strip()
        whole = size <= 200 and (not rest or rest[-1] in ":：" or shapes.headline(rest, following))
        return size if whole else mark
    label = _COLON.match(line)
    named = label is not None and labels.is_property(label[1])
    if size <= 200 and shapes.metadata(line) and (fresh or named):
        return size
    if (
        fresh
        and size <= 130
        and shapes.property_line(line)
        and (len(following) >= BULK or shapes.property_line(following))
    ):
        return size
    if label and (fresh or named) and labels.meaning(label[1]) is Meaning.CONTEXT and len(label[1].split()) <= 2:
        return label.end()
    if label and fresh and size - label.end() >= 100:
        return label.end()
    if size <= 120 and line[-1] in ":：" and not shapes.keyword(line):
        return size
    if fresh and size <= 120 and following and shapes.headline(line, following):
        return size
    return 0


def _record_mark(mark: str) -> bool:
    """Whether a mark is more than a number, as "[gw1]" is; many such lines in a row are a log, not documents."""
    return any(c.isalpha() for c in mark)


def _json(text: str, start: int, end: int, kind: Kind, title: str) -> Iterator[Piece]:
    """JSON in a prompt: long string values are material, a value under a question's key is the question. Records
    of short values are material as a whole."""
    position, name = start, ""
    if _records(text, start, end):
        yield Piece(start, end, kind, title or None)
        return
    for match in _STRING.finditer(text, start, end):
        if match[2]:
            name = match[1]
            continue
        meaning = labels.meaning(name.replace("_", " "))
        asks = meaning is Meaning.QUESTION and match.end(1) > match.start(1)
        if not asks and (match.end(1) - match.start(1) < 60):
            continue
        a, b = stripped(text, position, match.start(1))
        if a < b:
            yield Piece(a, b, Kind.OTHER)
        a, b = stripped(text, *match.span(1))
        guard = "existing answer" if meaning in (Meaning.ANSWER, Meaning.EXISTING) else ""
        yield Piece(a, b, Kind.QUESTION if asks else kind, title or None, guard)
        position = match.end(1)
    a, b = stripped(text, position, end)
    if a < b:
        yield Piece(a, b, Kind.OTHER)


def _records(text: str, start: int, end: int) -> bool:
    lined = text.count("\n{", start, end) > 0  # JSON lines
    long = 0
    for match in _STRING.finditer(text, start, min(end, start + 20_000)):
        if match[2] and labels.meaning(match[1].replace("_", " ")) is Meaning.QUESTION:
            return False
        size = match.end(1) - match.start(1)
        long += size if size >= 60 else 0
    return lined or long < 0.3 * min(end - start, 20_000)


def joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of the same kind, document and guard as one, but for material, whose documents stay apart."""
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if last and piece.kind is last.kind and piece.kind not in _MATERIAL and piece.guard == last.guard:
            out[-1] = replace(last, end=piece.end)
        else:
            out.append(piece)
    return out
