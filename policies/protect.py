"""What is never touched: which ranges of a segment a compressor may alter at all, and why not the rest.

Material (context, history, tool output, code) may change, unless the task needs it word for word; inside of it addresses,
ids, citation marks, speakers' names and quoted code stay. Everything else stays whole. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from compressors.base import Span
from policies.base import Kind, Segment
from policies.tasks import Task, task_of

MATERIAL = frozenset({Kind.CONTEXT, Kind.HISTORY, Kind.TOOL_OUTPUT, Kind.CODE})
_SAID = (Kind.INSTRUCTION, Kind.QUESTION, Kind.OTHER)
_SYSTEM = ("system", "developer")
SHORTEST = 120  # characters: below, a segment is an acknowledgement, an id, a value; nothing is gained and much is lost
SMALLEST = 400  # characters of material in the whole body
SMALL_INPUT = 1500  # up to here an extraction or classification reads its input word for word
_WINDOW = 8_192
_OVERLAP = 2_048

_INLINE = {
    "url": re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,12}://|www\.)[^\s<>\"'`]{2,2000}|\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}", re.I),
    "id": re.compile(
        r"\b(?=[\w-]{0,60}\d)[A-Z]{1,10}[-_]?[A-Z]{0,6}[-_]?\d{2,}(?:[-_/]?[A-Z0-9]{1,12}){0,4}\b"
        r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{13,27}\b|\b(?=[a-f]{0,40}\d)[0-9a-f]{12,64}\b|\b[A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){3,7}\b"
        r"|\b[A-Z]{1,4}\d{1,5}\b"
    ),
    "citation": re.compile(r"\[\^?[\w.:-]{1,16}(?:, ?[\w.:-]{1,16}){0,6}\]|【[^】\n]{1,20}】"),
    "key": re.compile(
        r"[\"'](?:\w{0,20}[_-])?(?:id|ids|key|uuid|ref|reference_id|index|number|no|sku|code|source|url|title|name|doc|file|path)[\"']\s?:\s?"
        r"(?:[\"'][^\"'\n]{0,120}[\"']|-?\d{1,20})",
        re.I,
    ),
}  # fmt: skip
_FENCED = re.compile(r"^[ \t]*```[^\n]{0,80}\n", re.MULTILINE)
_SPEAKER = re.compile(
    r"^[ \t>*-]{0,4}(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?[\])]?[ -–]{0,3})?[^\W\d_][\w .'’()-]{0,40}?(?:\*\*)?[ ]?[:：](?=\s|[^\x00-\x7f])",
    re.MULTILINE,
)
_MAIL = re.compile(
    r"^[> ]{0,8}(?:from|to|cc|bcc|subject|date|sent|von|an|betreff|datum|gesendet|de|à|objet|envoyé|para|asunto|fecha|assunto|da|oggetto"
    r"|van|aan|onderwerp|от|кому|тема|差出人|宛先|件名|发件人|收件人|主题|보낸 사람|받는 사람|제목) ?[:：].{1,300}$",
    re.MULTILINE | re.IGNORECASE,
)
_ALARM = re.compile(
    r"^.{0,200}\b(?:error|warn|warning|fatal|critical|exception|panic|fail|failed|failure)\b.{0,400}$", re.M | re.I
)
_ELIDED = re.compile(r"^[ ]{0,8}(?:⋮|…|\.\.\.)[ .…]{0,4}$", re.MULTILINE)
_NUMBERED = re.compile(r"^[ ]{0,8}\d{1,6}(?:[:|│→]|\t)", re.MULTILINE)
_SCHEMA = re.compile(r"\bCREATE (?:TABLE|VIEW|INDEX)\b|\"(?:\$defs|\$schema|\$ref|properties)\"\s?:")
_KEYWORD = re.compile(
    r"\s{0,40}(?:import|from|def|class|function|const|let|var|func|fn|public|private|export|using|package|#include|return)\b"
)
_CODE_STARTS = (
    "import ",
    "from ",
    "def ",
    "class ",
    "    ",
    "\t",
    "}",
    "#include",
    "using ",
    "func ",
    "fn ",
    "export ",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What guarding needs to know of the request besides its segments: names of the tools offered, whether the answer's
    form is fixed."""

    tools: tuple[str, ...] = ()
    structured: bool = False


