"""What the form of a text tells: JSON, chats, lists, headings, what a system text recalls, marks."""

import json

import pytest
from cutting import FERRY, GREEK, MUSEO, PASSES, TUSHUGUAN, WINTER, assistant, cut, kind_of, system, user

from policies.base import Kind
from proxy.segmentation import marks, segment
from proxy.wire import parse

HITS = [{"id": i, "title": f"T{i}", "body": text} for i, text in enumerate((FERRY, PASSES, MUSEO))]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("label", ["Context: ", "Session 1:\n", "Fundstellen:\n\n"])
def test_of_json_in_a_text_the_long_values_are_material_and_the_keys_are_not(label: str, indent: int | None) -> None:
    text = f"Be brief.\n\n{label}{json.dumps(HITS, indent=indent, ensure_ascii=False)}\n\nQuestion: {WINTER}"
    found = cut(user(text))
    assert [s.text for s in found if s.kind is Kind.CONTEXT] == [FERRY, PASSES, MUSEO]
    assert kind_of(found, WINTER) is Kind.QUESTION


CHATS = {
    "italian forum": ("Marta ha scritto: ", "Ugo scrive: "),
    "lower case": ("hannah.oy: ", "bo_x: "),
    "japanese": ("田中：", "佐藤："),
}
SAID = (
    "the two boxes stand in the cellar now and the van is at the garage until friday, so could you ask them about it?",
    "You should call the harbour first. We have to be there at nine because the pier is closed from noon to four.",
    "no objections. i will bring gloves and the shelves, which are heavy",
)


@pytest.mark.parametrize("names", CHATS)
@pytest.mark.parametrize("gap", ["\n", "\n\n"])
def test_a_chat_is_material_whatever_is_asked_and_ordered_in_it(names: str, gap: str) -> None:
    one, two = CHATS[names]
    chat = gap.join(name + said for said in SAID for name in (one, two))
    found = cut(user(f"Summarise what was agreed.\n\n{chat}"))
    assert all(kind_of(found, said) is Kind.CONTEXT for said in SAID)
    assert kind_of(found, "Summarise") is Kind.QUESTION


def test_a_list_of_orders_is_no_material() -> None:
    orders = ("Rewrite the letter to the harbour office so that it is friendlier", "Make a list of what is open")
    more = ", and keep the names and numbers as they are, because the office has checked all of them twice this year."
    text = "\n\n".join(f"{n}. {order}{more * 2}" for n, order in enumerate((*orders, "Draft an answer"), 1))
    assert {s.kind for s in cut(user(text))} <= {Kind.QUESTION, Kind.INSTRUCTION}


@pytest.mark.parametrize("heading", ["# {0}\n", "## {0}\n", "---\n**{0}**\n"])
def test_headings_and_rules_of_the_documents_do_not_end_an_open_section(heading: str) -> None:
    titles = ("Upload a file", "boat/engine.org", "Limits", "Signed links")
    texts = [
        f"{heading.format(t)}Use the left gate. {text}" for t, text in zip(titles, (FERRY, PASSES) * 2, strict=True)
    ]
    found = cut(user("Answer from these.\n\nNotes:\n" + "\n\n".join(texts) + f"\n\nQuestion: {WINTER}"))
    assert {s.kind for s in found if s.text.endswith((FERRY, PASSES))} == {Kind.CONTEXT}
    assert kind_of(found, WINTER) is Kind.QUESTION


def test_headings_of_the_template_end_a_section() -> None:
    parts = {
        "Messages": f"user: {FERRY}",
        "Known facts": "[]",
        "Date": "2026-11-21",
        "Person": "Ann",
        "Place": "Skarholm",
    }
    found = cut(user("\n\n".join(f"## {title}\n{text}" for title, text in parts.items()) + f"\n\n{WINTER}"))
    assert not any("Ann" in s.text for s in found if s.kind in (Kind.CONTEXT, Kind.HISTORY))


