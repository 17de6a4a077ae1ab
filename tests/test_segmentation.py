"""Requests are cut by their structure: labels, delimiters, repetition, position, role; in any language."""

from typing import Any

import pytest
from cutting import FERRY, PASSES, STRUCTURES, WINTER, assistant, cut, kind_of, system, user

from policies.base import Kind


@pytest.mark.parametrize("structure", STRUCTURES)
def test_question_and_context_of_one_user_message_are_told_apart(structure: str) -> None:
    text, question, context = STRUCTURES[structure]
    found = cut(user(text))
    assert kind_of(found, question) is Kind.QUESTION
    assert kind_of(found, context) is Kind.CONTEXT
    assert next(s for s in found if context in s.text).question.startswith(question)


SYSTEMS = {
    "heading": f"You are Pia.\n\n# Knowledge base\n\n{FERRY}\n\n{PASSES}\n\n# Rules\n- Never promise refunds.",
    "announced": f"Use the information below to answer.\n\n{FERRY}\n\n{PASSES}\n\nIf it does not help, say so.",
    "tags": f"You are Pia.\n<context>\n{FERRY}\n\n{PASSES}\n</context>\nNever promise refunds.",
    "rule to the end": f"Use the following documents to answer.\n----------------\n{FERRY}\n\n{PASSES}",
}


@pytest.mark.parametrize("structure", SYSTEMS)
def test_context_in_a_system_message_is_found_and_its_instructions_stay(structure: str) -> None:
    found = cut(system(SYSTEMS[structure]), user(WINTER))
    for text in (FERRY, PASSES):
        assert kind_of(found, text) is Kind.CONTEXT
    rest = [s.text for s in found if s.message == 0 and s.kind not in (Kind.CONTEXT,)]
    assert not any(FERRY[:50] in text for text in rest)
    assert any(s.kind is Kind.INSTRUCTION for s in found)


@pytest.mark.parametrize(
    "text",
    [
        "# Context\nYou run in a container. " + "The tests are run with the same commands as on the build server. " * 9,
        "Robin is a companion for people who learn to sail. " + "Robin explains each manoeuvre twice, slowly. " * 20,
        "## Summary\nA narrative summary of the profile of the user. May be empty.\n\n## Rules\n- Keep names.",
        "Documents: the passages that the search tool returns. Rules: cite them. Output: one paragraph.",
    ],
)
def test_a_system_text_without_material_is_all_instruction(text: str) -> None:
    assert {s.kind for s in cut(system(text), user("Go on.")) if s.message == 0} <= {Kind.INSTRUCTION, Kind.OTHER}


@pytest.mark.parametrize(
    "text",
    [
        "I have tried to get my pass replaced for three weeks. " + "I called twice and my employer did too. " * 12,
        "Write a story about a lighthouse keeper. " + "In the next act the keeper rows out in a storm. " * 12,
        "What does E27 mean?",
    ],
)
def test_what_a_user_says_himself_is_the_question(text: str) -> None:
    assert {s.kind for s in cut(user(text))} == {Kind.QUESTION}


GREEK = (
    "Το πλοίο φεύγει από την προβλήτα τέσσερα στις οκτώ το πρωί και στις τέσσερις το απόγευμα. Τον χειμώνα γίνεται "
    "ένα δρομολόγιο, που ακυρώνεται όταν ο άνεμος είναι ισχυρός. Τα ποδήλατα ταξιδεύουν δωρεάν, ενώ για τα "
    "αυτοκίνητα χρειάζεται κράτηση μία ημέρα πριν, στο γραφείο του λιμανιού ή τηλεφωνικά από τις εννιά έως τις πέντε."
)
WISH = (
    "Θα έρθω με το αυτοκίνητο και δύο ποδήλατα το δεύτερο Σάββατο του Ιανουαρίου και θέλω να ξέρω αν υπάρχει πλοίο "
    "εκείνη την ημέρα, πόσο νωρίς πρέπει να κάνω την κράτηση και τι γίνεται με τα χρήματά μου αν φυσάει πολύ."
)


