"""Policies as they are written in TOML: the keys, what they may hold, and the `RulePolicy` that a table stands for."""

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

import compressors
from compressors.base import Budget, Rate, Threshold, Tokens
from policies.base import Kind, Mode
from policies.budget import Range, overlap
from policies.rules import Rule, RulePolicy
from policies.tables import Complaint, Path, read, unknown

Share = Annotated[float, Meta(gt=0, le=1, title="a number above 0 and up to 1")]
Score = Annotated[float, Meta(ge=0, le=1, title="a number from 0 to 1")]
Count = Annotated[int, Meta(ge=0, title="a whole number from 0")]
Amount = Annotated[int, Meta(ge=1, title="a whole number from 1")]
Touch = Literal["keep", "compress"]


class RangeTable(Struct):
    """One of `ranges`. Sizes that no range holds stay whole."""

    rate: Annotated[Share | None, Meta(description="as above")] = None
    tokens: Annotated[Amount | None, Meta(description="as above")] = None
    threshold: Annotated[Score | None, Meta(description="as above")] = None
    min: Annotated[Count, Meta(description="the smallest size, in tokens, that this range holds")] = 0
    max: Annotated[Amount | None, Meta(description="the first size outside; without it: no end")] = None


class RuleTable(Struct):
    compressor: Annotated[
        str | None, Meta(description="who shortens: a name in `compressors`, or the NAME of a `[compressor.NAME]`")
    ] = None
    rate: Annotated[Share | None, Meta(description="the share of the tokens that stays; 1.0: lossless")] = None
    tokens: Annotated[Amount | None, Meta(description="the number of tokens that stays")] = None
    threshold: Annotated[
        Score | None, Meta(description="what scores at least this share of the best stays, whatever the size")
    ] = None
    ranges: Annotated[list[dict[str, object]] | None, Meta(title="a list of ranges", description="by size")] = None
    min_tokens: Annotated[Count, Meta(description="smaller blocks stay whole")] = 0
    keep_recent: Annotated[Count, Meta(description="so many of the newest user turns stay whole")] = 0
    shared: Annotated[Touch, Meta(description="texts that are asked of again and again")] = "keep"
    no_question: Annotated[Touch, Meta(description="what has no question to be shortened by")] = "keep"
    reorder: Annotated[
        bool,
        Meta(description="whole documents may move where the compressor asks for it, with their numbers and titles"),
    ] = False
    roles: Annotated[
        list[Literal["system", "developer", "user", "assistant", "tool", "function"]],
        Meta(description="only messages of these roles are touched; empty: all"),
    ] = []


RuleOrKeep = Annotated[Literal["keep"] | dict[str, object] | None, Meta(title='"keep" or a table of a rule\'s keys')]


class PolicyTable(Struct):
    extends: Annotated[str | None, Meta(description="start from this policy; rules are merged key by key")] = None
    mode: Annotated[Literal["off", "audit", "on"], Meta(description="audit: measure, send the original; inherited")] = (
        "on"
    )
    recover: Annotated[
        bool,
        Meta(description="names, dates and numbers in answers are put back to how the original has them; inherited"),
    ] = False
    context: Annotated[RuleOrKeep, Meta(description="retrieved documents, pasted text")] = None
    tool_output: Annotated[
        RuleOrKeep, Meta(description="results of tools, and context that is JSON, a table, a log, a diff or HTML")
    ] = None
    history: Annotated[RuleOrKeep, Meta(description="earlier turns")] = None
    code: Annotated[RuleOrKeep, Meta(description="source files and diffs given as context")] = None
    demonstration: Annotated[RuleOrKeep, Meta(description="few-shot examples")] = None


KINDS = (Kind.CONTEXT, Kind.TOOL_OUTPUT, Kind.HISTORY, Kind.CODE, Kind.DEMONSTRATION)
AMOUNTS = ("rate", "tokens", "threshold", "ranges")


def build(
    tables: Mapping[str, object],
    parents: Mapping[str, object],
    complaints: list[Complaint],
    shorteners: Collection[str] | None = None,
) -> dict[str, RulePolicy]:
    """The policies that the `tables` stand for, by name; they may extend each other and the `parents`. `shorteners`:
    the names of the compressors that rules may name, None for those in `compressors`.

    Paths of complaints start with the policy's name. Where there are any, the policies are not to be used.
    """
    known = {**parents, **tables}
    built = {}
    for name, table in tables.items():
        own = read(PolicyTable, table, (name,), complaints)
        line = _line(name, known, complaints)
        rules = {}
        for kind in KINDS:
            written = own and getattr(own, kind)
            if isinstance(written, dict):
                _check_rule(kind, written, (name, kind), complaints)
                _check_compressor(written, (name, kind), shorteners or compressors.names(), complaints)
            rule = _rule(_merged(kind, line), (name, kind), complaints if isinstance(written, dict) else [])
            if rule:
                rules[kind] = rule
        mode = next((t["mode"] for t in line if t.get("mode") in tuple(Mode)), Mode.ON)
        recover = next((t["recover"] for t in line if isinstance(t.get("recover"), bool)), False)
        built[name] = RulePolicy(name, Mode(str(mode)), rules, bool(recover))
    return built


