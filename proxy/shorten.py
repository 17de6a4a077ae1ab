"""A chat body in, a shorter one out: parse, segment, plan, compress, verify, splice. No I/O, no task, no fallback.

Compressors only say what stays. Here that becomes the ranges that go, each checked against what the plan allowed: a
stretch that loses something protected, or that gains nothing, is put back as it was and says so.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from time import perf_counter

from compressors import CompressionError, Compressor, Fallback, Kept, Span, Task, cancel
from compressors.spans import complement, intersect, join, merge, within
from compressors.tokenizers import Counter, counter
from policies import protect
from policies.base import Kind, Plan, Policy, Segment, Step
from proxy import segmentation, wire
from proxy.reorder import Moves, arranged, moves
from proxy.savings import KindTokens, Measured, Outcome
from proxy.tokens import encoding_for

COMPRESSED = "compressed"
WITHOUT = "without the model"
_BEFORE = 4000  # code points of what stands in front of a stretch that compressors get to read
_MAY_SHRINK = {Kind.CONTEXT, Kind.HISTORY, Kind.TOOL_OUTPUT, Kind.CODE}


class Abandoned(Exception):
    """Nobody waits for this result any more."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A body cut into segments, their tokens counted."""

    request: wire.ChatRequest
    segments: tuple[Segment, ...]
    encoding: str
    estimated: bool


@dataclass(frozen=True, slots=True)
class Shortened:
    """`texts` holds the new text of each field that changed, `kept` the ranges of it that stayed, in the order of the
    original; `reasons` has one entry a segment of `examined`."""

    body: bytes
    measured: Measured
    examined: Examined
    reasons: tuple[str, ...]
    texts: Mapping[int, str]
    kept: Mapping[int, tuple[Span, ...]]


class Stages:
    """Milliseconds by stage, in order. `lap` ends a stage, and the work too where nobody waits for it any more."""

    def __init__(self, alive: Callable[[], bool] = lambda: True) -> None:
        self.alive = alive
        self._at = perf_counter()
        self.laps: list[tuple[str, float]] = []
        self.examined: Examined | None = None  # what a body that fails later was found to hold

    def lap(self, name: str) -> None:
        if not self.alive():
            raise Abandoned(name)
        now = perf_counter()
        self.laps.append((name, (now - self._at) * 1000))
        self._at = now


def examine(body: bytes, stages: Stages) -> Examined:
    """Raises `wire.UnknownShape` where the body is not a chat request that we know how to read."""
    request = wire.parse(body)
    stages.lap("parse")
    segments = guarded(request)
    stages.lap("segment")
    encoding, estimated = encoding_for(request.model)
    counts = counter(encoding).count_all([s.text for s in segments])
    counted = tuple(replace(s, tokens=n) for s, n in zip(segments, counts, strict=True))
    stages.lap("count")
    stages.examined = Examined(request, counted, encoding, estimated)
    return stages.examined


def guarded(request: wire.ChatRequest) -> tuple[Segment, ...]:
    """The segments of a request with what may change in them; tokens not counted yet."""
    answers = tuple(n for n, message in enumerate(request.messages) if message.role == "assistant")
    return protect.guard(segmentation.segment(request), protect.Facts(request.tools, answers))


Settle = Callable[[Examined, Plan], Plan]
"""What is left of a plan once it is known what its steps are worth."""


def shorten(
    body: bytes, policy: Policy, load: Callable[[str], Compressor], stages: Stages, settle: Settle | None = None
) -> Shortened:
    """Raises `wire.UnknownShape`, `CompressionError`, and whatever a compressor raises."""
    examined = examine(body, stages)
    plan = policy.plan(examined.segments)
    if settle:
        plan = settle(examined, plan)
    stages.lap("plan")
    cuts = _cuts(plan, examined, load)
    stages.lap("compress")
    result = _Verified(examined, plan, cuts)
    new = wire.splice(examined.request, result.texts)
    stages.lap("verify")
    return Shortened(
        new, _measured(examined, result, stages), examined, tuple(result.reasons), result.texts, result.kept
    )


