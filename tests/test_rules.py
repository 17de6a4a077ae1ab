"""What a policy of rules plans: tables of segments in, steps and reasons out."""

from dataclasses import replace

import pytest

from compressors.base import Rate, Tokens
from policies.base import Kind, Mode, Segment, Step
from policies.budget import LOSSLESS, Range
from policies.presets import PRESETS
from policies.rules import Rule, RulePolicy

HALF = Rule("lexical", (Range(Rate(0.5), 100),))
POLICY = RulePolicy("test", Mode.ON, {Kind.CONTEXT: HALF, Kind.TOOL_OUTPUT: Rule("structured", (Range(Rate(0.7)),))})
BASE = Segment(0, 0, None, 0, 10, Kind.CONTEXT, "user", "ten points", question="why?", tokens=80)


def row(*parts: tuple[Kind, int] | Segment, field: int = 0) -> list[Segment]:
    """Segments of one field, one after the other, each ten characters long: a kind and tokens, or a segment."""
    segments = []
    for n, part in enumerate(parts):
        segment = part if isinstance(part, Segment) else replace(BASE, kind=part[0], tokens=part[1])
        start = n * 10
        free = ((start, start + 10),) if segment.may_change or not isinstance(part, Segment) else ()
        segments.append(replace(segment, field=field, message=field, start=start, end=start + 10, may_change=free))
    return segments


def changed(rule: Rule) -> RulePolicy:
    return RulePolicy("test", Mode.ON, {Kind.CONTEXT: rule})


def reason(rule: Rule, segment: Segment) -> str:
    """Why a segment, all of it free to change, stays or goes, with the newest user message after it."""
    asked = replace(BASE, field=9, message=9, kind=Kind.QUESTION)
    return changed(rule).plan([replace(segment, may_change=((segment.start, segment.end),)), asked]).reasons[0]


def test_documents_of_one_block_share_one_budget() -> None:
    """From the first's start to the last's end, over the titles between them; its size is the sum of theirs."""
    documents = row((Kind.CONTEXT, 80), (Kind.OTHER, 3), (Kind.CONTEXT, 80), (Kind.CONTEXT, 80), (Kind.OTHER, 3))
    plan = POLICY.plan(documents)
    assert plan.steps == (Step(0, 0, 40, (0, 2, 3), "lexical", Rate(0.5), "why?", recognise=True),)
    assert plan.reasons == ("planned", "kept by policy", "planned", "planned", "kept by policy")


@pytest.mark.parametrize("between", [Kind.QUESTION, Kind.INSTRUCTION, Kind.HISTORY, Kind.TOOL_OUTPUT])
def test_another_part_between_them_makes_two_blocks(between: Kind) -> None:
    plan = POLICY.plan(row((Kind.CONTEXT, 120), (between, 5), (Kind.CONTEXT, 120)))
    assert [s.segments for s in plan.steps if s.compressor == "lexical"] == [(0,), (2,)]


def test_documents_of_two_messages_make_two_blocks() -> None:
    plan = POLICY.plan(row((Kind.CONTEXT, 120)) + row((Kind.CONTEXT, 120), field=1))
    assert [(s.field, s.segments) for s in plan.steps] == [(0, (0,)), (1, (1,))]


def test_a_guarded_document_ends_a_block_and_says_why() -> None:
    """In the block it would use up the budget of its neighbours."""
    kept = replace(BASE, guard="marked to keep")
    plan = POLICY.plan(row((Kind.CONTEXT, 120), kept, (Kind.CONTEXT, 120)))
    assert plan.reasons == ("planned", "marked to keep", "planned")
    assert [s.segments for s in plan.steps] == [(0,), (2,)]


def test_whatever_may_not_change_has_a_reason_even_without_a_guard() -> None:
    assert POLICY.plan([BASE]).reasons == ("protected",)


@pytest.mark.parametrize("kind", [k for k in Kind if k not in (Kind.CONTEXT, Kind.TOOL_OUTPUT)])
def test_kinds_without_a_rule_stay(kind: Kind) -> None:
    plan = POLICY.plan(row((kind, 5000)))
    assert (plan.steps, plan.reasons) == ((), ("kept by policy",))


@pytest.mark.parametrize(
    ("rule", "tokens", "expected"),
    [
        (HALF, 99, "too short"),
        (HALF, 100, "planned"),
        (replace(HALF, min_tokens=200), 199, "too short"),
        (replace(HALF, min_tokens=200), 200, "planned"),
        (replace(HALF, ranges=(Range(Tokens(100)),)), 100, "too short"),
        (replace(HALF, ranges=(Range(Tokens(100)),)), 101, "planned"),
        (replace(HALF, ranges=(Range(Rate(0.5), 0, 500),)), 500, "kept by policy"),
        (replace(HALF, ranges=(Range(Rate(0.5), 0, 100), Range(Rate(0.5), 200))), 150, "kept by policy"),
    ],
)
def test_size_decides(rule: Rule, tokens: int, expected: str) -> None:
    assert reason(rule, replace(BASE, tokens=tokens)) == expected