@pytest.mark.parametrize("text", [f"{GREEK}\n\n{GREEK}\n\n{WISH}", f"Κείμενο:\n{GREEK}\n\n{GREEK}\n\n{WISH}"])
def test_the_last_paragraph_is_what_the_user_wants_where_no_word_is_known(text: str) -> None:
    assert kind_of(cut(user(text)), WISH) is not Kind.CONTEXT


def test_words_before_and_after_json_and_html_are_not_part_of_it() -> None:
    page = "<html><body>" + "".join(f"<p><a href='/{i}'>Pier {i}</a></p>" for i in range(90)) + "</body></html>"
    found = cut(user(f"Get all links from {page} as a list"))
    assert kind_of(found, "Get all links") is kind_of(found, "as a list") is Kind.QUESTION
    assert kind_of(found, "Pier 7") is Kind.CONTEXT


def test_remarks_of_a_tool_to_the_model_are_not_its_output() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    asked: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    remark = 'The above results were retrieved to help answer the user\'s query: "ferry".'
    parts = [{"type": "text", "text": text} for text in (FERRY, PASSES, remark)]
    for content in (f"{FERRY}\n{PASSES}\n{remark}", parts):
        found = cut(user(WINTER), asked, {"role": "tool", "tool_call_id": "c1", "content": content})
        assert kind_of(found, remark) is Kind.OTHER
        assert kind_of(found, PASSES) is Kind.TOOL_OUTPUT


def test_a_title_in_a_tag_of_its_own_stands_between_documents() -> None:
    document = "<document>\n<source>{}</source>\n<text>\n{}\n</text>\n</document>"
    text = document.format("Timetable", FERRY) + document.format("Passes", PASSES)
    assert kind_of(cut(user(f"<documents>\n{text}\n</documents>\n\n{WINTER}")), "Timetable") is Kind.OTHER


def test_a_statement_and_a_draft_are_guarded() -> None:
    for text in (f"Context:\n{FERRY}\n\nClaim: It leaves at noon.\n\nSupported?", "Here is my draft:\n\n" + FERRY):
        assert "existing answer" in {s.guard for s in cut(user(text))}


def test_earlier_turns_are_history_and_keep_the_question_of_their_own_turn() -> None:
    found = cut(
        user(f"Context:\n{FERRY}\n\nQuestion: {WINTER}"),
        assistant("At noon."),
        user(f"Context:\n{PASSES}\n\nQuestion: What does a pass cost?"),
    )
    ferry, passes = (next(s for s in found if text in s.text) for text in (FERRY, PASSES))
    assert (ferry.question, ferry.turn, ferry.questions) == (WINTER, 1, 2)
    assert (passes.question, passes.turn, passes.questions) == ("What does a pass cost?", 0, 1)
    assert kind_of(found, "At noon.") is Kind.HISTORY


def test_a_plain_question_of_an_earlier_turn_is_history() -> None:
    found = cut(user("Good morning"), assistant("Hello."), user(WINTER))
    assert [s.kind for s in found] == [Kind.HISTORY, Kind.HISTORY, Kind.QUESTION]


def test_a_message_of_documents_behind_the_question_takes_its_question() -> None:
    found = cut(user(WINTER), user(f"[search results]\n(1) Timetable\n{FERRY}\n(2) Passes\n{PASSES}\n[end of results]"))
    assert kind_of(found, FERRY) is Kind.CONTEXT
    assert {s.question for s in found} == {WINTER}
    assert kind_of(found, "Timetable") is Kind.OTHER


def test_history_embedded_in_a_text_is_history() -> None:
    found = cut(user(f"Chat History:\nHuman: {WINTER}\nAssistant: {FERRY}\n\nFollow Up Input: And in summer?"))
    assert kind_of(found, FERRY) is Kind.HISTORY
    assert kind_of(found, "And in summer?") is Kind.QUESTION


