"""`RulePolicy`: one rule for each kind of segment, and the plan that follows from the rules.

Segments of one message that are of one kind and stand beside each other, with at most delimiters and titles (OTHER)
between them, form a block: the documents of one context. A block gets one step and one budget, so that its documents
compete with each other, and its size is the sum of theirs.

What a plan says of a block depends on the block, on the question of its own turn and on the rules; never on a later
turn, so that a message leaves in the same form in every later request (providers discount a prefix that they have
seen). Context in a user's message has the question of its own turn, and keeps the form that it got for it. So has
context that stands before all turns, in a system message; where several turns lean on it, its step is only for those
who know that it was taken at the first of them (`policies.cachesafe`). One setting steps out of this: `keep_recent`,
which lets go of a turn once it is no longer recent, and so changes what providers have seen.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from compressors.base import Budget, Tokens
from compressors.spans import sentences
from compressors.structured import layout
from policies.base import Kind, Mode, Plan, Segment, Step
from policies.budget import Range, choose, lossy

PLANNED = "planned"
KEPT = "kept by policy"
PROTECTED = "protected"
SHORT = "too short"
PINNED = "cache-pinned"
RECENT = "recent turn"
BLIND = "no question"

_BLIND_KINDS = (Kind.HISTORY, Kind.DEMONSTRATION)  # shortened without their question: the same for all of them
_READ = 8000  # characters
_SENTENCE = 30  # characters of a sentence at least: fewer are a label or a value; scripts without spaces pass too
_MOSTLY = 0.7
_STOP = re.compile(r"""[\w)\]"'”’»][.!?…。！？।؟]["'”’»)\]*_」』]*\s*$""")


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one kind.

    `ranges`: budgets by size of the block, in tokens. `min_tokens`: smaller blocks stay. `keep_recent`: so many of the
    newest turns stay whole. `keep_shared`: what is asked of again and again stays, since the next question may need
    what the last one did not: context before all turns (in a system message) that several turns lean on, and material
    that other requests bring for other questions. `keep_blind`: nothing is dropped where the turn has no question to
    drop by. These two hold back lossy budgets only. `roles`: only messages of these roles are touched; empty: all.
    `reorder`: documents may be put into the order that the compressor asks for.
    """

    compressor: str
    ranges: tuple[Range, ...]
    min_tokens: int = 0
    keep_recent: int = 0
    keep_shared: bool = True
    keep_blind: bool = True
    roles: tuple[str, ...] = ()
    reorder: bool = False


@dataclass(frozen=True, slots=True)
class RulePolicy:
    """A `Policy` made of rules. A kind without a rule stays as it is."""

    name: str
    mode: Mode
    rules: Mapping[Kind, Rule]
    recover: bool = False  # names, dates and numbers of answers are put back to how the original has them

    @property
    def compressors(self) -> frozenset[str]:
        """The names of the compressors that the rules can call for."""
        return frozenset(rule.compressor for rule in self.rules.values())

    def plan(self, segments: Sequence[Segment]) -> Plan:
        """`segments` in the order in which they stand in the request. Context that is JSON, a table, a log, a diff
        or HTML follows the rule for tool output: structure is dropped in whole rows, not in sentences. Tool output that
        is prose (passages that a search tool found) follows the rule for context."""
        reasons = [segment.guard or PROTECTED if not segment.may_change else KEPT for segment in segments]
        steps: list[Step] = []
        pinned: list[Step] = []
        turns = min((s.message for s in segments if s.role not in ("system", "developer")), default=0)
        for block in _blocks(segments):
            shared = segments[block[0]].message < turns and segments[block[0]].questions > 1
            reason, step = self._decide(segments, block, shared)
            for index in block:
                reasons[index] = reason
            if step:
                (pinned if reason == PINNED else steps).append(step)
        return Plan(tuple(steps), tuple(reasons), tuple(pinned))

    def _decide(self, segments: Sequence[Segment], block: tuple[int, ...], shared: bool) -> tuple[str, Step | None]:
        first, last = segments[block[0]], segments[block[-1]]
        rule = self._rule(first)
        if rule is None or (rule.roles and first.role not in rule.roles):
            return KEPT, None
        tokens = sum(segments[index].tokens for index in block)
        budget = choose(rule.ranges, tokens)
        if _small(rule, tokens, budget):
            return SHORT, None
        if budget is None:
            return KEPT, None
        reason = _held(rule, first, budget, shared)
        if reason not in ("", PINNED):
            return reason, None
        where = (first.field, first.start, last.end, block)
        recognise = rule.keep_shared and lossy(budget) and first.kind not in _BLIND_KINDS
        return reason or PLANNED, Step(*where, rule.compressor, budget, first.question, rule.reorder, recognise)

    def _rule(self, segment: Segment) -> Rule | None:
        rule = self.rules.get(segment.kind)
        if rule and segment.kind is Kind.CONTEXT and _has_structure(segment.text):
            data = self.rules.get(Kind.TOOL_OUTPUT)
            return data and replace(data, keep_recent=rule.keep_recent, keep_shared=rule.keep_shared, roles=rule.roles)
        if rule and segment.kind is Kind.TOOL_OUTPUT and _is_prose(segment.text):
            return self.rules.get(Kind.CONTEXT)
        return rule


def _small(rule: Rule, tokens: int, budget: Budget | None) -> bool:
    lowest = max(rule.min_tokens, min(r.low for r in rule.ranges))
    return tokens < lowest or (isinstance(budget, Tokens) and tokens <= budget.value)


def _held(rule: Rule, segment: Segment, budget: Budget, shared: bool) -> str:
    """Why a block that is long enough stays all the same; "" where nothing holds it.

    A lossless budget does not look at any question, so neither a second one nor a missing one matters to it.
    """
    if segment.turn < rule.keep_recent:
        return RECENT
    if not lossy(budget):
        return ""
    if rule.keep_blind and not segment.question.strip():
        return BLIND
    return PINNED if shared and rule.keep_shared and segment.kind is Kind.CONTEXT else ""


def _blocks(segments: Sequence[Segment]) -> Iterator[tuple[int, ...]]:
    """Indexes of the changeable segments that share a budget. A segment that may not change ends a block: inside it,
    it would use up the budget of its neighbours."""
    block: list[int] = []
    for index, segment in enumerate(segments):
        if block and not _beside(segments[block[-1]], segment):
            yield tuple(block)
            block = []
        if segment.may_change and segment.kind is not Kind.OTHER:
            block.append(index)
    if block:
        yield tuple(block)


def _beside(one: Segment, other: Segment) -> bool:
    if one.field != other.field:
        return False
    if other.kind is Kind.OTHER:
        return True
    return bool(other.may_change) and other.kind is one.kind and other.question == one.question


def _has_structure(text: str) -> bool:
    """Whether rows or blocks can be told apart in it, or it is JSON, which must stay JSON even where nothing can go."""
    return bool(layout(text).units) or _is_json(text)


def _is_prose(text: str) -> bool:
    """Whether most of a text's beginning is written in sentences: no listing, no program's output, no code."""
    text = text[:_READ]
    said = [(a, b) for a, b in sentences(text) if b - a >= _SENTENCE and _STOP.search(text[max(a, b - 40) : b])]
    written = sum(b - a for a, b in said)
    return written >= _MOSTLY * len(text) and not _has_structure(text)


def _is_json(text: str) -> bool:
    text = text.strip()
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return False
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