def guard(segments: Sequence[Segment], facts: Facts = Facts()) -> tuple[Segment, ...]:
    """The same segments with `may_change` and `guard` filled in."""
    task = task_of([s for s in segments if s.role in _SYSTEM or s.kind in _SAID], facts.tools)
    size = sum(_weight(s.text) for s in segments if s.kind in MATERIAL and not s.guard)
    shape = _Shape(task, size, facts)
    return tuple(_guarded(s, shape) for s in segments)


@dataclass(frozen=True, slots=True)
class _Shape:
    task: Task
    size: int
    facts: Facts


def _guarded(segment: Segment, shape: _Shape) -> Segment:
    reason = _reason(segment, shape)
    if reason:
        return replace(segment, may_change=(), guard=reason)
    holes = sorted(_holes(segment))
    free = tuple((a + segment.start, b + segment.start) for a, b in _outside(holes, segment.text))
    return replace(segment, may_change=free, guard="" if free else "ids")


def _reason(segment: Segment, shape: _Shape) -> str:
    """Why nothing of a segment may change; empty where some of it may."""
    marked = segment.guard == "mark"
    if segment.kind not in MATERIAL:
        return "mark" if marked else segment.kind.value
    if marked:
        return ""
    if segment.guard:
        return segment.guard
    if shape.task.verbatim:
        return f"verbatim task: {shape.task.verbatim}"
    if shape.task.reads_all and shape.size <= SMALL_INPUT:
        return f"verbatim task: {shape.task.reads_all}"
    if shape.size < SMALLEST or _weight(segment.text) < SHORTEST:
        return "too short"
    if _numbered(segment.text):
        return "numbered view of a file"
    if shape.task.edits and (segment.kind is Kind.CODE or _coded(segment.text)) and not _excerpt(segment.text):
        return "edit target"
    if _SCHEMA.search(segment.text[:4000]):
        return "schema"
    return ""


def _numbered(text: str) -> bool:
    """Whether it is a view of a file with line numbers, by which it will be edited or cited."""
    rows = text.count("\n", 0, 6000) + 1
    return rows >= 4 and len(_NUMBERED.findall(text[:6000])) >= 0.5 * rows


def _coded(text: str) -> bool:
    """Whether most lines look like source code."""
    rows = [r for r in text[:6000].split("\n") if r.strip()]
    worded = sum(1 for r in rows if _KEYWORD.match(r))
    return worded >= 2 and sum(1 for r in rows if r.startswith(_CODE_STARTS)) >= 0.4 * len(rows)


def _excerpt(text: str) -> bool:
    """Whether it is a diff, a trace or an outline with lines left out, which no edit can be matched against."""
    head = text[:6000]
    return head.startswith(("diff --git", "commit ", "@@ ", "Traceback")) or len(_ELIDED.findall(head)) >= 3


def _weight(text: str) -> int:
    """Length in characters of an alphabet: an ideograph or a syllable counts as two."""
    return len(text) * (2 if sum(c >= "\u2e80" for c in text[:100]) > 40 else 1)


def _holes(segment: Segment) -> Iterator[Span]:
    text = segment.text
    for pattern in _INLINE.values():
        yield from _matches(pattern, text)
    fences = list(_matches(_FENCED, text)) if segment.kind is not Kind.CODE else []
    for opening, closing in zip(fences[::2], fences[1::2], strict=False):
        yield opening[0], closing[1]
    if len(fences) % 2:
        yield fences[-1][0], len(text)
    yield from _matches(_MAIL, text)
    rows = text.count("\n") + 1
    alarms = list(_matches(_ALARM, text)) if rows >= 20 else []
    if len(alarms) <= 0.2 * rows:
        yield from alarms
    names = list(_matches(_SPEAKER, text))
    if len(names) >= 2 and len(names) >= 0.5 * rows:
        yield from names


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """Matches of a pattern, window by window, so that no single call holds the interpreter for long."""
    position = 0
    for start in range(0, len(text), _WINDOW):
        stop = start + _WINDOW
        for match in pattern.finditer(text, max(start, position), min(len(text), stop + _OVERLAP)):
            if match.start() >= stop:
                break
            yield match.span()
            position = match.end()


def _outside(holes: list[Span], text: str) -> Iterator[Span]:
    """The stretches between the holes that hold more than white space."""
    start = 0
    for a, b in [*holes, (len(text), len(text))]:
        if a > start and text[start:a].strip():
            yield start, a
        start = max(start, b)