@pytest.mark.parametrize("text", ['{"table": 12, "items": [{"n": 1}]}', '```json\n[{"n": 1}, {"m": "2"}]\n```'])
def test_an_answer_that_is_nothing_but_json_is_guarded(text: str) -> None:
    found = cut(user("Two ramen."), assistant(text), user("That is invalid. Correct it."))
    assert [s.guard for s in found if s.message == 1] == ["structured answer"]


PERSONA = (
    "You are Robin. Here is some information about Robin and the harbour in case somebody asks:\n\n"
    f"Robin talks about all topics of the harbour and about none besides. {FERRY}\n\n"
    f"Robin cares for people's safety at all times. {PASSES}\n\n"
)
MANUAL = "".join(
    f"## {tool}\nDescription: Runs in the background and gives back what was found there. {PASSES}\n\n"
    for tool in ("search_files", "mail", "read_text", "calendar", "weather", "browser", "paint", "dial")
)
CHAPTERS = "".join(
    f"{title}\n\nA set of tools reaches the files and the data of the harbour. {FERRY} {PASSES}\n\n====\n\n"
    for title in ("FILES", "TOOL USE", "MODES", "GOALS")
)


@pytest.mark.parametrize(
    "text",
    [
        PERSONA,
        MANUAL,
        "## Files\nThe files of the harbour.\n\n====\n\n" + CHAPTERS,
        f"<info>\n{PERSONA}\n{PERSONA}</info>",
    ],
)
def test_rules_about_the_model_itself_and_chapters_of_a_manual_are_no_material(text: str) -> None:
    kinds = {s.kind for s in cut(system(text), user("Hi.")) if s.message == 0}
    assert kinds <= {Kind.INSTRUCTION, Kind.OTHER}


RECALLED = "The user prefers the first ferry. It was agreed that the boxes come along, and that the van waits. " * 4
IN_SYSTEM = {
    "recap": f"This is a summary of the chat so far as a recap: {RECALLED}",
    "recap in German": f"Das ist eine Zusammenfassung der bisherigen Unterhaltung: {RECALLED}",
    "marked": f"Answer well.\n\n[1] {FERRY}\n\n[2] {RECALLED}\n\n[3] You must see it. {PASSES}\n\nSay so if unsure.",
    "behind a rule": "You are kind. Answer from your context.\n-----\n" + f"# Ferry\n{FERRY}\n{RECALLED}\n" * 3,
    "steps": "".join(f"### Step {n}: Executed\n- **Output:**\n{RECALLED}\n" for n in range(3)),
    "bullets": f"# Context\n## Memories of documents:\n  - You must see it. {FERRY}\n  - {RECALLED}\n  - {FERRY}",
}


@pytest.mark.parametrize("name", IN_SYSTEM)
def test_what_a_system_text_recalls_is_material(name: str) -> None:
    found = cut(system(IN_SYSTEM[name]), user(WINTER))
    assert all(s.kind in (Kind.CONTEXT, Kind.TOOL_OUTPUT) for s in found if RECALLED[:-90] in s.text)
    assert not any("Answer" in s.text or "Say so" in s.text for s in found if s.kind is Kind.CONTEXT)


def test_long_parts_before_a_question_are_material_and_a_short_one_is_not() -> None:
    texts = (GREEK, PASSES, "We are two.", "When does the last ferry leave?")
    body = {"model": "m", "messages": [user("")]}
    body["messages"][0]["content"] = [{"type": "text", "text": text} for text in texts]  # type: ignore[index]
    kinds = [s.kind for s in segment(parse(json.dumps(body).encode()))]
    assert kinds[:2] == [Kind.CONTEXT, Kind.CONTEXT]
    assert Kind.CONTEXT not in kinds[2:]


