"""Reads the markers of one text into sections: stretches of which a label, a tag or an announcement says what they are.

Two kinds of section. A *closed* one lies between a tag, a fence, a bracketed title or a rule and its counterpart; what
stands inside is what the title says. An *open* one begins with a label or a heading, ends with the next one of a known
meaning, and its edges may hold sentences that belong to the template: `blocks` trims them.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from proxy.segmentation import labels, sentences
from proxy.segmentation.documents import BULK
from proxy.segmentation.labels import Meaning
from proxy.segmentation.markers import DOUBTFUL, Form, Marker, scan


@dataclass(frozen=True, slots=True)
class Section:
    """`marker`: the stretch is a marker, not text. `closed`: delimited on both sides. `title`: of the last marker;
    `inline`: it stands on the line of its label."""

    start: int
    end: int
    meaning: Meaning | None
    marker: bool = False
    closed: bool = False
    fenced: bool = False
    title: str = ""
    inline: bool = False


_MATERIAL = {Meaning.CONTEXT, Meaning.CODE, Meaning.HISTORY}
_KEEPS = _MATERIAL | {Meaning.EXAMPLE, Meaning.OBSERVATION, Meaning.EXISTING}
_LONG = 1500  # characters behind a rule that are more than a template says
_TAIL = 12  # markers behind a label among which the next known one is looked for
_MANY = 6  # headings of one level that are chapters
_OFTEN = 3  # headings of one level, rules of one look, that are the documents' own
_AGENT = {Meaning.SPEAKER, Meaning.STEP, Meaning.OBSERVATION}
_SPOKEN_OF = {Meaning.QUESTION, Meaning.INSTRUCTION, Meaning.ANSWER}
_INNER = _MATERIAL | {Meaning.META, Meaning.SPEAKER, Meaning.STEP}


@dataclass(slots=True)
class _Frame:
    closes_at: int | None  # index of the marker that ends this frame
    meaning: Meaning | None
    fenced: bool = False
    opened: Meaning | None = None  # set by a label or heading inside
    by: Marker | None = None
    title: str = ""
    inline: bool = False

    @property
    def current(self) -> Meaning | None:
        return self.opened or self.meaning


@dataclass(slots=True)
class _Reader:
    text: str
    role: str
    markers: list[Marker]
    frames: list[_Frame] = field(default_factory=lambda: [_Frame(None, None)])
    found: list[Section] = field(default_factory=list)
    agent: bool = False  # notes of an agent: thoughts and actions are only told by the observations among them

    repeated: dict[tuple[Form, str], int] = field(default_factory=dict)  # headings and rules, and where they begin

    rules: int = 0

    def __post_init__(self) -> None:
        self.rules = sum(1 for m in self.markers if m.form is Form.RULE)
        self.agent = any(m.meaning is Meaning.OBSERVATION for m in self.markers)
        if self.role == "system":
            self.markers = _unnamed(self.markers)
        else:
            self.repeated = _repeated(self.markers)

    def emit(self, start: int, end: int) -> None:
        frame = self.frames[-1]
        if self.text[start:end].strip():
            closed = frame.meaning is not None and frame.opened in (None, frame.meaning)
            self.found.append(
                Section(start, end, frame.current, False, closed, frame.fenced, frame.title, frame.inline)
            )

    def run(self) -> list[Section]:
        position = 0
        for i, marker in enumerate(self.markers):
            if self.structural(marker) or self.short_tail(i, marker):
                self.emit(position, marker.start)
                as_marker = self.apply(i, marker)
                position = marker.start if _named_inside(marker) else marker.end
                if position == marker.end:
                    self.found.append(Section(marker.start, marker.end, None, as_marker))
                if marker.level is DOUBTFUL:
                    self.frames = [_Frame(None, Meaning.INSTRUCTION)]
                if marker.form is Form.FENCE and not marker.closing and marker.pair is not None:
                    self.push_fence(marker)
        self.emit(position, len(self.text))
        return self.found

    def structural(self, marker: Marker) -> bool:
        """Whether a marker says anything here; else it is plain text of the section that it stands in."""
        frame = self.frames[-1]
        if self.within(frame, marker):
            return False
        if marker.form in (Form.FENCE, Form.RULE) or marker.pair is not None:
            return True
        if frame.current in (Meaning.EXAMPLE, Meaning.EXISTING) and marker.form is Form.LABEL and frame.closes_at:
            return False
        if frame.closes_at is not None and frame.meaning in _KEEPS:
            return marker.form is Form.BRACKET
        if self.role == "tool":
            return False
        if marker.form is Form.BRACKET and self.role == "system" and marker.title[:1].islower():
            return False  # a place to be filled in
        if marker.meaning in _AGENT and (self.role == "system" or (marker.meaning is Meaning.STEP and not self.agent)):
            return False
        if marker.meaning is Meaning.SPEAKER:
            return frame.current not in _KEEPS
        if marker.meaning is Meaning.META:
            return False
        if marker.form is Form.ANNOUNCE or marker.meaning is None:
            return self.announcement(marker) or self.ends_heading(marker)
        return True

    def short_tail(self, i: int, marker: Marker) -> bool:
        """Whether a label of unknown meaning, on a line of its own behind the material of another label, has only a few
        words up to the next known one: what a template adds, not what a document holds."""
        frame = self.frames[-1]
        own = marker.form is Form.LABEL and marker.meaning is None and not marker.inline
        if not own or self.role != "user" or frame.closes_at is not None or frame.opened not in _MATERIAL:
            return False
        if self.within(frame, marker) or not self.text.endswith("\n\n", 0, marker.start):
            return False
        following = self.markers[i + 1 : i + 1 + _TAIL]
        known = (m.start for m in following if m.meaning not in (None, Meaning.META, Meaning.SPEAKER))
        return next(known, len(self.text)) - marker.end < BULK

    def within(self, frame: _Frame, marker: Marker) -> bool:
        """Whether a heading, rule or fence belongs to the documents of an open section: one of a kind that comes again
        and again, and nowhere before the section."""
        by = frame.by
        if not self.repeated or by is None or frame.opened not in _MATERIAL or by.meaning is Meaning.SPEAKER:
            return False
        if marker.form is Form.FENCE:  # code that a document quotes
            return bool(marker.title or (marker.pair is not None and self.markers[marker.pair].title))
        first = self.repeated.get((marker.form, marker.level), -1)
        return marker.pair is None and by.form in (Form.LABEL, Form.ANNOUNCE, Form.BRACKET) and by.start < first

    def announcement(self, marker: Marker) -> bool:
        if marker.form is Form.ANNOUNCE:
            inside = self.frames[-1].current in _KEEPS
            return not inside and bool(labels.meanings(marker.title) & (_KEEPS | {Meaning.QUESTION}))
        return False

    def ends_heading(self, marker: Marker) -> bool:
        by = self.frames[-1].by
        if self.role == "system" and marker.form is Form.HEADING:
            return by is not None
        same = by is not None and marker.form is Form.HEADING is by.form
        return same and by is not None and len(marker.level) <= len(by.level) and marker.level[0] == by.level[0]

    def apply(self, i: int, marker: Marker) -> bool:
        """Lets a marker change what the text after it is. Returns whether it is pure markup (else: instruction)."""
        frame = self.frames[-1]
        if marker.closing:
            if marker.pair is not None:
                self.pop(i)
            elif frame.by is not None:
                frame.opened = frame.by = None
            return True
        if marker.form is Form.RULE:
            self.rule(i, marker)
            return True
        if marker.form is Form.FENCE:
            return True
        if marker.pair is not None:
            inherited = frame.current if frame.current in _KEEPS else None
            known = inherited if inherited in (Meaning.EXAMPLE, Meaning.HISTORY) else marker.meaning
            self.frames.append(_Frame(marker.pair, known or inherited, title=marker.title))
            return (known or inherited) is not None
        return self.open(frame, marker)

    def open(self, frame: _Frame, marker: Marker) -> bool:
        meaning = marker.meaning
        if marker.form is Form.ANNOUNCE:
            found = labels.meanings(marker.title)
            order = (
                Meaning.EXISTING,
                Meaning.EXAMPLE,
                Meaning.CONTEXT,
                Meaning.CODE,
                Meaning.HISTORY,
                Meaning.QUESTION,
            )
            meaning = labels.meaning(marker.title)
            if sentences.describes_format(marker.title):
                meaning = Meaning.INSTRUCTION
            elif meaning is not Meaning.EXISTING:
                meaning = next((m for m in order if m in found), None)
        if frame.current is Meaning.OBSERVATION and meaning in _INNER and meaning is not Meaning.STEP:
            return True
        if meaning is Meaning.SPEAKER:
            meaning = Meaning.HISTORY
        frame.opened, frame.by, frame.title, frame.inline = meaning, marker, marker.title, marker.inline
        return meaning is not None

    def pop(self, i: int) -> None:
        for depth in range(len(self.frames) - 1, 0, -1):
            if self.frames[depth].closes_at == i:
                del self.frames[depth:]
                return

    def push_fence(self, marker: Marker) -> None:
        frame = self.frames[-1]
        self.frames.append(_Frame(marker.pair, frame.current, fenced=True, title=marker.title or frame.title))

    def rule(self, i: int, marker: Marker) -> None:
        """A rule opens a closed section where material was announced, up to the rule that looks the same."""
        frame = self.frames[-1]
        if frame.closes_at is not None and frame.meaning in _KEEPS:
            return
        previous = self.found[-1] if self.found else None
        said = None
        if previous and frame.opened is None:  # what the last paragraph, or the last sentence of a long one, announces
            said = sentences.announces(self.text[previous.start : previous.end].rstrip().rpartition("\n\n")[2][-300:])
        directly = self.role != "system" or (previous is not None and previous.marker)  # else the rule ends a chapter
        meaning = said or (frame.opened if frame.opened in _MATERIAL and directly else None)
        if meaning is None and self.declared(marker):
            self.frames.append(_Frame(len(self.markers), Meaning.CONTEXT))
            return
        if meaning is None:
            if not self.goes_on(i, marker):
                frame.opened = frame.by = None
            return
        closer = self.closing_rule(i, marker)
        if closer is None:
            frame.opened = meaning
        else:
            frame.opened = frame.by = None
            self.frames.append(_Frame(closer, meaning))
            self.markers[closer] = _paired(self.markers[closer], i)

    def goes_on(self, i: int, marker: Marker) -> bool:
        """Whether a rule in an open section of a system text parts two of its documents: long texts, no orders."""
        stop = self.markers[i + 1].start if i + 1 < len(self.markers) else len(self.text)
        rest = self.text[marker.end : stop].strip()
        frame = self.frames[-1]
        labelled = frame.opened is Meaning.CONTEXT and frame.by is not None and frame.by.form is not Form.HEADING
        long = labelled and sentences.weight(rest) >= BULK
        return long and not sentences.addressed(rest, strictly=True)

    def declared(self, marker: Marker) -> bool:
        """Whether the only rule of a system text parts orders from a long text that gives none."""
        if self.role != "system" or self.rules != 1:
            return False
        rest = self.text[marker.end :].strip()
        orders = sentences.addressed(self.text[: marker.start])
        return len(rest) >= _LONG and orders and not sentences.addressed(rest)

    def closing_rule(self, i: int, marker: Marker) -> int | None:
        """The first rule of the same look that is followed by template text, else the last one."""
        alike = [j for j in range(i + 1, min(len(self.markers), i + 2000)) if self.is_alike(j, marker)][:200]
        for j in alike:
            stop = self.markers[j + 1].start if j + 1 < len(self.markers) else len(self.text)
            after = self.text[self.markers[j].end : stop][:2000].strip().split("\n\n")[0]
            following = self.markers[j + 1].meaning if j + 1 < len(self.markers) else None
            if sentences.addressed(after) if after else following in (Meaning.QUESTION, Meaning.ANSWER, None):
                return j
        return alike[-1] if alike else None

    def is_alike(self, j: int, marker: Marker) -> bool:
        return self.markers[j].form is Form.RULE and self.markers[j].level == marker.level


def _unnamed(markers: list[Marker]) -> list[Marker]:
    """The markers, without the meaning of headings in a row of many of which few have any: chapters of a manual, where
    a "search" or a "file" names a tool."""
    plain = [m for m in markers if m.pair is None and m.form is Form.HEADING]
    count = Counter(m.level for m in plain)
    known = Counter(m.level for m in plain if m.meaning is not None)
    many = {level for level, n in count.items() if n >= _MANY and known[level] <= 0.5 * n}
    return [replace(m, meaning=None) if m.form is Form.HEADING and m.level in many else m for m in markers]


def _repeated(markers: list[Marker]) -> dict[tuple[Form, str], int]:
    """The forms of headings and rules that come again and again, and where the first stands: of the headings, most say
    nothing that a template says."""
    plain = [m for m in markers if m.pair is None and m.form in (Form.HEADING, Form.RULE)]
    first = {(m.form, m.level): m.start for m in reversed(plain)}
    count = Counter((m.form, m.level) for m in plain)
    known = Counter((m.form, m.level) for m in plain if m.meaning is not None)
    asked = Counter((m.form, m.level) for m in plain if m.meaning in _SPOKEN_OF)
    return {k: first[k] for k, n in count.items() if n >= _OFTEN and known[k] <= 0.6 * n and asked[k] <= 0.2 * n}


def _named_inside(marker: Marker) -> bool:
    """Whether a label opens material but is part of it ("Chunk: 3", "Content: ..."): `pieces` looks closer."""
    return marker.form is Form.LABEL and marker.inline and marker.meaning in (Meaning.CONTEXT, Meaning.CODE)


def _paired(marker: Marker, pair: int) -> Marker:
    return Marker(marker.start, marker.end, marker.form, marker.title, marker.meaning, True, marker.level, pair)


def demonstrations(text: str, markers: list[Marker]) -> tuple[int, int] | None:
    """The stretch of worked examples: labels up to the last answered one, where a question follows after it."""
    at = [m for m in markers if m.form is Form.LABEL and m.pair is None]
    answered = [k for k, m in enumerate(at) if m.meaning is Meaning.ANSWER and _filled(text, at, k)]
    asked = [k for k, m in enumerate(at) if m.meaning is Meaning.QUESTION]
    inside = [k for k in answered if asked and asked[0] < k < asked[-1]]
    if not inside:
        return None
    last = at[inside[-1]]
    stop = at[inside[-1] + 1].start
    blank = text.find("\n\n", last.end, stop)
    first = next(k for k, m in enumerate(at) if m.meaning in (Meaning.QUESTION, Meaning.CONTEXT, Meaning.HISTORY))
    return at[first].start, (stop if blank < 0 else blank)


def _filled(text: str, at: list[Marker], k: int) -> bool:
    stop = at[k + 1].start if k + 1 < len(at) else len(text)
    return bool(text[at[k].end : min(stop, at[k].end + 400)].strip())


def read(text: str, role: str) -> list[Section]:
    """The sections of a text in order. Together they cover every character that is not blank."""
    markers = scan(text)
    shown = demonstrations(text, markers) if role != "tool" else None
    if shown is None:
        return _Reader(text, role, markers).run()
    start, end = shown
    before = _Reader(text[:start], role, scan(text[:start])).run()
    after = [_moved(s, end) for s in _Reader(text[end:], role, scan(text[end:])).run()]
    return [*before, Section(start, end, Meaning.EXAMPLE, closed=True), *after]


def _moved(section: Section, by: int) -> Section:
    return Section(
        section.start + by,
        section.end + by,
        section.meaning,
        section.marker,
        section.closed,
        section.fenced,
        section.title,
        section.inline,
    )
