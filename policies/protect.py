"""What is never touched: which ranges of a segment a compressor may alter at all, and why not the rest.

Material (context, history, tool output, code) may change, unless the task needs it word for word; inside of it
addresses, ids, citation marks, speakers' names and quoted code stay. Everything else stays whole. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from compressors.base import Span
from policies.base import Kind, Segment
from policies.tasks import Task, task_of

MATERIAL = frozenset({Kind.CONTEXT, Kind.HISTORY, Kind.TOOL_OUTPUT, Kind.CODE})
SHORTEST = 120  # characters: below, a segment is an acknowledgement, an id, a value; little to gain, much to lose
SMALLEST = 400  # characters of material up to and with the message
SMALL_INPUT = 1500  # up to here an extraction or classification reads its input word for word
_SAID = (Kind.INSTRUCTION, Kind.QUESTION, Kind.OTHER)
_SYSTEM = ("system", "developer")
_WINDOW = 8_192
_OVERLAP = 2_048
_HEAD = 6_000  # characters of a segment that are read to tell what it is

_ADDRESS = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,12}://|www\.)[^\s<>\"'`]{2,2000}|\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}",
    re.IGNORECASE,
)
_ID = re.compile(
    r"\b[A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){3,7}\b"
    r"|\b(?=[\w-]{0,60}\d)[A-Z]{1,10}[-_]?[A-Z]{0,6}[-_]?\d{2,}(?:[-_/]?[A-Z0-9]{1,12}){0,4}\b|\b[A-Z]{1,4}\d{1,5}\b"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{13,27}\b|\b(?=[a-f]{0,40}\d)[0-9a-f]{12,64}\b"
)
_CITATION = re.compile(r"\[\^?[\w.:-]{1,16}(?:, ?[\w.:-]{1,16}){0,6}\]|【[^】\n]{1,20}】")
_KEYED = re.compile(
    r"[\"'](?:\w{0,20}[_-])?(?:ids?|key|uuid|ref|reference_id|index|number|no|sku|code|source|url|title|name|doc|file"
    r"|path)[\"']\s?:\s?(?:[\"'][^\"'\n]{0,120}[\"']|-?\d{1,20})",
    re.IGNORECASE,
)
_HEADER = re.compile(  # of a mail, of a document
    r"^[> ]{0,8}(?:from|to|cc|bcc|subject|date|sent|von|an|betreff|datum|gesendet|de|à|objet|envoyé|para|asunto|fecha"
    r"|assunto|da|oggetto|van|aan|onderwerp|от|кому|тема|差出人|宛先|件名|发件人|收件人|主题|보낸 사람|받는 사람|제목"
    r"|title|source|url|link|author|published|updated|file ?name|file|path|page|doc(?:ument)? id|id|score|quelle|titel"
    r"|fuente|título|fonte|titre|出典|来源|标题|출처)"
    r" ?[:：].{1,300}$|^[\w%./\\~-]{1,150}\.[a-z]\w{1,4}(?:#[\w=&.-]{1,40})?\s?[:：]",
    re.MULTILINE | re.IGNORECASE,
)
_RULE = re.compile(r"^[ \t]{0,8}[-=*_#~─━═]{3,200}[ \t]{0,8}$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} .{1,160}$", re.MULTILINE)
_ALWAYS = (_ADDRESS, _ID, _CITATION, _KEYED, _HEADER, _RULE)
_TAG = re.compile(r"</?[A-Za-z_][\w.:-]{0,60}(?:\s[^<>\n]{0,200})?/?>")
_FEW_TAGS = 8
_FENCE = re.compile(r"^[ \t]*```[^\n]{0,80}\n", re.MULTILINE)
_SPEAKER = re.compile(
    r"^[ \t>*-]{0,4}(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?[\])]?[ -–]{0,3})?"
    r"(?:[^\W\d_a-z][\w .'’()-]{0,40}?|user|human|assistant|system|ai|bot|agent|customer)(?:\*\*)?[ ]?[:：]"
    r"(?=\s|[^\x00-\x7f])",
    re.MULTILINE,
)
_ALARM = re.compile(
    r"^.{0,200}\b(?:error|warn|warning|fatal|critical|exception|panic|fail|failed|failure)\b.{0,400}$",
    re.MULTILINE | re.IGNORECASE,
)
_ELIDED = re.compile(r"^[ ]{0,8}(?:⋮|…|\.\.\.)[ .…]{0,4}$", re.MULTILINE)
_NUMBERED = re.compile(r"^[ ]{0,8}\d{1,6}(?: ?[:|│→]|\t)", re.MULTILINE)
_SCHEMA = re.compile(r"\bCREATE (?:TABLE|VIEW|INDEX)\b|\"(?:\$defs|\$schema|\$ref|properties)\"\s?:")
_KEYWORD = re.compile(
    r"\s{0,40}(?:import|from|def|class|function|const|let|var|func|fn|public|private|export|using|package|return)\b"
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
    """What guarding needs to know of the request besides its segments: `tools` are the names of the tools on offer."""

    tools: tuple[str, ...] = ()


_NO_FACTS = Facts()


def guard(segments: Sequence[Segment], facts: Facts = _NO_FACTS) -> tuple[Segment, ...]:
    """The same segments with `may_change` and `guard` filled in.

    What becomes of a segment hangs on the system texts, on its own turn and on what stands before it, never on a later
    turn: what was once sent in a form can be sent in that form again. A segment that comes with a guard keeps it and
    stays whole; but for context guarded by "mark": its author asked for it to be shortened, so that neither task nor
    size counts.
    """
    said: dict[int, list[str]] = {}
    sizes: dict[int, int] = {}
    for s in segments:
        if s.role not in _SYSTEM and (s.kind in _SAID or (s.kind is Kind.HISTORY and s.role == "user")):
            said.setdefault(s.turn, []).append(s.text)
        sizes[s.message] = sizes.get(s.message, 0) + (_weight(s.text) if s.kind in MATERIAL and not s.guard else 0)
    always = task_of((s.text for s in segments if s.role in _SYSTEM), facts.tools)
    tasks = {turn: always | task_of(texts) for turn, texts in said.items()}
    before = dict(zip(sizes, accumulate(sizes.values()), strict=True))
    return tuple(_guarded(s, tasks.get(s.turn, always), before[s.message]) for s in segments)


def _guarded(segment: Segment, task: Task, size: int) -> Segment:
    reason = _reason(segment, task, size)
    if reason:
        return replace(segment, may_change=(), guard=reason)
    free = tuple(_outside(sorted(_holes(segment)), segment))
    return replace(segment, may_change=free, guard="" if free else "ids")


def _reason(segment: Segment, task: Task, size: int) -> str:
    """Why nothing of a segment may change; empty where some of it may. `size`: of the material up to its message."""
    if segment.kind not in MATERIAL:
        return segment.guard or segment.kind.value
    if segment.guard:
        return "" if segment.guard == "mark" else segment.guard
    if task.verbatim:
        return f"verbatim task: {task.verbatim}"
    if task.reads_all and size <= SMALL_INPUT:
        return f"verbatim task: {task.reads_all}"
    if size < SMALLEST or _weight(segment.text) < SHORTEST:
        return "too short"
    return _fixed(segment, task)


def _fixed(segment: Segment, task: Task) -> str:
    """Why code, or what looks like it, must stay as it is."""
    head = segment.text[:_HEAD]
    if _numbered(head):
        return "numbered view of a file"
    if task.edits and (segment.kind is Kind.CODE or _coded(head)) and not _excerpt(head):
        return "edit target"
    return "schema" if _SCHEMA.search(head) else ""


def _numbered(text: str) -> bool:
    """Whether it is a view of a file with line numbers, by which it will be edited or cited."""
    rows = text.count("\n") + 1
    return rows >= 4 and len(_NUMBERED.findall(text)) >= 0.5 * rows


def _coded(text: str) -> bool:
    """Whether most lines look like source code."""
    rows = [r for r in text.split("\n") if r.strip()]
    worded = sum(1 for r in rows if _KEYWORD.match(r))
    return len(rows) >= 4 and worded >= 2 and sum(1 for r in rows if r.startswith(_CODE_STARTS)) >= 0.4 * len(rows)


def _excerpt(text: str) -> bool:
    """Whether it is a diff, a trace or an outline with lines left out, which no edit can be matched against."""
    return text.startswith(("diff --git", "commit ", "@@ ", "Traceback")) or len(_ELIDED.findall(text)) >= 3


def _weight(text: str) -> int:
    """Length in characters of an alphabet: an ideograph or a syllable counts as two."""
    return len(text) * (2 if sum(c >= "\u2e80" for c in text[:100]) > 40 else 1)


def _holes(segment: Segment) -> Iterator[Span]:
    """What stays inside of material, as spans of the segment's own text; unordered, they may overlap."""
    text = segment.text
    for pattern in _ALWAYS:
        yield from _matches(pattern, text)
    if segment.kind is not Kind.CODE:
        yield from _fenced(text)
        yield from _matches(_HEADING, text)
    tags = list(_matches(_TAG, text))
    if len(tags) <= _FEW_TAGS:  # more of them are a page of HTML
        yield from tags
    rows = text.count("\n") + 1
    alarms = list(_matches(_ALARM, text)) if rows >= 20 else []
    if len(alarms) <= 0.2 * rows:  # the rare lines of a log are what it is read for
        yield from alarms
    names = list(_matches(_SPEAKER, text))
    if len(names) >= max(2, 0.5 * rows):
        yield from names


def _fenced(text: str) -> Iterator[Span]:
    fences = list(_matches(_FENCE, text + "\n"))
    for opening, closing in zip(fences[::2], fences[1::2], strict=False):
        yield opening[0], closing[1]
    if len(fences) % 2:
        yield fences[-1][0], len(text)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """Matches of a pattern, window by window: `re` holds the interpreter, so that no single call may be long."""
    position = 0
    for start in range(0, len(text), _WINDOW):
        stop = start + _WINDOW
        for match in pattern.finditer(text, max(start, position), min(len(text), stop + _OVERLAP)):
            if match.start() >= stop:
                break
            yield match.span()
            position = match.end()


def _outside(holes: list[Span], segment: Segment) -> Iterator[Span]:
    """The stretches between the holes that hold more than white space, as spans of the field."""
    text, start = segment.text, 0
    for a, b in [*holes, (len(text), len(text))]:
        if a > start and text[start:a].strip():
            yield segment.start + start, segment.start + a
        start = max(start, b)
