"""Cuts one text into pieces of a kind: what its sections say, and, where they say nothing, what it looks like."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policies.base import Kind
from proxy.segmentation import labels, sentences, series, shapes
from proxy.segmentation.documents import BULK, Piece, documents, json_values
from proxy.segmentation.edges import apart
from proxy.segmentation.labels import Meaning
from proxy.segmentation.markers import lines, stripped
from proxy.segmentation.paragraphs import blocks
from proxy.segmentation.pasted import framed, introduction, last_question, leading, ordered, pasted, told
from proxy.segmentation.printed import shell, tool_output
from proxy.segmentation.sections import Section, read
from proxy.segmentation.template import Blocks, Template

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
_DOCUMENTED = (Meaning.CONTEXT, Meaning.CODE, Meaning.HISTORY, Meaning.OBSERVATION)
_LEAST_IN_SYSTEM = 400  # characters of an open section of a system text that may be material
_PROPERTY = 200  # characters of a title or a source that stands in a tag of its own
_LAST_WORD = 600  # characters of the last paragraph of a message that may be what the user wants
_NEVER = 1_000_000  # characters: in a system text without a label, bullets and headings are no sign
_AGAIN = 3  # sections of one label that are data, not a cue
_CLEARLY = 1500  # characters of unlabelled paragraphs that are pasted beyond doubt
_PLAN = 40  # lines of a fence in which the steps of a plan are looked for
_FEWEST_STEPS = 2
_LEAST_ALONE = 1000  # characters of unlabelled prose that may be material in a message without any question


def cut(text: str, role: str) -> list[Piece]:
    """The pieces of a text, ordered, apart, covering all that is not blank. `role` is "system", "user", "assistant" or
    "tool"."""
    a, b = stripped(text, 0, len(text))
    if role == "shell":
        return list(shell(text, a, b))
    if role in ("tool", "function"):
        return list(apart(text, joined(tool_output(text, a, b))))
    if role == "user" and shapes.jsonlike(text[a:b]):
        return joined(json_values(text, a, b, Kind.CONTEXT, ""))
    if role == "user" and shapes.patch(text[a:b]):
        return list(apart(text, [Piece(a, b, Kind.CODE)], last_word=True))
    if role == "assistant" and shapes.jsonlike(text[a:b].removeprefix("```json").removesuffix("```").strip()):
        return [Piece(a, b, Kind.HISTORY, guard="structured answer")]  # read by programs, and repaired by the model
    sections = read(text, role)
    if role == "assistant" and not any(s.meaning in (Meaning.OBSERVATION, Meaning.STEP) for s in sections):
        return [Piece(a, b, Kind.HISTORY)] if a < b else []
    labelled = any(not s.marker and s.meaning in _DOCUMENTED and s.end - s.start >= 100 for s in sections)
    asked = any(not s.marker and s.meaning is Meaning.QUESTION for s in sections)
    answers = sum(1 for s in sections if s.meaning is Meaning.ANSWER and s.closed)
    template = Template(text, role, sentences.persona(text) if role == "system" else "")
    titles = Counter(labels.form(s.title) for s in sections if not s.marker)
    pieces = joined(_Cutter(text, role, sections, labelled, asked, answers, titles, template).run())
    return list(apart(text, pieces, last_word=role == "user"))


def joined(pieces: Iterator[Piece]) -> list[Piece]:
    """Neighbours of one kind as one piece, but for material, whose documents stay apart."""
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if last and piece.kind is last.kind and piece.kind not in _MATERIAL and piece.guard == last.guard:
            out[-1] = replace(last, end=piece.end)
        else:
            out.append(piece)
    return out


def surely(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces, of which no word makes anything else."""
    return (replace(piece, sure=True) for piece in pieces)