# Compress: steps become tasks, kept spans become cuts (ranges of the field's text that go).


@dataclass(frozen=True, slots=True)
class Cut:
    """What a step does: ranges of the field's text go, and documents may move. `how`: what its reason adds to that."""

    gone: tuple[Span, ...]
    moves: Moves | None = None
    how: str = ""


def _cuts(plan: Plan, examined: Examined, load: Callable[[str], Compressor]) -> dict[Step, Cut | None]:
    """What each step does; None where it touched what is protected."""
    cuts: dict[Step, Cut | None] = {}
    by_name = sorted(plan.steps, key=lambda s: s.compressor)
    groups = [(name, list(group)) for name, group in groupby(by_name, key=lambda s: s.compressor)]
    for n, (name, steps) in enumerate(groups):
        tasks = [_task(step, examined) for step in steps]
        with cancel.within(1 / (len(groups) - n)):  # or the first one might leave no time to the others
            kept = load(name).compress(tasks)
        if len(kept) != len(tasks):
            raise CompressionError(f"{name} gave {len(kept)} results for {len(tasks)} tasks")
        for step, task, result in zip(steps, tasks, kept, strict=True):
            gone = complement(_checked(result, task, name), len(task.text))
            safe = not intersect(gone, task.protected)
            how = f" {WITHOUT}: {Fallback(result.fallback)}" if result.fallback else ""
            cuts[step] = Cut(_shifted(gone, step.start), _moves(step, task, result, examined), how) if safe else None
    return cuts


def _moves(step: Step, task: Task, kept: Kept, examined: Examined) -> Moves | None:
    """The order that the compressor asks for, where the policy lets it."""
    if not step.reorder or not kept.order:
        return None
    try:
        text = examined.request.fields[step.field].text
        floor = max(
            (s.end for s in examined.segments if s.field == step.field and s.end <= step.start and s.may_change),
            default=0,
        )
        return moves(text, _shifted(task.documents, step.start), kept.order, floor)
    except ValueError as error:
        raise CompressionError(f"{step.compressor}: {error}") from None


def _shifted(spans: Iterable[Span], by: int) -> tuple[Span, ...]:
    return tuple((by + start, by + end) for start, end in spans)