def test_worked_examples_in_a_text_are_demonstrations() -> None:
    shot = "Question: What does the shop sell?\nContext: The shop sells bread.\nAnswer: bread"
    found = cut(user(f"{shot}\n\nQuestion: {WINTER}\nContext: {FERRY} {PASSES}\nAnswer:"))
    assert kind_of(found, "What does the shop sell?") is Kind.DEMONSTRATION
    assert kind_of(found, PASSES) is Kind.CONTEXT


def test_worked_examples_sent_as_turns_are_demonstrations() -> None:
    shots = [user("two crates"), assistant('{"n": 2}'), user("one roll"), assistant('{"n": 1}')]
    found = cut(system("Answer with JSON."), *shots, user("five pallets"))
    assert [s.kind for s in found[1:]] == [Kind.DEMONSTRATION] * 4 + [Kind.QUESTION]


def test_worked_examples_are_told_by_what_stands_before_them() -> None:
    """The newest message is not looked at, and later turns take nothing back."""
    shots = [user("two crates"), assistant('{"n": 2}'), user("one roll"), assistant('{"n": 1}')]
    later = [user("And why?"), assistant("Because the note says so."), user("Thanks")]
    kinds = [s.kind for s in cut(*shots, *later) if s.message < 4]
    assert kinds == [s.kind for s in cut(*shots, user(FERRY)) if s.message < 4] == [Kind.DEMONSTRATION] * 4


def test_tool_output_keeps_titles_and_links_apart() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    asked: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
    text = f"1. Timetable\nhttps://skar.example/ferry\n{FERRY}\n\n2. Passes\nhttps://skar.example/pass\n{PASSES}"
    found = cut(user(WINTER), asked, {"role": "tool", "tool_call_id": "c1", "content": text})
    assert kind_of(found, FERRY) is Kind.TOOL_OUTPUT
    assert kind_of(found, "1. Timetable") is Kind.OTHER
    assert [s.document for s in found if s.kind is Kind.TOOL_OUTPUT][1] is not None


def test_observations_are_tool_output_whatever_their_role() -> None:
    notes = f"Thought: I need the timetable.\nAction: search\nObservation: {FERRY}\nThought: I know it."
    in_notes = cut(user(WINTER), assistant(notes), user(WINTER))
    assert kind_of(in_notes, FERRY[:60]) is Kind.TOOL_OUTPUT
    as_user = cut(user(WINTER), assistant("Action: search"), user(f"Observation: {FERRY}"))
    assert kind_of(as_user, FERRY[:60]) is Kind.TOOL_OUTPUT
    assert {s.turn for s in as_user} == {0}


def test_fenced_code_is_code_and_a_fenced_format_is_instruction() -> None:
    code = "```python\nimport os\n\ndef size(path):\n    return os.stat(path).st_size\n\nclass File:\n    pass\n```"
    assert kind_of(cut(user(f"{code}\n\nWhat does size return?")), "import os") is Kind.CODE
    form = '```json\n{"title": "...", "pages": 0, "authors": ["..."]}\n```'
    assert kind_of(cut(user(f"List my books. Respond in this format:\n{form}")), "authors") is Kind.INSTRUCTION


def test_an_answer_to_be_judged_is_guarded() -> None:
    found = cut(
        user(f"Refine the original answer.\n\nNew Context:\n{FERRY}\n\nOriginal Answer: At noon.\n\nNew Answer:")
    )
    assert next(s for s in found if "At noon." in s.text).guard == "existing answer"
    found = cut(user(f"Documents:\n{FERRY}\n\nCurrent section:\nThe ferry leaves at noon.\n\nWrite the section anew."))
    assert next(s for s in found if "leaves at noon." in s.text).guard == "existing answer"


def test_a_last_assistant_message_is_a_prefix() -> None:
    assert cut(user(WINTER), assistant("It leaves"))[-1].kind is Kind.OTHER
