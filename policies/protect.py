"""What is never touched: which ranges of a segment a compressor may alter at all, and why not the rest.

Material (context, history, tool output, code) may change, unless the task needs it word for word; inside of it
addresses, ids, citation marks, speakers' names and quoted code stay. Everything else stays whole. Pure.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from compressors.base import Span
from policies.base import Kind, Segment
from policies.holes import holes, openers, outside
from policies.margins import margins, recurring, speakers
from policies.tasks import Task, task_of

MATERIAL = frozenset({Kind.CONTEXT, Kind.HISTORY, Kind.TOOL_OUTPUT, Kind.CODE})
SHORTEST = 120  # characters: below, a segment is an acknowledgement, an id, a value; little to gain, much to lose
SMALLEST = 400  # characters of material up to and with the message
SMALL_INPUT = 1500  # up to here an extraction or classification reads its input word for word
_SHEET = 8  # rows with the same number of tabs that are a sheet of cells
_SPARSE = 0.15  # share of the lines of an outline that only say that something was left out
_SEVERAL = 2  # documents from which their common marks can be told
_SAID = (Kind.INSTRUCTION, Kind.QUESTION, Kind.OTHER)
_SYSTEM = ("system", "developer")
_HEAD = 6_000  # characters of a segment that are read to tell what it is

_WIDE = re.compile("[\u2e80-\U0010ffff]")
_ELIDED = re.compile(r"^[ ]{0,8}(?:⋮|…|\.\.\.)[ .…]{0,4}$", re.MULTILINE)
_NUMBERED = re.compile(r"^[ ]{0,8}(\d{1,6})(?: ?[:|│→]|\t| |$)", re.MULTILINE)
_BRANCH = re.compile(r"^[ │|]{0,40}(?:[├└]─{0,2}|[`|]--) ?\S", re.MULTILINE)  # of a tree of files
_FEW_BRANCHES = 3
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
    """What guarding needs to know of the request besides its segments: the names of the tools on offer, and which
    messages are the assistant's (indexes, ascending)."""

    tools: tuple[str, ...] = ()
    answers: tuple[int, ...] = ()


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
    tasks = _Tasks(segments, said, facts)
    before = dict(zip(sizes, accumulate(sizes.values()), strict=True))
    marks = _shared(segments)
    return tuple(
        _guarded(s, tasks.of(s), (sizes[s.message], before[s.message]), found)
        for s, found in zip(segments, marks, strict=True)
    )


class _Tasks:
    """What each segment's material is wanted for: by the system texts that stand before the answer to its turn, so that
    a later one does not reach back, and by what its own turn says."""

    def __init__(self, segments: Sequence[Segment], said: Mapping[int, list[str]], facts: Facts) -> None:
        self._facts = facts
        self._orders = [s for s in segments if s.role in _SYSTEM and s.kind not in MATERIAL]
        self._places = [s.message for s in self._orders]
        self._said = {turn: task_of(texts, user=True) for turn, texts in said.items()}
        self._ordered: dict[int, Task] = {}

    def of(self, segment: Segment) -> Task:
        answers = self._facts.answers
        following = bisect_right(answers, segment.message)
        heard = bisect_left(self._places, answers[following]) if following < len(answers) else len(self._orders)
        if heard not in self._ordered:
            self._ordered[heard] = task_of((s.text for s in self._orders[:heard]), self._facts.tools)
        own = self._said.get(segment.turn)
        return self._ordered[heard] | own if own else self._ordered[heard]


def _shared(segments: Sequence[Segment]) -> list[tuple[Span, ...]]:
    """The marks that the documents of one text have in common, by segment."""
    marks: list[tuple[Span, ...]] = [()] * len(segments)
    documents: dict[int, list[int]] = {}
    for i, s in enumerate(segments):
        if s.kind in (Kind.CONTEXT, Kind.TOOL_OUTPUT) and len(s.text) >= SHORTEST:
            documents.setdefault(s.field, []).append(i)
    for indexes in documents.values():
        texts = [segments[i].text for i in indexes]
        edges = openers(texts) if len(texts) >= _SEVERAL else [()] * len(texts)
        for i, edge, labels in zip(indexes, edges, recurring(texts), strict=True):
            marks[i] = (*edge, *labels)
    return marks


