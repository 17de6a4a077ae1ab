"""The policies on board, and what a caller may make of them.

The replay tests hold "sent once, sent the same": what is done to a message must not depend on later turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors.base import Budget, Rate, Threshold, Tokens
from policies.base import Kind, Mode, Policy, Segment, Step
from policies.budget import LOSSLESS, Range, lossy
from policies.cachesafe import Form, Sight, settle
from policies.presets import DEFAULT, PRESETS, TABLES, audited, lowered
from policies.rules import Rule, RulePolicy
from policies.tables import Complaint
from policies.written import build

SIZES = (50, 250, 700, 1500, 5000)


def segment(kind: Kind, tokens: int, role: str = "user", question: str = "why?") -> Segment:
    return Segment(0, 0, None, 0, 10, kind, role, "ten points", question=question, tokens=tokens, may_change=((0, 10),))


def budget(policy: Policy, one: Segment) -> Budget | None:
    """What a policy allows a segment; None where it leaves it as it is."""
    return next((step.budget for step in policy.plan([one]).steps), None)


def test_presets_are_written_without_a_fault() -> None:
    complaints: list[Complaint] = []
    assert build(TABLES, {}, complaints) == PRESETS
    assert complaints == []
    assert list(PRESETS) == ["off", "audit", "safe", "balanced", "aggressive"]
    assert DEFAULT in PRESETS


def test_every_compressor_of_a_preset_is_registered() -> None:
    assert {name for policy in PRESETS.values() for name in policy.compressors} <= set(compressors.names())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", [Kind.INSTRUCTION, Kind.QUESTION, Kind.DEMONSTRATION, Kind.OTHER])
def test_no_preset_touches_what_is_said_to_the_model(name: str, kind: Kind) -> None:
    assert all(budget(PRESETS[name], segment(kind, tokens)) is None for tokens in SIZES)


def test_audit_measures_balanced() -> None:
    assert (PRESETS["audit"].mode, PRESETS["audit"].rules) == (Mode.AUDIT, PRESETS["balanced"].rules)
    assert (PRESETS["off"].mode, PRESETS["off"].rules) == (Mode.OFF, {})


def test_safe_is_lossless() -> None:
    budgets = [budget(PRESETS["safe"], segment(kind, t, "assistant")) for kind in Kind for t in SIZES]
    assert not any(b and lossy(b) for b in budgets)
    assert any(budgets)


@pytest.mark.parametrize(("milder", "stronger"), [("safe", "balanced"), ("balanced", "aggressive")])
@pytest.mark.parametrize("kind", [Kind.CONTEXT, Kind.TOOL_OUTPUT, Kind.HISTORY, Kind.CODE])
def test_presets_grow_stronger(milder: str, stronger: str, kind: Kind) -> None:
    for tokens in SIZES:
        one = segment(kind, tokens, "assistant")
        assert rate(budget(PRESETS[stronger], one)) <= rate(budget(PRESETS[milder], one))


@pytest.mark.parametrize("name", ["safe", "balanced", "aggressive"])
def test_structure_is_compressed_less_than_prose_and_code_not_at_all(name: str) -> None:
    policy = PRESETS[name]
    for tokens in SIZES:
        assert rate(budget(policy, segment(Kind.TOOL_OUTPUT, tokens))) >= rate(
            budget(policy, segment(Kind.CONTEXT, tokens))
        )
        code = budget(policy, segment(Kind.CODE, tokens))
        assert code is None or not lossy(code)


def rate(given: Budget | None) -> float:
    if given is None:
        return 1.0
    assert isinstance(given, Rate)
    return given.value


# What a header may do.


def policy_of(given: Budget) -> RulePolicy:
    return RulePolicy("mine", Mode.ON, {Kind.CONTEXT: Rule("lexical", (Range(given),))})


@pytest.mark.parametrize(
    ("before", "after"),
    [(Rate(0.3), Rate(0.8)), (Rate(0.9), Rate(0.9)), (Tokens(10), Rate(0.8)), (Threshold(0.5), LOSSLESS)],
)
def test_lowered_keeps_at_least_its_floor(before: Budget, after: Budget) -> None:
    assert budget(lowered(policy_of(before), 0.8), segment(Kind.CONTEXT, 100)) == after


def test_lowered_changes_nothing_else() -> None:
    policy = policy_of(Rate(0.3))
    assert (lowered(policy, 0.8).name, lowered(policy, 0.8).mode) == ("mine", Mode.ON)
    segments = [segment(Kind.CONTEXT, 100), segment(Kind.QUESTION, 5)]
    assert lowered(policy, 0.8).plan(segments).reasons == policy.plan(segments).reasons


@pytest.mark.parametrize("floor", [0, -0.1, 1.01, float("nan")])
def test_a_floor_is_a_share(floor: float) -> None:
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        lowered(PRESETS["balanced"], floor)


def test_audited_plans_the_same_and_leaves_off_off() -> None:
    one = segment(Kind.CONTEXT, 5000)
    policy = audited(lowered(PRESETS["balanced"], 0.9))
    assert (policy.mode, policy.name, budget(policy, one)) == (Mode.AUDIT, "balanced", Rate(0.9))
    assert audited(PRESETS["off"]).mode is Mode.OFF


# Replays. A conversation is what the client knows at the end; its n-th body holds the first n user turns.


@dataclass(frozen=True)
class Turn:
    """Tokens of each part; 0: not there. `asks` False: the user's message holds documents and no question."""

    context: int
    tool: int
    answer: int
    asks: bool = True