def _line(name: str, known: Mapping[str, object], complaints: list[Complaint]) -> list[dict[str, object]]:
    """The table of this policy, of the one that it extends, and so on."""
    line: list[dict[str, object]] = []
    seen: list[str] = []
    while isinstance(table := known.get(name), dict):
        line.append(table)
        seen.append(name)
        parent = table.get("extends")
        if not isinstance(parent, str):
            break
        if parent in seen:
            complaints.append(Complaint((seen[0], "extends"), f"goes in a circle: {' -> '.join([*seen, parent])}"))
            break
        if parent not in known and len(seen) == 1:
            complaints.append(unknown((name, "extends"), parent, known, "policy"))
        name = parent
    return line


def _merged(kind: Kind, line: list[dict[str, object]]) -> dict[str, object] | None:
    """The keys of the rule for a kind, nearer tables over farther ones; how much stays is one thing, however said."""
    merged: dict[str, object] | None = None
    for table in reversed(line):
        written = table.get(kind)
        if isinstance(written, dict):
            fresh = any(key in written for key in AMOUNTS)
            merged = {k: v for k, v in (merged or {}).items() if not (fresh and k in AMOUNTS)} | written
        elif written == "keep":
            merged = None
    return merged


def _check_rule(kind: Kind, table: dict[str, object], at: Path, complaints: list[Complaint]) -> None:
    """What is wrong with a rule as it is written, before it is merged with what it extends."""
    rule = read(RuleTable, table, at, complaints)
    given = [key for key in AMOUNTS if key in table]
    if len(given) > 1:
        complaints.append(Complaint((*at, given[1]), f"contradicts {given[0]!r}", "one of " + ", ".join(AMOUNTS)))
    if "shared" in table and kind is not Kind.CONTEXT:
        complaints.append(Complaint((*at, "shared"), f"does not apply to {kind}", "this key in context only"))
    if "reorder" in table and kind is not Kind.CONTEXT:
        complaints.append(Complaint((*at, "reorder"), f"does not apply to {kind}", "this key in context only"))
    if rule is None:
        return
    if rule.ranges is not None:
        _ranges(rule.ranges, (*at, "ranges"), complaints)


def _check_compressor(table: dict[str, object], at: Path, known: Collection[str], complaints: list[Complaint]) -> None:
    named = table.get("compressor")
    if isinstance(named, str) and named not in known:
        complaints.append(unknown((*at, "compressor"), named, known, "compressor"))


def _rule(merged: dict[str, object] | None, at: Path, complaints: list[Complaint]) -> Rule | None:
    """The rule that the merged keys stand for. Only what is missing is a complaint here."""
    rule = None if merged is None else read(RuleTable, merged, at, [])
    if rule is None:
        return None
    budget = _budget(rule)
    ranges = (Range(budget),) if budget else _ranges(rule.ranges or [], at, [])
    if rule.compressor is None:
        complaints.append(Complaint((*at, "compressor"), "is missing", ", ".join(compressors.names())))
    if not any(key in (merged or {}) for key in AMOUNTS):
        complaints.append(Complaint(at, "does not say how much stays", "one of " + ", ".join(AMOUNTS)))
    if rule.compressor is None or not ranges:
        return None
    return Rule(
        compressor=rule.compressor,
        ranges=ranges,
        min_tokens=rule.min_tokens,
        keep_recent=rule.keep_recent,
        keep_shared=rule.shared == "keep",
        keep_blind=rule.no_question == "keep",
        roles=tuple(rule.roles),
        reorder=rule.reorder,
    )


def _ranges(tables: list[dict[str, object]], at: Path, complaints: list[Complaint]) -> tuple[Range, ...]:
    ranges = []
    for index, table in enumerate(tables):
        written = read(RangeTable, table, (*at, index), complaints)
        budget = written and _budget(written)
        if len([key for key in AMOUNTS if key in table]) != 1:
            complaints.append(Complaint((*at, index), "does not say how much stays", "rate, tokens or threshold"))
        elif written and written.max is not None and written.max <= written.min:
            complaints.append(Complaint((*at, index, "max"), "is not above min", "a number above min"))
        elif written and budget:
            ranges.append(Range(budget, written.min, written.max))
    if not tables:
        complaints.append(Complaint(at, "is empty", "at least one range"))
    if overlap(ranges):
        complaints.append(Complaint(at, "overlap", "ranges apart from each other; max is the first size outside"))
    return tuple(ranges)


def _budget(table: RuleTable | RangeTable) -> Budget | None:
    if table.rate is not None:
        return Rate(table.rate)
    if table.tokens is not None:
        return Tokens(table.tokens)
    return None if table.threshold is None else Threshold(table.threshold)