def _task(step: Step, examined: Examined) -> Task:
    own = [examined.segments[i] for i in step.segments]
    free = [(a - step.start, b - step.start) for s in own for a, b in s.may_change]
    documents: dict[str, Span] = {}
    for n, s in enumerate(own):
        key = s.document or f"#{n}"
        start = documents[key][0] if key in documents else s.start - step.start
        documents[key] = (start, s.end - step.start)
    return Task(
        text=examined.request.fields[step.field].text[step.start : step.end],
        budget=step.budget,
        question=step.question,
        protected=complement(merge(free), step.end - step.start),
        documents=_apart(sorted(documents.values())),
        encoding=examined.encoding,
        before=examined.request.fields[step.field].text[max(0, step.start - _BEFORE) : step.start],
    )


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans that run into each other (a document quoted inside another) are left out: documents stand apart."""
    found: list[Span] = []
    for span in spans:
        if not found or span[0] >= found[-1][1]:
            found.append(span)
    return tuple(found)


def _checked(kept: Kept, task: Task, name: str) -> tuple[Span, ...]:
    at = 0
    spans: list[Span] = []
    for start, end in kept.spans:  # once: it may be something that can be read but once
        if not at <= start < end <= len(task.text):
            raise CompressionError(f"{name} gave spans that are not ordered ranges of the text")
        spans.append((start, end))
        at = end
    return tuple(spans)


def _without(text: str, cuts: Sequence[Span], offset: int = 0) -> str:
    """`text`, which begins at `offset` of its field, without the merged ranges `cuts` of that field."""
    gone = within(cuts, offset, offset + len(text))
    return join(text, ((a - offset, b - offset) for a, b in complement(gone, offset + len(text), offset)))


# Verify: what brings nothing or breaks something is put back.


class _Verified:
    """The new texts of the fields, what became of each segment, and the tokens of each segment afterwards."""

    def __init__(self, examined: Examined, plan: Plan, cuts: Mapping[Step, Cut | None]) -> None:
        self._examined = examined
        self._counter: Counter = counter(examined.encoding)
        self.reasons = list(plan.reasons)
        self.tokens = [s.tokens for s in examined.segments]
        self.texts: dict[int, str] = {}
        self.kept: dict[int, tuple[Span, ...]] = {}
        fields = examined.request.fields
        marks = {n: segmentation.marks(f.text) for n, f in enumerate(fields) if "<laconic:" in f.text}
        by_field: dict[int, dict[Step, Cut]] = {n: {} for n, spans in marks.items() if spans}
        for step, cut in cuts.items():
            if cut is None:
                self._settle(step, "restored: it would have lost protected text")
            else:
                by_field.setdefault(step.field, {})[step] = cut
        for field, steps in by_field.items():
            self._field(field, steps, marks.get(field, ()))

    def _field(self, index: int, steps: Mapping[Step, Cut], marks: tuple[Span, ...]) -> None:
        text = self._examined.request.fields[index].text
        good = {step: cut for step, cut in steps.items() if self._gains(step, cut)}
        gone = merge(chain(marks, *(cut.gone for cut in good.values())))
        ranges = arranged(len(text), (cut.moves for cut in good.values() if cut.moves))
        new = "".join(_without(text[a:b], gone, a) for a, b in ranges)
        before, after = self._counter.count_all([text, new])
        if after < before and new.strip():
            self.texts[index] = new
            self.kept[index] = complement(gone, len(text))
            return
        for step, cut in good.items():
            self._settle(step, "no gain" + cut.how if new.strip() else "restored: nothing would be left")

    def _gains(self, step: Step, cut: Cut) -> bool:
        own = [self._examined.segments[i] for i in step.segments]
        after = self._counter.count_all([_without(s.text, cut.gone, s.start) for s in own])
        if sum(after) >= sum(s.tokens for s in own):
            self._settle(step, "no gain" + cut.how)
            return False
        for i, s, n in zip(step.segments, own, after, strict=True):
            self.reasons[i] = (COMPRESSED if n < s.tokens else "no gain") + cut.how
            self.tokens[i] = min(n, s.tokens)
        return True

    def _settle(self, step: Step, reason: str) -> None:
        """Puts the segments of a step back as they were."""
        for i in step.segments:
            self.reasons[i] = reason
            self.tokens[i] = self._examined.segments[i].tokens


def _measured(examined: Examined, result: _Verified, stages: Stages) -> Measured:
    before: Tally[str] = Tally()
    after: Tally[str] = Tally()
    for segment, tokens in zip(examined.segments, result.tokens, strict=True):
        before[segment.kind] += segment.tokens
        after[segment.kind] += tokens
    return Measured(
        outcome=Outcome.COMPRESSED if result.texts else Outcome.UNTOUCHED,
        reason=(_how if result.texts else _why_not)(examined.segments, result.reasons),
        model=examined.request.model,
        encoding=examined.encoding,
        estimated=examined.estimated,
        tokens_before=before.total(),
        tokens_after=after.total(),
        kinds=tuple(KindTokens(kind, before[kind], after[kind]) for kind in sorted(before)),
        reasons=tuple(sorted(Tally(result.reasons).items())),
        stages=tuple(stages.laps),
    )


def _how(segments: Sequence[Segment], reasons: Sequence[str]) -> str:
    """Why the largest of the segments that were shortened without a model was; "" where none was."""
    plain = {n: reason[len(COMPRESSED) + 1 :] for n, reason in enumerate(reasons) if reason.startswith(COMPRESSED)}
    return max(((segments[n].tokens, -n, how) for n, how in plain.items() if how), default=(0, 0, ""))[2]


def _why_not(segments: Sequence[Segment], reasons: Sequence[str]) -> str:
    """The reason of the largest segment that could have shrunk."""
    able = [(s.tokens, -n) for n, s in enumerate(segments) if s.kind in _MAY_SHRINK]
    return reasons[-max(able)[1]] if able else "nothing in it that may be shortened"