def bodies(system_context: int, turns: Sequence[Turn]) -> list[list[Segment]]:
    """The segments of each body of a conversation, as they would be cut: what was the question becomes history."""
    return [body(system_context, turns[: n + 1]) for n in range(len(turns))]


def body(system_context: int, turns: Sequence[Turn]) -> list[Segment]:
    last = len(turns) - 1
    found = [place(0, Kind.INSTRUCTION, "system", 40, "", 0, last)]
    if system_context:
        found.append(place(0, Kind.CONTEXT, "system", system_context, "question 0", 0, last, start=10))
    for n, turn in enumerate(turns):
        question = f"question {n}" if turn.asks else ""
        ask = Kind.QUESTION if n == last else Kind.HISTORY
        parts = [
            (0, Kind.CONTEXT, "user", turn.context, 0),
            (0, ask, "user", 12, 10),
            (1, Kind.TOOL_OUTPUT, "tool", turn.tool, 0),
            (2, Kind.HISTORY, "assistant", turn.answer if n < last else 0, 0),
        ]
        for offset, kind, role, tokens, start in parts:
            if tokens:
                found.append(place(1 + 3 * n + offset, kind, role, tokens, question, n, last, start=start))
    return found


def place(
    message: int, kind: Kind, role: str, tokens: int, question: str, turn: int, last: int, *, start: int = 0
) -> Segment:
    span = (start, start + 10)
    free = () if kind in (Kind.QUESTION, Kind.INSTRUCTION) else (span,)
    return Segment(
        message,
        message,
        None,
        *span,
        kind,
        role,
        "ten points",
        None,
        question,
        last - turn + 1,
        last - turn,
        tokens,
        free,
    )


Deeds = dict[int, list[Step]]  # by message


def deeds(policy: Policy, segments: Sequence[Segment], before: Deeds) -> Deeds:
    """What a policy does to each message, for somebody who knows what was done `before`. Indexes of segments are no
    part of it: they say nothing about its form."""
    plan = policy.plan(segments)
    known = {
        step: Sight(Form.SHORT) for step in plan.pinned if replace(step, segments=()) in before.get(step.field, ())
    }
    done: Deeds = {one.message: [] for one in segments}
    for step in settle(plan, segments, known).steps:
        done[step.field].append(replace(step, segments=()))
    return done


def rewritten(policy: Policy, conversation: Sequence[list[Segment]]) -> list[int]:
    """The messages that left in one form and in another one in a later turn."""
    found, before = [], Deeds()
    for segments in conversation:
        after = deeds(policy, segments, before)
        found += [message for message in before if before[message] != after[message]]
        before = after
    return found


sizes = st.sampled_from((0, *SIZES))
conversations = st.builds(
    bodies, sizes, st.lists(st.builds(Turn, sizes, sizes, sizes, st.booleans()), min_size=2, max_size=5)
)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", PRESETS)
@given(conversation=conversations)
def test_later_turns_change_no_message(name: str, keep: bool, conversation: list[list[Segment]]) -> None:
    preset = PRESETS[name]
    rules = {kind: replace(rule, keep_shared=keep) for kind, rule in preset.rules.items()}
    assert rewritten(replace(preset, rules=rules), conversation) == []


def test_context_before_all_turns_is_whole_for_those_who_do_not_know_its_first_form() -> None:
    policy, (first, second) = PRESETS["balanced"], bodies(5000, [Turn(0, 0, 700)] * 2)
    assert [len(deeds(policy, segments, {})[0]) for segments in (first, second)] == [1, 0]
    assert len(deeds(policy, second, deeds(policy, first, {}))[0]) == 1


def test_keeping_recent_turns_rewrites_them_later() -> None:
    """Which is why no preset does."""
    assert all(rule.keep_recent == 0 for policy in PRESETS.values() for rule in policy.rules.values())
    rules = {kind: replace(rule, keep_recent=1) for kind, rule in PRESETS["aggressive"].rules.items()}
    conversation = bodies(0, [Turn(5000, 0, 700)] * 3)
    assert len(rewritten(replace(PRESETS["aggressive"], rules=rules), conversation)) == 2
