"""What agents and editors send: plans, printed output, page trees, traces, quoted mails, opening quotes."""

import pytest
from cutting import FERRY, MUSEE, PASSES, TUSHUGUAN, WERKSTATT, WINTER, assistant, cut, kind_of, system, user

from policies.base import Kind

PLANS = {
    "steps in a fence": "```\nName: tide clock\n\nStep 1: Read the gauge every minute and drop what is not a number.\n"
    "Step 2: Keep the readings in a file, one line each.\nStep 3: Ring the bell at high water.\n```",
    "german": "```\nSchritt 1: Den Pegel jede Minute lesen.\nSchritt 2: Die Werte ablegen, je Zeile einen.\n"
    "Schritt 3: Bei Hochwasser läuten.\nSchritt 4: Das Protokoll schließen.\n```",
    "tasks without a fence": "Task 1: Read the gauge every minute and drop all that is not a number.\n\n"
    "Task 2: Keep the readings in a file that has one line for each of them.\n\n"
    "Task 3: Ring the bell at high water, but never between ten and six.",
    "label": "Implementation plan:\n```\n- read the gauge every minute\n- keep the readings in a file\n- ring a bell\n"
    "- close the file\n- write the manual\n- test it\n```",
    "todo": "## TODO\nread the gauge every minute, keep the readings in a file of which each line is one of "
    "them, and ring "
    "the bell at high water; the bell is behind the door of the shed and needs a push of half a second",
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_to_be_carried_out_and_no_material(name: str) -> None:
    found = cut(user(f"Project plan:\n{PLANS[name]}\n\nNow write the program."))
    assert {s.kind for s in found if s.kind not in (Kind.OTHER, Kind.QUESTION)} <= {Kind.INSTRUCTION}


def test_a_value_called_plan_or_error_does_not_end_its_record() -> None:
    found = cut(user(f"Customer:\nName: Ida Holm\nPlan: yearly\nError: none\nNotes: {FERRY}\n\nQuestion: {WINTER}"))
    assert kind_of(found, FERRY[40:]) is Kind.CONTEXT


BUILD = "\n".join(f"  CC  src/part_{i}.c\n  LD  build/part_{i}.o" for i in range(30)) + "\nld: region FLASH overflowed"


@pytest.mark.parametrize("head", ["Ran command: `make fw`", "Ausgabe von `make fw` (Fehler 2)", "Executed code block."])
@pytest.mark.parametrize("role", ["system", "developer"])
def test_what_a_program_printed_is_tool_output_though_a_system_message_holds_it(head: str, role: str) -> None:
    printed = {"role": role, "content": f"{head}\n\n```stdout\n{BUILD}\n```"}
    found = cut(system("You run commands."), user("Why does it not fit?"), assistant("```shell\nmake fw\n```"), printed)
    assert kind_of(found, BUILD.strip()) is Kind.TOOL_OUTPUT
    assert kind_of(found, head) is Kind.OTHER
    assert next(s for s in found if s.kind is Kind.TOOL_OUTPUT).question == "Why does it not fit?"


def test_a_late_system_message_with_a_form_is_instruction() -> None:
    form = (
        "Dear guest,\nthank you for the order. It is sent within two days, and you get a mail when it leaves us.\n" * 5
    )
    found = cut(user(WINTER), assistant("At noon."), system(f"Use this template:\n```\n{form}```"), user("And in May?"))
    assert {s.kind for s in found if s.message == 2} <= {Kind.INSTRUCTION, Kind.OTHER}


def test_what_a_user_tells_below_an_error_is_no_material() -> None:
    told = (
        "I use version 3 and nothing has changed since last week. My colleague has the same file and no trouble. " * 3
    )
    found = cut(user(f"Error:\ncannot open file\n\n{told.strip()}\n\nWhat now?"))
    assert kind_of(found, told.strip()) in (Kind.INSTRUCTION, Kind.QUESTION)


def test_a_late_system_message_of_rules_is_instruction() -> None:
    rules = "From now on:\n- answer in Danish\n- use this form\n```\nSvar: ...\n```\nNever leave it."
    found = cut(user(WINTER), assistant("At noon."), system(rules), user("And in May?"))
    assert {s.kind for s in found if s.message == 2} <= {Kind.INSTRUCTION, Kind.OTHER}


ROWS = [
    ("link", "Home"),
    ("button", "Search"),
    ("heading", "Ferries to Skarholm"),
    ("StaticText", "one crossing at noon"),
]
TREES = {
    "numbers": "\n".join(f"[{i}] {r} '{t}'" for i, (r, t) in enumerate(ROWS * 5)),
    "pairs": "\n".join(f"{'  ' * (i % 4)}[0-{i}] {r}: {t}" for i, (r, t) in enumerate(ROWS * 5)),
    "names": "\n".join(f"{'  ' * (i % 4)}- [e{i}] {r} {t!r}" for i, (r, t) in enumerate(ROWS * 5)),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("label", ["DOM: ", "Accessibility tree:\n", "Page snapshot:\n"])
def test_the_tree_of_a_page_is_one_piece(name: str, label: str) -> None:
    tree = TREES[name]
    for text in (f"Instruction:\nfind the ferry in winter\n{label}{tree}", f"Find the ferry.\n\n{label}{tree}"):
        found = cut(system("You browse."), user(text))
        assert kind_of(found, tree) is Kind.CONTEXT
        assert kind_of(found, label.strip()) is Kind.OTHER
    seen = cut(
        system("You browse."), user("Find it."), assistant("Click [3]"), user(f"Observation: here it is.\n{tree}")
    )
    assert kind_of(seen, tree) is Kind.TOOL_OUTPUT


TRACE = (
    "ValueError                      Traceback (most recent call last)\nCell In[14], line 11\n      8     days "
    "= hatched\n"
    "---> 11 summary = turtles.apply(f)\n\nFile /opt/lib/groupby.py:1824, in apply(self, func)\n   1822 with option:\n"
    "-> 1824         result = self._apply(f)\n\nFile /opt/lib/array.py:1482, in __rsub__(self, other)\n   1481  "
    "   raise\n"
    "-> 1482         f'no'\n\nValueError: cannot subtract"
)


@pytest.mark.parametrize("label", ["Output error:", "## Error", "Fehlermeldung:", "Traceback:", "Stderr:"])
def test_a_trace_behind_its_label_is_material_in_one_piece(label: str) -> None:
    found = cut(user(f"Please fix the cell.\n\nInput cell:\n```\nturtles.apply(f)\n```\n\n{label}\n```\n{TRACE}\n```"))
    assert kind_of(found, TRACE) is Kind.CONTEXT


MAIL = (
    "On Mon, 8 Jun 2026 at 16:42, Ada Moe wrote:\n> The council wants the plan by Friday. You must send the "
    "certificate "
    "as well, and please do not forget the list of guests, which I have asked for twice and never got.\n>\n"
    "> Am 7.6. schrieb Jon Berg:\n> > I spoke to the hire company. They answer by noon. The deposit is 500 and you get "
    "it back when the generator is returned clean."
)


def test_a_quoted_mail_is_material_whatever_it_asks_and_orders() -> None:
    found = cut(user(f"what do they want from me?\n\n{MAIL}\n\ni'm jon btw"))
    assert kind_of(found, MAIL.partition("\n")[2]) is Kind.CONTEXT
    assert kind_of(found, "what do they want") is Kind.QUESTION
    assert Kind.CONTEXT is not kind_of(found, "i'm jon")


@pytest.mark.parametrize("fence", ['"""', "'''", "```"])
@pytest.mark.parametrize("label", ["Text chunk: ", "Textauszug:", "片段："])
@pytest.mark.parametrize("place", [system, user])
def test_quotation_marks_open_at_the_end_of_a_labels_line(fence: str, label: str, place: object) -> None:
    chunks = "\n\n".join(f"{label}{fence}\n{t}\n{fence}" for t in (FERRY, WERKSTATT, MUSEE, TUSHUGUAN, PASSES))
    text = f"Answer from the chunks.\n\n{chunks}"
    found = cut(system(text), user(WINTER)) if place is system else cut(user(f"{text}\n\nQuestion: {WINTER}"))
    for chunk in (FERRY, WERKSTATT, MUSEE, TUSHUGUAN, PASSES):
        assert kind_of(found, chunk) is Kind.CONTEXT


@pytest.mark.parametrize(
    "mark", ["[Page no. {0}]", "[S. {0} f.]", "[Kapitel {0}, Vers 2]", "[第{0}页]", "【资料{0}】", "[vol. {0}]"]
)
def test_a_mark_in_brackets_stands_before_its_document_as_do_the_quotes_around_it(mark: str) -> None:
    pages = "\n\n".join(f'{mark.format(i)} "{t}"' for i, t in enumerate([FERRY, PASSES, WERKSTATT, MUSEE] * 2, 3))
    found = cut(user(f"search results:\n\n{pages}\n\nInstructions: Be brief.\n\nQuery: {WINTER}"))
    assert kind_of(found, mark.format(4)) is Kind.OTHER
    assert {s.text for s in found if s.kind is Kind.CONTEXT} == {FERRY, PASSES, WERKSTATT, MUSEE}


def test_a_fence_named_after_a_language_holds_code() -> None:
    script = 'set -eu\nSRC="$1"\nfind "$SRC" -type f | while read -r f; do\n    mv "$f" "$f.old"\ndone\necho ready'
    assert kind_of(cut(user(f"What does it do?\n\n```bash\n{script}\n```")), script) is Kind.CODE
    assert kind_of(cut(user(f"What does it do?\n\n#!/bin/bash\n{script}\n{script}")), script) is Kind.CODE


@pytest.mark.parametrize("label", ["Here are the files:", "Context:", "Dokumente:"])
@pytest.mark.parametrize("fence", ["```", '"""'])
def test_what_stands_behind_the_last_fence_is_said(label: str, fence: str) -> None:
    code = "def level(gauge):\n    value = gauge.read()\n    return value * 2\n" * 4
    wish = "Flyt tallet til en konstant øverst, så det kan ændres ét sted."
    for inside in (code, f"{FERRY}\n\n{PASSES}"):
        found = cut(user(f"<issue>\nIt is off.\n</issue>\n\n{label}\n{fence}\n{inside}\n{fence}\n\n{wish}"))
        assert kind_of(found, wish) in (Kind.QUESTION, Kind.INSTRUCTION)


def test_a_greek_question_ends_with_a_semicolon() -> None:
    parts = [
        {"type": "text", "text": t} for t in (f"### Πλοία\n{FERRY}", f"### Κάρτες\n{PASSES}", "Πότε φεύγει το πλοίο;")
    ]
    found = cut({"role": "user", "content": parts})
    assert kind_of(found, FERRY) is Kind.CONTEXT
    assert kind_of(found, "Πότε φεύγει") is Kind.QUESTION


@pytest.mark.parametrize("head", ["Tool page_reader returned: ", "Command ls output:\n", "Plugin Search result: "])
def test_what_a_tool_returned_is_output_in_a_system_message_too(head: str) -> None:
    found = cut(system("You are an agent."), user("Find it."), assistant("I look."), system(head + FERRY + PASSES))
    assert kind_of(found, FERRY[30:]) is Kind.TOOL_OUTPUT