@pytest.mark.parametrize("form", ["### Input:\n{0}\n\n### Response:", "<input>\n{0}\n</input>", "Input:\n{0}"])
def test_a_long_input_is_material_and_a_long_request_is_not(form: str) -> None:
    text = f"{FERRY}\n\n{PASSES}\n\n{MUSEO}"
    assert kind_of(cut(user("### Instruction:\nSummarise it.\n\n" + form.format(text))), FERRY) is Kind.CONTEXT
    asked = form.replace("nput", "ssue").format(text)
    assert kind_of(cut(user("Solve it.\n\n" + asked)), FERRY) is Kind.QUESTION


def test_a_diff_stays_in_one_piece() -> None:
    diff = (
        "diff --git a/dam.py b/dam.py\n--- a/dam.py\n+++ b/dam.py\n@@ -1,4 +1 @@\n import os\n\n-level = 3\n+level = 4"
    )
    (only,) = cut(system("Describe the change."), user(f"{diff}\n" * 4))[1:]
    assert only.kind is Kind.CODE


class TestMarks:
    def test_marks_win_over_everything(self) -> None:
        text = f"Be brief.\n<laconic:context>Never answer. {PASSES}</laconic:context>\nContext:\n{FERRY}\n"
        text += f"<laconic:keep>{TUSHUGUAN}</laconic:keep>\n\nQuestion: {WINTER}"
        found = cut(user(text))
        marked = next(s for s in found if PASSES in s.text)
        assert (marked.kind, marked.guard) == (Kind.CONTEXT, "mark")
        kept = next(s for s in found if TUSHUGUAN in s.text)
        assert (kept.kind, kept.guard, kept.text) == (Kind.INSTRUCTION, "mark", TUSHUGUAN)
        assert kind_of(found, FERRY) is Kind.CONTEXT
        assert kind_of(found, WINTER) is Kind.QUESTION

    def test_spans_are_those_of_the_tags(self) -> None:
        text = "a<laconic:keep>b</laconic:keep>c"
        assert [text[a:b] for a, b in marks(text)] == ["<laconic:keep>", "</laconic:keep>"]

    @pytest.mark.parametrize(
        "text",
        [
            "<laconic:context>never closed",
            "</laconic:context>",
            "<laconic:context>a</laconic:keep>",
            "<laconic:context><laconic:keep>a</laconic:keep></laconic:context>",
            "<laconic:other>a</laconic:other>",
            "no marks",
        ],
    )
    def test_odd_marks_are_text(self, text: str) -> None:
        assert marks(text) == ()


DIFF = (
    "diff --git a/dam.py b/dam.py\n--- a/dam.py\n+++ b/dam.py\n@@ -1,9 +1,9 @@\n"
    + " level = read(1)\n-x = 2\n+x = 3\n" * 9
)
LOG = "".join(f"2026-02-01 08:{i}:00 gate north opened by keeper\n" for i in range(10, 30))
TABLE = "gate;opened;closed\n" + "north;07:10;19:30\n" * 20


@pytest.mark.parametrize("shown", [DIFF, LOG, TABLE])
@pytest.mark.parametrize(
    "said",
    ["Generate a commit message for my changes", "kurze Zusammenfassung in zwei Zeilen", "a title please, no dot"],
)
def test_the_words_that_end_a_message_are_the_question_below_what_is_shown(shown: str, said: str) -> None:
    found = cut(user(f"{shown}\n{said}"))
    assert kind_of(found, said) is Kind.QUESTION
    assert kind_of(found, shown[20:60].split("\n")[0]) in (Kind.CODE, Kind.CONTEXT)


def test_a_tag_behind_the_ticks_ends_the_fence() -> None:
    code = "".join(f"def level_{i}(gauge):\n    value = gauge.read({i})\n\n    return value * 2\n\n" for i in range(9))
    text = f'<attachment path="dam.py">The file:\n````python\n{code}````</attachment>'
    found = cut(user(text), user("Which level is wrong?"))
    assert kind_of(found, "def level_3") is Kind.CODE
    assert kind_of(found, "````</attachment>"[:4]) is Kind.OTHER
