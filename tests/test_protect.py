"""What may change of a segment, and what never may."""

from typing import Any

import pytest
from cutting import PROSE, changeable, material, segments
from hypothesis import given
from hypothesis import strategies as st

from policies.base import Kind, Segment
from policies.protect import MATERIAL, guard


def test_short_material_is_left_alone() -> None:
    found = segments(("user", "Context:\nThe dam is 26 metres high.\n\nQuestion: How high is it?"))
    assert changeable(found) == ""
    assert {s.guard for s in found if s.kind is Kind.CONTEXT} == {"too short"}


CODE = "import os\n\ndef size(path):\n    with open(path) as f:\n        return len(f.read())\n\n" * 5


def test_code_that_will_be_edited_stays_and_code_that_is_asked_about_may_change() -> None:
    shown = f"```dam.py\n{CODE}```\n\n"
    assert (
        changeable(
            segments(("user", shown + "Refactor this code.")),
        )
        == ""
    )
    assert changeable(segments(("user", shown + "A default of 0 in place of an error."))) == ""
    assert changeable(segments(("user", shown + "What happens there?"), tools=("apply_patch",))) == ""
    assert "return len" in changeable(segments(("user", shown + "What does size return?")))


TREE = "dam\n" + "\n".join(f"│   ├── gate_{i}_of_the_upper_dam.py" for i in range(30)) + "\n└── README.md"


def test_a_tree_of_files_stays_unless_a_tool_printed_it() -> None:
    told = segments(("user", f"Project:\n```txt\n{TREE}\n```\n\nWhere is gate 4 opened?"))
    assert "gate_4" not in changeable(told)
    (printed,) = guard([material(TREE, Kind.TOOL_OUTPUT)])
    assert printed.guard == ""


FILES = "".join(f"def level_{i}(gauge):\n    value = gauge.read({i})\n    return value * 2\n\n" for i in range(12))
SHOWN = {
    "heading": f"### dam/level.py\n{FILES}",
    "heading in a fence": f"--- BEGIN FILE ---\n```\n### dam/level.py\n{FILES}...\n"
    f"### dam/gate.py\n...\n{FILES}...\n```\n--- END FILE ---",
    "rules": f"==== dam/level.py ====\n{FILES}\n==== dam/gate.py ====\n{FILES}",
    "tags": f'<file path="dam/level.py">\n{FILES}\n</file>',
    "name behind the ticks": f"```dam/level.py\n{FILES}\n```",
    "name before the ticks": f"dam/level.py\n```python\n{FILES}\n```",
    "brackets": f"[start of dam/level.py]\n{FILES}\n[end of dam/level.py]",
}
EDITS = [
    "Generate *SEARCH/REPLACE* edits to fix the issue.",
    "Reply with a patch in unified diff format.",
    "Fix the failing tests in these files.",
    "Please fix the notebook cell.",
    "Migrate these modules to the new gauge.",
    "Add type hints and docstrings.",
    "Something is wrong with the factor. Please fix it.",
    "Can you speed up the reading?",
    "Behebe bitte den Fehler.",
    "Ajoute des tests pour chaque fonction.",
    "This is the code that I have selected. Return a result instead of raising.",
    "You write code directly into the user's active buffer.",
    "Preserve the exact indentation.",
    "Put your code at the cursor.",
    "Generate additional unit tests for the modules above.",
]


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("order", EDITS)
def test_files_that_will_be_edited_stay_however_they_are_shown(name: str, order: str) -> None:
    issue = "<issue>\nThe level is twice what it should be.\n</issue>"
    assert changeable(segments(("user", f"{issue}\n\nHere are the files:\n{SHOWN[name]}\n\n{order}"))) == ""


@pytest.mark.parametrize(
    "asked", ["What does level_3 return?", "How do I change the factor, and where?", "Explain it."]
)
def test_files_that_are_asked_about_may_change(asked: str) -> None:
    assert "value = gauge" in changeable(segments(("user", f"```python\n{FILES}\n```\n\n{asked}")))


