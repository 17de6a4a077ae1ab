"""Policies as users write them in TOML."""

import tomllib

import pytest

from compressors.base import Rate, Threshold, Tokens
from policies.base import Kind, Mode
from policies.budget import LOSSLESS, Range
from policies.presets import PRESETS, TABLES
from policies.rules import Rule, RulePolicy
from policies.tables import Complaint
from policies.written import build


def built(text: str) -> dict[str, RulePolicy]:
    complaints: list[Complaint] = []
    policies = build(tomllib.loads(text), TABLES, complaints)
    assert complaints == []
    return policies


def wrong(text: str) -> list[tuple[str, str]]:
    """Where and what the complaints are."""
    complaints: list[Complaint] = []
    build(tomllib.loads(text), TABLES, complaints)
    return [(".".join(map(str, c.path)), c.message) for c in complaints]


def test_a_rule_says_everything_a_rule_can() -> None:
    text = """
    [mine]
    mode = "audit"
    code = "keep"
    [mine.context]
    compressor = "lexical"
    ranges = [{ max = 100, rate = 1 }, { min = 100, max = 900, tokens = 90 }, { min = 900, threshold = 0.2 }]
    min_tokens = 50
    keep_recent = 2
    shared = "compress"
    no_question = "compress"
    roles = ["user", "tool"]
    """
    ranges = (Range(LOSSLESS, 0, 100), Range(Tokens(90), 100, 900), Range(Threshold(0.2), 900))
    rule = Rule("lexical", ranges, 50, 2, False, False, ("user", "tool"))
    assert built(text) == {"mine": RulePolicy("mine", Mode.AUDIT, {Kind.CONTEXT: rule})}


def test_a_plain_amount_holds_for_every_size() -> None:
    policies = built('[mine]\nhistory = { compressor = "ends", tokens = 5 }')
    assert policies["mine"].rules == {Kind.HISTORY: Rule("ends", (Range(Tokens(5)),))}


def test_rules_are_merged_with_those_extended_key_by_key() -> None:
    mine = built('[mine]\nextends = "balanced"\ncontext.rate = 0.4\ntool_output.keep_recent = 1')["mine"]
    balanced = PRESETS["balanced"].rules
    assert mine.rules[Kind.CONTEXT] == Rule("pruner", (Range(Rate(0.4)),)), "one amount takes the place of another"
    assert mine.rules[Kind.TOOL_OUTPUT].ranges == balanced[Kind.TOOL_OUTPUT].ranges
    assert mine.rules[Kind.TOOL_OUTPUT].keep_recent == 1
    assert mine.rules[Kind.HISTORY] == balanced[Kind.HISTORY]


def test_keep_takes_a_rule_away() -> None:
    assert Kind.CONTEXT not in built('[mine]\nextends = "balanced"\ncontext = "keep"')["mine"].rules


def test_policies_extend_each_other_in_any_order() -> None:
    policies = built('[b]\nextends = "a"\n[a]\nextends = "audit"\ncontext.rate = 0.4')
    assert policies["b"].rules == policies["a"].rules
    assert policies["b"].mode is Mode.AUDIT


RULE = '[p]\ncontext = {{ compressor = "lexical", {} }}'


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("p = 3", "p", "is not a table"),
        ("[p]\ncontext = 0.5", "p.context", "0.5 is out of place"),
        ('[p]\nquestion = "keep"', "p.question", "no key is called 'question'"),
        ('[p]\ntool_ouput = "keep"', "p.tool_ouput", "no key is called 'tool_ouput'; did you mean 'tool_output'?"),
        ('[p]\nmode = "onn"', "p.mode", "this string is out of place"),
        ('[p]\nextends = "balancd"', "p.extends", "no policy is called 'balancd'; did you mean 'balanced'?"),
        ('[p]\nextends = "p"', "p.extends", "goes in a circle: p -> p"),
        ("[p]\ncontext.rate = 0.5", "p.context.compressor", "is missing"),
        ('[p]\ncontext.compressor = "lexical"', "p.context", "does not say how much stays"),
        (RULE.format("rate = 1.5"), "p.context.rate", "1.5 is out of place"),
        (RULE.format("tokens = 0"), "p.context.tokens", "0 is out of place"),
        (RULE.format("threshold = -1"), "p.context.threshold", "-1 is out of place"),
        (RULE.format("rate = 0.5, tokens = 9"), "p.context.tokens", "contradicts 'rate'"),
        (RULE.format("rate = 0.5, ratee = 9"), "p.context.ratee", "no key is called 'ratee'; did you mean 'rate'?"),
        (RULE.format("ranges = []"), "p.context.ranges", "is empty"),
        (RULE.format("ranges = [{ min = 1 }]"), "p.context.ranges.0", "does not say how much stays"),
        (RULE.format("ranges = [{ rate = 1, tokens = 1 }]"), "p.context.ranges.0", "does not say how much stays"),
        (RULE.format("ranges = [{ rate = 1, min = 9, max = 9 }]"), "p.context.ranges.0.max", "is not above min"),
        (RULE.format("ranges = [{ rate = 1, max = 9 }, { rate = 0.5, min = 8 }]"), "p.context.ranges", "overlap"),
        (RULE.format("ranges = [{ rate = 1, max = 9 }, { rate = 2 }]"), "p.context.ranges.1.rate", "2 is out of place"),
        ('[p]\nextends = "safe"\ncode.shared = "keep"', "p.code.shared", "does not apply to code"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, path: str, message: str) -> None:
    assert (path, message) in wrong(text)


def test_an_unknown_compressor_is_told_with_the_known_ones() -> None:
    complaints: list[Complaint] = []
    build(tomllib.loads('[p]\ncontext = { compressor = "lexicl", rate = 0.5 }'), TABLES, complaints)
    assert [c.message for c in complaints] == ["no compressor is called 'lexicl'; did you mean 'lexical'?"]
    assert "structured" in complaints[0].allowed


def test_what_is_wrong_with_a_policy_is_not_told_again_for_those_that_extend_it() -> None:
    assert len(wrong('[a]\ncontext.rate = 3\n[b]\nextends = "a"\nmode = "audit"\n[c]\nextends = "b"')) == 2


def test_recover_is_inherited_and_reorder_is_for_context_only() -> None:
    text = """
    [one]
    recover = true
    context = { compressor = "ends", rate = 0.5, reorder = true }
    [two]
    extends = "one"
    [three]
    extends = "two"
    recover = false
    """
    policies = built(text)
    assert [policy.recover for policy in policies.values()] == [True, True, False]
    assert all(policy.rules[Kind.CONTEXT].reorder for policy in policies.values())
    assert wrong('[p]\nhistory = { compressor = "ends", rate = 0.5, reorder = true }') == [
        ("p.history.reorder", "does not apply to history")
    ]
    assert wrong("[p]\nrecover = 1") == [("p.recover", "1 is out of place")]


def test_rules_may_name_the_compressors_that_they_are_told_of() -> None:
    complaints: list[Complaint] = []
    policies = build(tomllib.loads('[p]\ncontext = { compressor = "mine", rate = 0.5 }'), {}, complaints, ["mine"])
    assert complaints == []
    assert policies["p"].compressors == {"mine"}
