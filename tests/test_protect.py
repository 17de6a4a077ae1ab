"""What may change of a segment, and what never may."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import tasks
from policies.base import Kind, Segment
from policies.holes import holes
from policies.protect import MATERIAL, guard
from policies.tasks import Task, task_of
from proxy.shorten import guarded
from proxy.wire import parse

PROSE = (
    "The reservoir was built in 1911 and holds four million cubic metres. Its dam is twenty-six metres high and was "
    "strengthened after the flood, when the spillway proved too narrow. Two turbines supply the valley with power, and "
    "a third one is kept as a reserve for dry summers, in which the level falls by up to nine metres. "
)


def segments(*messages: tuple[str, str], tools: tuple[str, ...] = ()) -> tuple[Segment, ...]:
    body = {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}
    offered = [{"type": "function", "function": {"name": name}} for name in tools]
    return guarded(parse(json.dumps(body | {"tools": offered}).encode()))


def changeable(found: tuple[Segment, ...]) -> str:
    """All that may change, joined by a mark."""
    return "|".join(s.text[a - s.start : b - s.start] for s in found for a, b in s.may_change)


def material(text: str, kind: Kind = Kind.CONTEXT) -> Segment:
    return Segment(0, 0, None, 0, len(text), kind, "user", text)


KEPT = {
    "link": "see https://dam.example/plans?id=7#p2 for it",
    "address": "write to ann.lee@dam.example today",
    "ticket": "ticket T-48210 was closed",
    "uuid": "run 1b4e28ba-2fa1-11d2-883f-0016d3cca427 failed",
    "account": "pay to AT61 1904 3002 3457 3201 soon",
    "fault code": "the display shows E27 again",
    "citation": "as was shown [3] before",
    "json id": '{"doc_id": "alpha", "text": "x"}',
    "mail header": "Betreff: Turbine drei",
}


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("link", "https://dam.example/plans?id=7#p2"),
        ("address", "ann.lee@dam.example"),
        ("ticket", "T-48210"),
        ("uuid", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
        ("account", "AT61 1904 3002 3457 3201"),
        ("fault code", "E27"),
        ("citation", "[3]"),
        ("json id", '"doc_id": "alpha"'),
        ("mail header", "Betreff: Turbine drei"),
    ],
)
def test_values_that_are_cited_stay(name: str, token: str) -> None:
    text = f"{PROSE}{PROSE}\n{KEPT[name]}\n{PROSE}"
    (only,) = guard([material(text)])
    assert token in text
    at = text.index(token)
    assert not any(a < at + len(token) and b > at for a, b in only.may_change)
    assert sum(b - a for a, b in only.may_change) > 0.9 * (len(text) - len(token)) - 60


MARKS = [
    ("4.2", "{0}\n4.2 The keeper closes the gate. {0}"),
    ("§ 12", "{0}\n§ 12 Der Wärter schließt das Tor. {0}"),
    ("Artículo 21", "{0}\nArtículo 21. El guarda cierra la compuerta. {0}"),
    ("第三条", "{0}\n第三条 闸门由看守人关闭。\n{0}"),
    ("Điều 5", "{0}\nĐiều 5. Người gác đóng cửa đập.\n{0}"),
    ("(b)", "{0}\n(b) the gate is closed. {0}"),
    ("names: North gate", "{0}\n- names: North gate\n  state: open\n{0}"),
    ("[7]<a", "{0}\n[7]<a href=/gate>Gate</a>\n{0}"),
    ("=== FIN ===", "{0}\n{0}\n=== FIN ==="),
    ("What the keeper saw:", "{0}\nWhat the keeper saw:\n{0}"),
    ("Who closes the gate?", "{0}\nWho closes the gate? The keeper does. {0}"),
    ("gate;opened;closed", "gate;opened;closed\n" + "north;07:10;19:30\n" * 40),
    ("| gate | opened |\n|---|---|", "| gate | opened |\n|---|---|\n" + "| north | 07:10 |\n" * 40),
    ("NAME      STATE     AGE", "NAME      STATE     AGE\n" + "north     open      4d\n" * 40),
    ('"reason": "OOMKilled"', '{{"items": [\n' + '{{"ready": true}},\n' * 40 + '{{"reason": "OOMKilled"}}]}}'),
    ("ValueError: gate 7", json.dumps({"stdout": "gate passed\n" * 60 + "ValueError: gate 7"})[1:-1]),
    ("7,North gate,", "7,North gate,{0}{0}"),
    ("exit code 2", "gate_test passed\n" * 40 + "exit code 2"),
]


@pytest.mark.parametrize(("mark", "text"), MARKS)
def test_marks_by_which_material_is_cited_or_read_stay(mark: str, text: str) -> None:
    free = changeable(guard([material(text.format(PROSE), Kind.TOOL_OUTPUT)]))
    assert mark not in free
    assert not any(mark.startswith(piece.strip()) for piece in free.split("|") if len(piece.strip()) > 1)
    assert len(free) > 300


@pytest.mark.parametrize(
    ("opener", "layout"),
    [
        ("Content from dam.pdf (Page {0}):", "Content from dam.pdf (Page {0}): {1}"),
        ("From Lee, dam survey, pages {0}", "{1}\nFrom Lee, dam survey, pages {0}"),
    ],
)
def test_what_documents_of_one_context_have_in_common_at_their_edges_stays(opener: str, layout: str) -> None:
    pages = [f"{PROSE}Page {n} speaks of gate {n * 7}." for n in (3, 5, 8)]
    at, found = 0, []
    for n, page in zip((3, 5, 8), pages, strict=True):
        text = layout.format(n, page)
        found.append(Segment(0, 0, None, at, at + len(text), Kind.CONTEXT, "user", text))
        at += len(text) + 1
    free = changeable(guard(found))
    assert not any(opener.format(n) in free for n in (3, 5, 8))
    assert free.count("reservoir") == 3


def test_process_numbers_of_a_log_do_not_hold_its_rows() -> None:
    text = "\n".join(f"Nov 3 10:{i:02d}:01 dam gated[{4000 + i}]: level is steady" for i in range(40))
    assert changeable(guard([material(text, Kind.TOOL_OUTPUT)])) == text


def test_speakers_of_a_transcript_stay_and_their_words_do_not() -> None:
    said = "well, I think that we should look at the spillway again before the summer"
    text = "\n".join(f"[00:0{i}:12] {name}: {said}" for i, name in enumerate(["Ann Lee", "Bo Xu", "Ann Lee", "Cy"] * 2))
    free = changeable(guard([material(text)]))
    assert "Ann Lee" not in free
    assert free.count(said) == 8


def test_quoted_code_in_prose_stays() -> None:
    text = f"{PROSE}{PROSE}\n```python\nimport dam\ndam.open()\n```\n{PROSE}"
    free = changeable(guard([material(text, Kind.TOOL_OUTPUT)]))
    assert "dam.open" not in free
    assert free.count("reservoir") == 3


def test_rare_alarms_of_a_log_stay() -> None:
    rows = [f"2025-01-01 10:{i:02d} info level steady at {i}" for i in range(40)]
    rows[17] = "2025-01-01 10:17 error spillway blocked"
    free = changeable(guard([material("\n".join(rows), Kind.TOOL_OUTPUT)]))
    assert "spillway blocked" not in free
    assert "level steady at 30" in free


VERBATIM = [
    "Translate the following text into French.",
    "You are a professional translator. Output only the translation.",
    "Übersetze den Text ins Englische.",
    "次の文章を英語に翻訳してください。",
    "把下面的文字翻译成英文。",
    "Please proofread the following text:",
    "Rewrite this so that a child understands it.",
    "Correct the grammar of the text below.",
    "Act as an impartial judge and compare the two answers.",
    "Grade the answer on a scale. Give a score from 0 to 10.",
    "Je herschrijft folders op taalniveau B1.",
    "Bitte in Leichte Sprache übertragen.",
    "Översätt texten till engelska.",
    "Anonymise the text.",
    "Corrige les fautes.",
    "Du bewertest Aufsätze.",
    "Continue the story.",
    "Give me feedback on this.",
    "Write the complete file.",
    "Improve the Polish translation with the suggestions of the reviewer.",
    "Clean up the notes. All statements should be repeated verbatim.",
    "Tidy the findings, but do not summarize them.",
    "Gib den Text wörtlich wieder.",
    "Reproduis le texte mot pour mot, à conserver tel quel.",
    "Extract the events from the page according to the schema.",
    "List every event of the page, as objects that follow the schema below.",
    "请原样返回全文。",
    "Hier ist eine Übersetzung. Verbessere sie anhand der Vorschläge.",
    "Überarbeite den Entwurf nach den Anmerkungen.",
    "Mejora la redacción del siguiente texto.",
    "Clean up this transcript.",
    "Make my letter more formal.",
    "Write the next chapter.",
    "Mark all spelling mistakes.",
    "Add headings and do not change anything else.",
    "Formatiere den Text, ohne etwas zu ändern.",
    "Convert the table to CSV.",
    "Wandle die Liste in JSON um.",
    "Compare the two versions of the contract.",
    "Welche Unterschiede haben die beiden Fassungen?",
    "Sort the list by name.",
    "Remove duplicates.",
    "How many words does this have?",
    "Your JSON was invalid.",
]


@pytest.mark.parametrize("order", VERBATIM)
def test_tasks_that_need_every_word_leave_the_body_alone(order: str) -> None:
    for found in (
        segments(("system", order), ("user", PROSE * 6)),
        segments(("user", f"{order}\n\n<text>\n{PROSE * 6}\n</text>")),
    ):
        assert changeable(found) == ""


@pytest.mark.parametrize(
    "order",
    [
        "Answer the question. Never translate names.",
        "Rephrase the follow-up question as a standalone question.",
        "Answer in the language of the user.",
        "Extract a short label for the topic.",
        "Convert the notes into a commit message.",
        "Don't blindly repeat the context verbatim.",
        "Cite the sentences that matter word for word.",
        "I send the output of git diff and you describe it.",
        "I did not change anything and it fails.",
        "Help me sort out which pass I need. What is the difference between the two ferries?",
        "How do I improve the level? Answer in JSON.",
        "Make the answer shorter.",
        "Convert the question into a search query.",
        "Rank the documents by relevance; the relevance score is a number from 1 to 10.",
    ],
)
def test_words_of_other_tasks_are_not_mistaken_for_them(order: str) -> None:
    assert changeable(segments(("system", order), ("user", f"Context:\n{PROSE * 6}\n\nQuestion: How high is it?")))


def test_a_small_input_is_extracted_word_for_word_and_a_long_one_is_not() -> None:
    order = ("system", "Extract the measures.")
    assert changeable(segments(order, ("user", f"Report:\n{PROSE * 2}"))) == ""
    assert changeable(segments(order, ("user", f"Report:\n{PROSE * 12}")))


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
    assert changeable(segments(("user", shown + "What happens there?"), tools=("apply_patch",))) == ""
    assert "return len" in changeable(segments(("user", shown + "What does size return?")))


def test_a_small_text_that_is_answered_or_turned_into_another_stays() -> None:
    for order in ("Reply to this email politely.", "Write a blog post from these notes."):
        assert changeable(segments(("user", f"{order}\n\n<notes>\n{PROSE * 3}\n</notes>"))) == ""
        assert changeable(segments(("user", f"{order}\n\n<notes>\n{PROSE * 12}\n</notes>")))


def test_a_small_result_of_a_tool_stays() -> None:
    assert changeable(guard([material(PROSE, Kind.TOOL_OUTPUT)])) == ""
    assert changeable(guard([material(PROSE * 2, Kind.TOOL_OUTPUT)]))


def test_every_word_for_a_task_has_a_clue() -> None:
    """A clue that is missing would switch its words off: they match without it and not with it."""
    said = [
        *VERBATIM,
        "Extrahiere alles.",
        "请对回答评分",
        "Classifie ce texte.",
        "Fix this function.",
        "Port this code.",
    ]
    for text in (t.lower() for t in said):
        for name, pattern in tasks._WORD.items():
            assert not pattern.search(text) or any(clue in text for clue in tasks._CLUE.get(name, ("",))), (name, text)


def test_every_order_begins_with_a_stem() -> None:
    """A stem that is missing would switch its order off."""
    first = re.compile(r"[a-z]-?[a-z]?-?[a-z]?")
    for row in tasks._ORDERS.values():
        for alternative in row:
            verbs = re.sub(r"\(\?[:!][^()]*\)\??", "", alternative.split(r"\b")[0].split(r"\s")[0].split(" ")[0])
            for verb in verbs.removeprefix("(?:").split("|"):
                stem = verb.replace("-?", "").strip("(?:)")[:3]
                assert len(stem) < 3 or not first.match(stem) or stem in tasks._STEMS, (stem, alternative)


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


def test_what_may_change_does_not_hang_on_later_turns() -> None:
    first = (("system", "Be brief."), ("user", f"Context:\n{PROSE * 3}\n\nQuestion: How high is it?"))
    later = ("user", "Translate that into French: " + PROSE)
    now, then = segments(*first), segments(*first, ("assistant", PROSE), later)
    assert changeable(now)
    assert [s.may_change for s in now] == [s.may_change for s in then if s.message < 2]
    assert changeable(tuple(s for s in then if s.turn == 0)) == ""
    done = segments(*first, ("assistant", PROSE), later, ("assistant", PROSE), ("user", "Thanks. Is it old?"))
    assert changeable(tuple(s for s in done if s.turn == 1)) == ""


def test_tasks_add_up() -> None:
    assert (task_of(["Translate this."]) | task_of(["Fix the bug."])) == Task("translate", "", True)
    assert task_of(["Go on."]) == Task()


def test_guarding_leaves_the_rest_of_a_segment_as_it_was() -> None:
    before = material(PROSE * 4)
    (after,) = guard([before])
    fields: dict[str, Any] = {n: getattr(after, n) for n in Segment.__slots__ if n not in ("may_change", "guard")}
    assert fields == {n: getattr(before, n) for n in fields}


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ("Classify the alert. Return the keys verdict, confidence and hosts.", ""),
        ("Give a verdict for each of the claims that the essay makes.", "judge"),
        ("Check if there is unsafe content in the messages of the user.", "judge"),
        ("Say whether the post is violating our house policy.", "judge"),
    ],
)
def test_a_verdict_is_a_judgement_only_where_something_said_is_judged(order: str, named: str) -> None:
    assert task_of([order]).verbatim == named


def test_a_sheet_of_cells_is_no_numbered_view_of_a_file() -> None:
    sheet = "A\tB\tC\n" + "\n".join(f"{n}\tJetty {n}\tpainted in spring" for n in range(1, 40))
    view = "\n".join(f"{n}\tx = jetty({n})" for n in range(1, 40))
    assert guard([material(sheet)])[0].guard == ""
    assert guard([material(view)])[0].guard == "numbered view of a file"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "[Page(body='" + 2 * PROSE + "', meta={'file': 'dam.txt'})]",
            ["[Page(body='", "', meta={'file': 'dam.txt'})]"],
        ),
        (PROSE + "--- --- \n --- --- # Turbines\n" + PROSE, ["--- --- "]),
        (PROSE + "\nReservoir Ltd            Invoice no.: 2026-118\n" + PROSE, ["Invoice no.: 2026-118"]),
        (PROSE + "\nTwo valves, cast iron      4 pcs      1.204,50\n" + PROSE, ["1.204,50"]),
        ("*Dam watch (3 messages)*\n" + 2 * PROSE, ["*Dam watch (3 messages)*"]),
        ("<written-on>\n2024-11-02\n</written-on>\n" + PROSE * 2, ["2024-11-02"]),
        (f"- {PROSE} (taken from dam_notes.md)\n- {PROSE} (https://dam.example/a)", ["dam_notes.md", "- ", "(https"]),
        ("{'columns': ['month', 'level'], 'data': [" + "['May', 4.07], " * 40 + "['Flow', 9]]} " + PROSE, ["'level'"]),
        (f"(1 hill_ann said: {PROSE} (2 Bo wrote: {PROSE}", ["1 hill_ann said:", "2 Bo wrote:"]),
        (f"[[source:4]] {PROSE} [[source:5]] {PROSE}", ["[[", "]]"]),
        (f"Plan: {PROSE}\nmirko.pd scrive: {PROSE}\nPlan: {PROSE}\nPlan: {PROSE}", ["Plan:", "scrive:"]),
        (f"[2026-02-01 08:10] @ann.lee: {PROSE}\n[2026-02-01 08:15] @bo: {PROSE}", ["] @ann.lee:", "] @bo:"]),
    ],
)
def test_frames_of_objects_rules_forms_and_threads_stay(text: str, kept: list[str]) -> None:
    found = guard([material(text)])
    assert "spillway" in changeable(found)
    assert not any(piece in changeable(found) for piece in kept)


@pytest.mark.parametrize("mark", ["Figure 4.1:", "Article 7(2)(b)", "Section 3.4"])
def test_the_number_of_a_clause_is_not_cut_in_two(mark: str) -> None:
    text = f"{PROSE}\n{mark} The valley below it was settled late. {PROSE}"
    assert any(mark in text[a:b] for a, b in holes(text, code=False))