def _guarded(segment: Segment, task: Task, sizes: tuple[int, int], shared: tuple[Span, ...]) -> Segment:
    reason = _reason(segment, task, *sizes)
    if reason:
        return _with(segment, (), reason)
    code = segment.kind is Kind.CODE
    kept = [*holes(segment.text, code=code), *shared]
    history = segment.kind is Kind.HISTORY
    kept.extend(speakers(segment.text) if history else margins(segment.text, code=code))
    free = tuple((segment.start + a, segment.start + b) for a, b in outside(kept, segment.text))
    return _with(segment, free, "" if free else "ids")


def _with(s: Segment, may_change: tuple[Span, ...], reason: str) -> Segment:
    """As `dataclasses.replace` would, which is four times slower and counts where there are many segments."""
    return Segment(
        s.field, s.message, s.part, s.start, s.end, s.kind, s.role, s.text,
        s.document, s.question, s.questions, s.turn, s.tokens, may_change, reason,
    )  # fmt: skip


def _reason(segment: Segment, task: Task, own: int, size: int) -> str:
    """Why nothing of a segment may change; empty where some of it may. `own`: material of its message; `size`: the
    same with what stands before it."""
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
    if segment.kind is Kind.TOOL_OUTPUT and own < SMALLEST:
        return "too short"
    return _fixed(segment, task)


def _fixed(segment: Segment, task: Task) -> str:
    """Why code, or what looks like it, must stay as it is."""
    head = segment.text[:_HEAD]
    if _numbered(head):
        return "numbered view of a file"
    if task.edits and (segment.kind is Kind.CODE or _coded(head)) and not _excerpt(head):
        return "edit target"
    if segment.kind is not Kind.TOOL_OUTPUT and ("─" in head or "--" in head) and _is_tree(head):
        return "tree of files"
    return "schema" if _SCHEMA.search(head) else ""


def _is_tree(text: str) -> bool:
    return len(_BRANCH.findall(text)) >= max(_FEW_BRANCHES, 0.5 * text.count("\n"))


def _numbered(text: str) -> bool:
    """Whether it is a view of a file with line numbers, by which it will be edited or cited; no sheet of cells."""
    if text.count("\n") < _FEW_BRANCHES:
        return False
    tabs = [row.count("\t") for row in text.split("\n")[1:-1]]
    if len(tabs) >= _SHEET and min(tabs) >= 2 and max(tabs) == min(tabs):
        return False
    numbers = [int(n) for n in _NUMBERED.findall(text)]
    counted = sum(1 for one, two in pairwise(numbers) if two == one + 1)
    return counted >= 2 and counted >= 0.5 * text.count("\n")


def _coded(text: str) -> bool:
    """Whether most lines look like source code."""
    rows = [r for r in text.split("\n") if r.strip()]
    worded = sum(1 for r in rows if _KEYWORD.match(r))
    return len(rows) >= 4 and worded >= 2 and sum(1 for r in rows if r.startswith(_CODE_STARTS)) >= 0.4 * len(rows)


def _excerpt(text: str) -> bool:
    """Whether it is a diff, a trace or an outline with lines left out, which no edit can be matched against."""
    elided = len(_ELIDED.findall(text))
    return text.startswith(("diff --git", "commit ", "@@ ", "Traceback")) or elided >= max(
        3, _SPARSE * text.count("\n")
    )


def _weight(text: str) -> int:
    """Length in characters of an alphabet: an ideograph or a syllable counts as two."""
    head = text[:100]
    return len(text) if head.isascii() else len(text) * (2 if len(_WIDE.findall(head)) > 40 else 1)