@dataclass(frozen=True, slots=True)
class _Cutter:
    """`labelled`: some section holds material; `asked`: some section is the question; `answers`: closed sections that
    are answers, of which a list of questions and answers has several; `titles`: how many sections have each title;
    `template`: tells the paragraphs of open sections."""

    text: str
    role: str
    sections: list[Section]
    labelled: bool
    asked: bool
    answers: int
    titles: Counter[str]
    template: Template

    def run(self) -> Iterator[Piece]:
        for section in self.sections:
            before = self.text[max(0, section.start - 300) : section.start].rstrip(" \n`")
            a, b = stripped(self.text, section.start, section.end)
            if section.marker:
                yield Piece(a, b, Kind.OTHER)
            elif section.meaning is not None:
                yield from self.known(section, section.meaning)
            elif section.fenced:
                yield from self.fence(a, b, before, section.title)
            elif self.role == "user":
                yield from self.unlabelled(list(blocks(self.text, a, b)), before, self.asked)
            elif self.role == "assistant":
                yield Piece(a, b, Kind.HISTORY)
            else:
                yield from self.announced(a, b)

    def known(self, section: Section, meaning: Meaning) -> Iterator[Piece]:
        kind = _KINDS[meaning]
        a, b = stripped(self.text, section.start, section.end)
        if meaning is Meaning.QUESTION and section.inline:
            yield from self.question(a, b)
        elif section.closed and labels.is_property(section.title) and b - a <= _PROPERTY and "\n" not in self.text[a:b]:
            yield Piece(a, b, Kind.OTHER)
        elif meaning is Meaning.EXISTING:
            yield Piece(a, b, kind, section.title, "existing answer")
        elif meaning is Meaning.ANSWER and section.closed and self.answers > 1:
            yield from documents(self.text, a, b, Kind.CONTEXT, section.title)
        elif meaning is Meaning.ANSWER and b - a >= BULK and self.repeats(section.title):
            yield from documents(self.text, a, b, Kind.TOOL_OUTPUT, section.title)
        elif meaning is Meaning.ANSWER and self.role != "assistant":
            yield Piece(a, b, Kind.INSTRUCTION)
        elif meaning is Meaning.QUESTION and self.payload(section):
            yield from self.material(section, Kind.CONTEXT)
        elif meaning in _DOCUMENTED:
            yield from self.material(section, kind)
        else:
            yield Piece(a, b, kind, section.title if kind is Kind.DEMONSTRATION else None)

    def repeats(self, title: str) -> bool:
        """Whether a label ("Output:") comes again and again in a text that shows no examples: what it names is data."""
        shown = any(s.meaning in (Meaning.QUESTION, Meaning.EXAMPLE) for s in self.sections)
        return not shown and self.again(title)

    def again(self, title: str) -> bool:
        """Whether several sections have this title."""
        return bool(title) and self.titles[labels.form(title)] >= _AGAIN

    def payload(self, section: Section) -> bool:
        """Whether an "input" is long and says nothing to the model: then the task stands elsewhere."""
        text = self.text[section.start : section.end].strip()
        named = labels.words(section.title)[-1:] == ["input"] and sentences.weight(text) >= _CLEARLY // 2
        return named and not (sentences.asks(text) or sentences.addressed(text) or sentences.personal(text))

    def question(self, a: int, b: int) -> Iterator[Piece]:
        """`Question: ...` is one paragraph long; what follows it is read as if it stood alone."""
        first, *rest = blocks(self.text, a, b)
        yield Piece(*first, Kind.QUESTION)
        if self.role == "user":
            yield from self.unlabelled(rest, "", asked=True)
        else:
            yield from (Piece(c, d, Kind.QUESTION) for c, d in rest)

    def material(self, section: Section, kind: Kind) -> Iterator[Piece]:
        a, b = stripped(self.text, section.start, section.end)
        if self.role == "system" and not self.material_in_system(section):
            yield Piece(a, b, Kind.INSTRUCTION)
        elif section.fenced or (section.closed and not self.has_template_end(a, b)):
            yield from documents(self.text, a, b, kind, section.title)
        elif labels.stands_alone(section.title) and not shapes.data(self.text[a:b]):
            yield from self.unlabelled(list(blocks(self.text, a, b)), "", self.asked)
        else:
            yield from self.trimmed(a, b, kind, section.title)

    def material_in_system(self, section: Section) -> bool:
        """A system text explains its own headings: only what is long, and no list of rules, is taken for material."""
        text = self.text[section.start : section.end].strip()
        long = sentences.weight(text) >= BULK and not sentences.addressed(text, strictly=True)
        if (section.fenced or long) and self.again(section.title):
            return True
        if section.closed or section.fenced:
            ruled = sentences.leads(self.template.persona, text) > 1
            return not ruled and (
                not sentences.addressed(text[:400]) or (len(text) > 1500 and not sentences.addressed(text))
            )
        found = list(blocks(self.text, section.start, section.end))
        kinds = self.template.kinds(found, Kind.CONTEXT)
        size = sum(sentences.weight(self.text[c:d]) for (c, d), said in zip(found, kinds, strict=True) if said is None)
        return size >= _LEAST_IN_SYSTEM

    def has_template_end(self, a: int, b: int) -> bool:
        """Whether a closed section ends with sentences of the template after all, or is nothing else."""
        found = list(blocks(self.text, max(a, b - 3000), b))
        c, d = found[-1]
        if len(found) == 1:
            return d - c <= 600 and sentences.addressed(self.text[c:d], strictly=True)
        return d - c <= 300 and self.template.kind_of(c, d) is Kind.INSTRUCTION

    def trimmed(self, a: int, b: int, kind: Kind, title: str) -> Iterator[Piece]:
        """An open section: sentences of the template at its edges are cut off, the rest is material. In a system text
        they are cut out everywhere."""
        found = list(blocks(self.text, a, b))
        kinds = self.template.kinds(found, kind)
        inner = [i for i, k in enumerate(kinds) if k is None]
        if len(inner) == 1 and self.role == "user" and kind is Kind.CONTEXT:
            (only,) = inner
            if self.told(*found[only]):
                kinds[only], inner = Kind.INSTRUCTION, []
        everywhere = self.role == "system"
        if inner and self.last_word(found, inner[-1], b, kind):
            kinds[inner.pop()] = Kind.QUESTION if self.role == "user" else Kind.INSTRUCTION
        start: int | None = None
        for i, ((c, d), template) in enumerate(zip(found, kinds, strict=True)):
            edge = not inner or i < inner[0] or i > inner[-1]
            if template and (edge or everywhere):
                if start is not None:
                    yield from documents(self.text, start, found[i - 1][1], kind, title)
                    start = None
                yield Piece(c, d, template)
            elif start is None:
                start = c
        if start is not None:
            yield from documents(self.text, start, b, kind, title)

    def last_word(self, found: Blocks, i: int, end: int, kind: Kind) -> bool:
        """Whether a block that ends an open section is said to the model: the last paragraph of a message that asks for
        nothing in words that we know, a sentence behind data or a fence, a short remark that ends a system text."""
        a, b = found[i]
        closed = kind is Kind.CODE or self.text[max(0, a - 9) : a].rstrip().endswith(("```", '"""', "'''"))
        if (i == 0 and not closed) or b != end or shapes.data(self.text[a:b]):
            return False
        if self.role == "system":
            return b - a <= _PROPERTY // 2
        if self.role != "user" or b - a > _LAST_WORD or self.text[end:].strip():
            return False
        if sentences.said(self.text[a:b]) and (closed or shapes.data(self.text[found[0][0] : found[i - 1][1]])):
            return True
        return i > 0 and not self.asked and not self.spoken()

    def spoken(self) -> bool:
        """Whether some text outside of the material asks or orders."""
        plain = (s for s in self.sections if s.meaning in (None, Meaning.INSTRUCTION, Meaning.QUESTION))
        texts = [self.text[s.start : s.end].strip() for s in plain]
        return any(sentences.asks(t) or sentences.addressed(t, strictly=True) for t in texts if t)

    def told(self, a: int, b: int) -> bool:
        """Whether what is called context is what the user says of himself."""
        return not shapes.data(self.text[a:b]) and sentences.personal(self.text[a:b])

    def fence(self, a: int, b: int, before: str, title: str) -> Iterator[Piece]:
        if self.role == "system" or sentences.speaks_of_format(before) or self.planned(a, b):
            yield Piece(a, b, Kind.INSTRUCTION)
        elif self.role == "assistant":
            yield Piece(a, b, Kind.HISTORY)
        elif shapes.code(rows := shapes.rows_of(self.text[a:b])) or shapes.language(title):
            yield Piece(a, b, Kind.CODE, title)
        elif len(rows) >= 6 and sum(map(len, rows)) < 80 * len(rows):
            yield Piece(a, b, Kind.CONTEXT, title)
        else:
            yield from documents(self.text, a, b, Kind.CONTEXT, title)

    def planned(self, a: int, b: int) -> bool:
        """Whether a fence holds the steps of a plan, which are to be carried out."""
        return sum(labels.steps(self.text[c:d]) for c, d in list(lines(self.text, a, b))[:_PLAN]) >= _FEWEST_STEPS

    def announced(self, start: int, end: int) -> Iterator[Piece]:
        """System text: instructions, but for the paragraphs behind one that announces material."""
        said: Meaning | None = None
        found = list(blocks(self.text, start, end))
        run = series.alike([self.text[a:b] for a, b in found], _NEVER)
        for in_run, (a, b) in zip(run, found, strict=True):
            block = self.text[a:b]
            c = a + told(block)
            if not in_run and c == a and (led := leading(block)):
                yield Piece(a, a + led, Kind.INSTRUCTION)
                yield from documents(self.text, stripped(self.text, a + led, b)[0], b, Kind.CONTEXT, "")
                said = Meaning.CONTEXT
                continue
            if in_run or (c > a and sentences.weight(block) >= BULK):
                if c > a:
                    yield Piece(a, c, Kind.INSTRUCTION)
                yield from surely(documents(self.text, c, b, Kind.CONTEXT, ""))
                continue
            if said and sentences.weight(block) >= BULK and self.template.kind_of(a, b) is None:
                yield from documents(self.text, a, b, _KINDS[said], "")
                continue
            yield Piece(a, b, Kind.INSTRUCTION)
            speaks = sentences.addressed(block) or block[-1] in ":：" or b - a >= BULK
            said = sentences.announces(block) if speaks else said

    def unlabelled(self, found: Blocks, before: str, asked: bool) -> Iterator[Piece]:
        """User text without a label: long paragraphs that neither ask nor order nor speak of the writer are pasted."""
        texts = [self.text[a:b] for a, b in found]
        first, last = series.chat(texts)
        if last:
            yield from self.unlabelled(found[:first], before, asked)
            yield Piece(found[first][0], found[last - 1][1], Kind.CONTEXT, sure=True)
            yield from self.unlabelled(found[last:], "", asked)
            return
        run = series.members(texts)
        bulk = self.bulk(texts, run, before, asked)
        asked |= any(sentences.asks(t) for t, is_bulk in zip(texts, bulk, strict=True) if not is_bulk)
        for (a, b), text, is_bulk, in_run in zip(found, texts, bulk, run, strict=True):
            if is_bulk and in_run:
                yield from surely(documents(self.text, a, b, Kind.CONTEXT, ""))
            elif is_bulk:
                own = not asked or introduction(text)
                c, d = framed(text)
                if c or d < len(text):
                    yield from self.framed(a, a + c, a + d, b)
                else:
                    yield from self.bare(a, b) if own else documents(self.text, a, b, Kind.CONTEXT, "")
            elif (asked or self.labelled) and not sentences.asks(text):
                yield Piece(a, b, Kind.INSTRUCTION)
            else:
                yield Piece(a, b, Kind.QUESTION)

    def bulk(self, texts: list[str], run: list[bool], before: str, asked: bool) -> list[bool]:
        """Which of the paragraphs of a user text are pasted; those of a run are."""
        bulk = [pasted(t) for t in texts]
        if self.labelled:  # the material has its label; only what is announced is more of it
            said = [sentences.announces(t) for t in (before, *texts)]
            bulk = [is_bulk and bool(said[i]) for i, is_bulk in enumerate(bulk)]
        if self.story(texts, bulk):
            bulk = [is_bulk and shapes.data(t) for t, is_bulk in zip(texts, bulk, strict=True)]
        bulk = [is_bulk or in_run for is_bulk, in_run in zip(bulk, run, strict=True)]
        doubtful = bool(bulk) and bulk[-1] and not run[-1] and not self.asked and not shapes.data(texts[-1])
        if doubtful and not self.clearly_pasted(texts, bulk):
            bulk[-1] = False
        short = sum(map(len, texts)) < _LEAST_ALONE and not any(shapes.data(t) or introduction(t) for t in texts)
        return [False] * len(bulk) if all(bulk) and not asked and short else bulk

    def story(self, texts: list[str], bulk: list[bool]) -> bool:
        """Whether somebody tells at moderate length what happened to him: then all paragraphs are his own."""
        own = [t for t, is_bulk in zip(texts, bulk, strict=True) if not is_bulk]
        size = sum(len(t) for t, is_bulk in zip(texts, bulk, strict=True) if is_bulk)
        announced = any(t[-1] in ":：" or sentences.announces(t) for t in own)
        return not announced and size < _CLEARLY and len(own) > 1 and sum(map(sentences.personal, own)) > 1

    def clearly_pasted(self, texts: list[str], bulk: list[bool]) -> bool:
        """Whether the last paragraph belongs to a long text that a question or an announcement stands before."""
        own = [t for t, is_bulk in zip(texts, bulk, strict=True) if not is_bulk]
        if len(texts) == 1:
            return True
        if any(t[-1] in ":：" for t in own[-1:]) and not bulk[0]:
            return True
        size = sum(len(t) for t, is_bulk in zip(texts, bulk, strict=True) if is_bulk)
        return size >= _CLEARLY and any(sentences.asks(t) or sentences.addressed(t) for t in own)

    def framed(self, a: int, c: int, d: int, b: int) -> Iterator[Piece]:
        """JSON or HTML in the middle of a paragraph, and the words before and after it."""
        if a < c:
            yield Piece(*stripped(self.text, a, c), Kind.QUESTION)
        yield from documents(self.text, c, d, Kind.CONTEXT, "")
        if d < b:
            yield Piece(*stripped(self.text, d, b), Kind.QUESTION)

    def bare(self, a: int, b: int) -> Iterator[Piece]:
        """Pasted text in a message without a question of its own: it may stand at the end of the very paragraph, as an
        introduction may at its beginning."""
        block = self.text[a:b]
        c = a + introduction(block)
        c += ordered(self.text[c:b]) if c > a else 0
        d = b if shapes.data(block) else a + last_question(block)
        if c > a:
            yield Piece(a, c, Kind.OTHER)
        yield from documents(self.text, c, d if d > c else b, Kind.CONTEXT, "")
        if c < d < b:
            yield Piece(*stripped(self.text, d, b), Kind.QUESTION)