@pytest.mark.parametrize(
    ("change", "segment", "expected"),
    [
        ({}, {"questions": 2, "role": "system"}, "cache-pinned"),
        ({}, {"questions": 2, "role": "developer"}, "cache-pinned"),
        ({}, {"questions": 1, "role": "system"}, "planned"),
        ({}, {"questions": 2, "role": "user"}, "planned"),
        ({"keep_shared": False}, {"questions": 2, "role": "system"}, "planned"),
        ({"ranges": (Range(LOSSLESS),)}, {"questions": 2, "role": "system"}, "planned"),
        ({}, {"question": " \n"}, "no question"),
        ({"keep_blind": False}, {"question": ""}, "planned"),
        ({"ranges": (Range(LOSSLESS),)}, {"question": ""}, "planned"),
        ({"keep_recent": 2}, {"turn": 1}, "recent turn"),
        ({"keep_recent": 2}, {"turn": 2}, "planned"),
        ({"roles": ("assistant",)}, {"role": "user"}, "kept by policy"),
        ({"roles": ("assistant",)}, {"role": "assistant"}, "planned"),
    ],
)
def test_a_long_enough_block_may_still_be_held_back(change: dict, segment: dict, expected: str) -> None:  # type: ignore[type-arg]
    assert reason(replace(HALF, **change), replace(BASE, tokens=500, **segment)) == expected


def test_a_system_message_between_turns_belongs_to_its_turn() -> None:
    """Nothing that comes later may take back what was done to it."""
    late = replace(BASE, field=2, message=2, role="system", questions=2, tokens=500, may_change=((0, 10),))
    assert changed(HALF).plan([replace(BASE, message=1), late]).reasons[1] == "planned"


@pytest.mark.parametrize(
    "text",
    [
        "day,store,units\n" + "".join(f"2025-01-{n:02},S{n % 3},{n * 7}\n" for n in range(1, 20)),
        "".join(f"2025-01-01T10:00:{n:02}Z INFO worker {n} took job {n * 3}\n" for n in range(20)),
    ],
)
def test_tables_and_logs_in_context_are_dropped_by_rows_too(text: str) -> None:
    rows = replace(BASE, tokens=500, text=text, may_change=((0, 10),))
    assert [s.compressor for s in POLICY.plan([rows]).steps] == ["structured"]


PASSAGE = "The ferry to the outer islands leaves at eight. It takes forty minutes, longer in winter. Dogs travel free. "


@pytest.mark.parametrize(
    ("text", "compressor"),
    [
        (PASSAGE * 4, "pruner"),
        ("外岛的渡轮八点出发，航程四十分钟，冬天要更久一些，狗可以免费乘船，自行车另外收费两元。" * 9, "pruner"),
        ("$ ls -la\ntotal 48\ndrwxr-xr-x 2 a a 4096 Jan 1 notes\n" * 9, "structured"),
        ("def ferry(hour):\n    if hour < 8:\n        return None\n    return hour\n" * 9, "structured"),
        ('{"text": "' + PASSAGE * 4 + '"}', "structured"),
    ],
)
def test_passages_that_a_tool_found_are_prose_and_other_output_is_not(text: str, compressor: str) -> None:
    found = replace(BASE, kind=Kind.TOOL_OUTPUT, role="tool", tokens=2000, text=text, may_change=((0, 10),))
    assert [s.compressor for s in PRESETS["balanced"].plan([found]).steps] == [compressor]


def test_context_that_is_json_follows_the_rule_for_tool_output() -> None:
    rows = replace(BASE, tokens=500, text='[{"id": 1}, {"id": 2}]', may_change=((0, 10),))
    assert [s.compressor for s in POLICY.plan([rows]).steps] == ["structured"]
    asked = replace(BASE, message=1, kind=Kind.QUESTION)
    assert POLICY.plan([replace(rows, questions=2, role="system"), asked]).reasons[0] == "cache-pinned"
    assert changed(HALF).plan([rows]).reasons == ("kept by policy",)
    quoted = replace(rows, text="[1] Not JSON, only marks [2]")
    assert [s.compressor for s in POLICY.plan([quoted]).steps] == ["lexical"]


def test_no_segments_no_plan() -> None:
    assert (POLICY.plan([]).steps, POLICY.plan([]).reasons) == ((), ())


def test_a_policy_names_its_compressors() -> None:
    assert POLICY.compressors == {"lexical", "structured"}