def test_a_small_result_of_a_tool_stays() -> None:
    assert changeable(guard([material(PROSE, Kind.TOOL_OUTPUT)])) == ""
    assert changeable(guard([material(PROSE * 2, Kind.TOOL_OUTPUT)]))


def test_a_numbered_view_and_a_schema_stay() -> None:
    view = "\n".join(f"{i:4}\tvalue = compute({i})" for i in range(1, 60))
    schema = "CREATE TABLE dams (id int, name text, height numeric);\n" * 10
    found = guard([material(view, Kind.TOOL_OUTPUT), material(schema, Kind.CODE)])
    assert [s.guard for s in found] == ["numbered view of a file", "schema"]


def test_a_mark_overrides_task_and_size() -> None:
    found = segments(("user", "Translate this. <laconic:context>A short remark.</laconic:context>"))
    assert changeable(found) == "A short remark."
    kept = segments(("user", f"Context:\n<laconic:keep>{PROSE * 4}</laconic:keep>\n{PROSE * 3}\n\nQuestion: How high?"))
    assert changeable(kept).count("reservoir") == 3
    assert "mark" in {s.guard for s in kept}


def test_an_answer_to_be_refined_stays() -> None:
    text = f"New Context:\n{PROSE * 3}\n\nQuery: How high is it?\nOriginal Answer: {PROSE}\nNew Answer:"
    assert changeable(segments(("user", text))).count("reservoir") == 3


KINDS = st.sampled_from(list(Kind))
TEXTS = st.text(min_size=1, max_size=60).map(lambda t: t.strip() or "x").map(lambda t: t * 30)


@given(st.lists(st.tuples(KINDS, TEXTS, st.sampled_from(["", "mark", "existing answer"])), max_size=8))
def test_only_material_may_change_and_only_inside_of_itself(found: list[tuple[Kind, str, str]]) -> None:
    given_segments = [
        Segment(i, i, None, 7, 7 + len(text), kind, "user", text, guard=why)
        for i, (kind, text, why) in enumerate(found)
    ]
    for s in guard(given_segments):
        last = s.start
        for a, b in s.may_change:
            assert last <= a < b <= s.end
            last = b
        assert not s.may_change or s.kind in MATERIAL
        assert s.may_change or s.guard


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.CONTEXT, Kind.HISTORY, Kind.TOOL_OUTPUT, Kind.CODE}))
def test_what_is_said_stays_however_long_it_is(kind: Kind) -> None:
    """Instructions, questions and whatever else is no material."""
    (said,) = guard([material(PROSE * 9, kind)])
    assert (said.may_change, said.guard) == ((), kind.value)


def test_what_may_change_does_not_hang_on_later_turns() -> None:
    first = (("system", "Be brief."), ("user", f"Context:\n{PROSE * 3}\n\nQuestion: How high is it?"))
    later = ("user", "Translate that into French: " + PROSE)
    now, then = segments(*first), segments(*first, ("assistant", PROSE), later)
    assert changeable(now)
    assert [s.may_change for s in now] == [s.may_change for s in then if s.message < 2]
    assert changeable(tuple(s for s in then if s.turn == 0)) == ""
    done = segments(*first, ("assistant", PROSE), later, ("assistant", PROSE), ("user", "Thanks. Is it old?"))
    assert changeable(tuple(s for s in done if s.turn == 1)) == ""


def test_guarding_leaves_the_rest_of_a_segment_as_it_was() -> None:
    before = material(PROSE * 4)
    (after,) = guard([before])
    fields: dict[str, Any] = {n: getattr(after, n) for n in Segment.__slots__ if n not in ("may_change", "guard")}
    assert fields == {n: getattr(before, n) for n in fields}


def test_a_sheet_of_cells_is_no_numbered_view_of_a_file() -> None:
    sheet = "A\tB\tC\n" + "\n".join(f"{n}\tJetty {n}\tpainted in spring" for n in range(1, 40))
    view = "\n".join(f"{n}\tx = jetty({n})" for n in range(1, 40))
    assert guard([material(sheet)])[0].guard == ""
    assert guard([material(view)])[0].guard == "numbered view of a file"
