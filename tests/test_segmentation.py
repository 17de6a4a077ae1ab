"""Requests are cut by their structure: labels, delimiters, repetition, position, role; in any language."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.base import Kind, Segment
from proxy.segmentation import marks, segment
from proxy.wire import ChatRequest, parse

FERRY = (
    "The ferry to Skarholm leaves from pier four at 07:40 and at 16:15 between April and October. In winter there is a "
    "single crossing at noon, which is cancelled when the wind exceeds eighteen metres per second. Bicycles travel "
    "free of charge, cars need a booking that is made one day ahead at the harbour office or by telephone."
)
PASSES = (
    "Passengers with a season pass board through the left gate. A pass costs 84 euros for a month and 790 euros for a "
    "year, and it is valid on the night bus as well. Lost passes are replaced once a year for a fee of twelve euros; "
    "the harbour office keeps found passes for six weeks and destroys them afterwards."
)
WERKSTATT = (
    "Die Werkstatt prüft Bremsen und Lichtanlage bei jeder Inspektion. Bremsbeläge werden gewechselt, sobald weniger "
    "als drei Millimeter übrig sind; die Kosten betragen 140 Euro für die Vorderachse und 160 Euro für die Hinterachse."
    " Ein Leihwagen steht gegen eine Gebühr von 25 Euro am Tag bereit und wird vollgetankt zurückgegeben."
)
MUSEO = (
    "El museo abre de martes a domingo de diez a seis y cierra los lunes. La entrada general cuesta nueve euros; los "
    "menores de doce años y los desempleados no pagan. Las visitas guiadas empiezan a las once y a las cuatro, duran "
    "una hora y admiten un máximo de veinte personas. Las mochilas grandes se dejan en el guardarropa."
)
MUSEE = (
    "La bibliothèque est ouverte du mardi au samedi de dix heures à dix-neuf heures. Le prêt est gratuit pour les "
    "habitants de la commune et limité à huit documents pour trois semaines. Une amende de vingt centimes par jour est "
    "perçue en cas de retard, sauf pendant la fermeture annuelle du mois de juillet."
)
TOSHOKAN = (
    "図書館の開館時間は平日が午前九時から午後八時まで、土日祝日が午前十時から午後五時までである。貸出は一人十冊まで、"
    "期間は二週間とし、予約者がいない場合に限り一回だけ延長できる。延滞した場合は、延滞日数と同じ期間だけ新たな貸出が"
    "停止される。視聴覚資料は三点まで一週間借りることができる。"
)
DOSEOGWAN = (
    "도서관은 평일 오전 아홉 시부터 오후 여덟 시까지, 주말에는 오전 열 시부터 오후 다섯 시까지 운영된다. 한 사람이 "
    "열 권까지 두 주 동안 빌릴 수 있으며 예약자가 없는 경우 한 번 연장된다. 연체하면 연체 일수만큼 대출이 정지된다."
)
TUSHUGUAN = (
    "图书馆平日上午九点至晚上八点开放，周末上午十点至下午五点开放。每人最多可借十本书，借期两周，无人预约时可续借一次。"
    "逾期期间不得再借，停借天数与逾期天数相同。视听资料每次最多借三件，借期一周，不得续借，损坏须照价赔偿。"
)
WINTER = "When does the ferry leave in winter?"


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def request(*messages: dict[str, Any]) -> ChatRequest:
    return parse(json.dumps({"model": "m", "messages": list(messages)}).encode())


def cut(*messages: dict[str, Any]) -> tuple[Segment, ...]:
    return segment(request(*messages))


def kind_of(found: tuple[Segment, ...], text: str) -> Kind:
    """The kind of the one segment that holds this text."""
    (only,) = {s.kind for s in found if text in s.text}
    return only


STRUCTURES = {
    "label after the question": (f"{WINTER}\n\nContext:\n{FERRY}\n\n{PASSES}", WINTER, FERRY),
    "labels on their lines": (f"Answer briefly.\n\nContext: {FERRY}\nQuestion: {WINTER}\nAnswer:", WINTER, FERRY[60:]),
    "headings": (f"## Instructions\nBe brief.\n\n## Context\n{FERRY}\n\n## Question\n{WINTER}", WINTER, FERRY),
    "bold headings": (f"**Context:**\n{FERRY}\n\n**Question:** {WINTER}", WINTER, FERRY),
    "titled rules": (f"---Context---\n{FERRY}\n\n---Question---\n{WINTER}", WINTER, FERRY),
    "field markers": (f"[[ ## context ## ]]\n{FERRY}\n\n[[ ## question ## ]]\n{WINTER}", WINTER, FERRY),
    "tags": (f'<documents>\n<document id="3">{FERRY}</document>\n</documents>\n\n{WINTER}', WINTER, FERRY),
    "unknown outer tag": (f"<kb>\n<article>{FERRY}</article>\n</kb>\n{WINTER}", WINTER, FERRY),
    "brackets that end": (f"[CONTEXT 0]:\n{FERRY}\n[END CONTEXT 0]\n\n{WINTER}", WINTER, FERRY),
    "rules": (
        f"Context information is below.\n-----\n{FERRY}\n-----\nAnswer the query.\nQuery: {WINTER}",
        WINTER,
        FERRY,
    ),
    "triple quotes": (f'Summarize the text in triple quotes.\n"""\n{FERRY}\n\n{PASSES}\n"""', "Summarize", PASSES),
    "numbered": (f"Sources:\n[1] Timetable\n{FERRY}\n[2] Passes\n{PASSES}\n\nQuestion: {WINTER}", WINTER, PASSES),
    "no labels": (f"{FERRY}\n\n{PASSES}\n\n{WINTER}", WINTER, FERRY),
    "one paragraph": (
        f"so my neighbour sent me this: {FERRY} can i take my car without booking?",
        "can i",
        FERRY[:200],
    ),
    "json": (
        json.dumps({"query": WINTER, "hits": [{"id": 4, "body": FERRY}, {"id": 5, "body": PASSES}]}),
        WINTER,
        FERRY,
    ),
    "german": (f"Auszüge:\n{WERKSTATT}\n\nFrage: Was kostet ein Leihwagen?\nAntwort:", "Was kostet", WERKSTATT),
    "spanish": (f"Contexto: {MUSEO}\n\nPregunta: ¿Cuánto cuesta?\nRespuesta:", "¿Cuánto", MUSEO[80:]),
    "french": (f"Extraits :\n{MUSEE}\n\nQuestion : Quelle est l'amende ?", "Quelle est", MUSEE),
    "japanese": (f"【資料】\n{TOSHOKAN}\n\n【質問】\n延滞するとどうなりますか？\n\n【回答】", "延滞すると", TOSHOKAN),
    "korean": (f"참고 자료:\n{DOSEOGWAN}\n\n질문: 연체하면 어떻게 되나요?", "연체하면 어떻게", DOSEOGWAN),
    "chinese": (f"已知信息：\n{TUSHUGUAN}\n\n问题：逾期会怎样？", "逾期会怎样", TUSHUGUAN),
}


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


def test_a_last_assistant_message_is_a_prefix() -> None:
    assert cut(user(WINTER), assistant("It leaves"))[-1].kind is Kind.OTHER


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


HOSTILE = {
    "brackets": "[" * 300_000,
    "braces": "{" * 300_000,
    "angles": "<" * 300_000,
    "nested json": '[{"a":' * 50_000,
    "quotes": '"' * 300_000,
    "backslashes": '{"a": "' + "\\" * 300_000,
    "escaped quotes": '{"a": "' + '\\"' * 300_000 + "]}",
    "colons": ":" * 300_000,
    "blanks": " " * 300_000 + "x",
    "line ends": "\n" * 300_000 + "x",
    "fences": "```\n" * 30_000,
    "rules": "Context:\n---\n" * 15_000,
    "labels": "Question: b\nAnswer: c\n" * 15_000,
    "open tags": "<context>\n" * 30_000,
    "nested tags": "<a>\n<context>\n" * 10_000 + "</context>\n</a>\n" * 10_000,
    "marks": "<laconic:context>" * 15_000,
    "pairs of marks": "<laconic:keep>a</laconic:keep>" * 5_000,
    "one long line": "word " * 100_000,
    "open brackets": 'Context:\n"\n' + "[\n" * 100_000,
    "closed at the end": 'Context:\n"\n' + "[\n" * 100_000 + "]",
    "outputs": "Output:\n" + "Output: c\n" * 30_000,
    "names": "ann: b\nbo: c\n" * 20_000,
    "one rule and headings": "Answer.\n" + "# a\n" * 30_000 + "---\n" + "word " * 1_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_hostile_texts_are_cut_in_full(name: str, role: str) -> None:
    """Quadratic work would run into the time limit of the suite; nothing raises."""
    message = {"role": role, "content": HOSTILE[name], "tool_call_id": "c"}
    assert_covers(request(message, user("What?")))


def test_many_messages_are_cut() -> None:
    assert_covers(request(*(user(f"message {i}") if i % 2 else assistant(f"answer {i}") for i in range(10_000))))


def assert_covers(body: ChatRequest) -> None:
    """Segments are ordered, apart, have no blank edges and leave nothing but white space between them."""
    ends = [0] * len(body.fields)
    for s in segment(body):
        text = body.fields[s.field].text
        assert s.start < s.end
        assert s.text == text[s.start : s.end] == s.text.strip()
        assert not text[ends[s.field] : s.start].strip()
        ends[s.field] = s.end
    for field, end in zip(body.fields, ends, strict=True):
        assert not field.text[end:].strip()


SNIPPETS = st.sampled_from(
    [
        *(
            "Context:",
            "Question: why?",
            "Answer:",
            "<context>",
            "</context>",
            "---",
            "```",
            "```json",
            '"""',
            "[1] Title",
        ),
        *(
            "[[ ## question ## ]]",
            "# Notes",
            "Observation: found",
            "Thought: hm",
            "Human: hi",
            "Assistant: ho",
            "",
            " ",
        ),
        *(
            "<laconic:keep>",
            "</laconic:keep>",
            "<laconic:context>",
            "</laconic:context>",
            '{"question": "a", "b": "c"}',
        ),
        *(
            "Here is the text:",
            "You must cite.",
            "Source: a.pdf",
            "END CONTEXT",
            "[END CONTEXT]",
            "«",
            "」",
            "a,b,c",
            "1 | x",
        ),
        *(
            FERRY,
            TOSHOKAN,
            "質問：",
            "【資料】",
            "<![CDATA[x",
            "]]>",
            "Example:",
            "Original Answer: x",
            "\u2028",
            "\x1f",
            "🙂",
        ),
    ]
)
TEXTS = st.lists(SNIPPETS | st.text(max_size=20), max_size=12).flatmap(
    lambda parts: st.sampled_from(["\n", "\n\n", " ", ""]).map(lambda by: by.join(parts))
)
MESSAGES = st.builds(
    lambda role, content, name: {
        "role": role,
        "content": content,
        "tool_call_id": "c",
        **({"name": name} if name else {}),
    },
    st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
    TEXTS | st.lists(TEXTS.map(lambda t: {"type": "text", "text": t}), max_size=3),
    st.sampled_from([None, "ann", "bob", "example_user"]),
)


@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_segments_cover_every_character_once(messages: list[dict[str, Any]]) -> None:
    assert_covers(request(*messages))


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_a_message_becomes_does_not_hang_on_later_turns(name: str) -> None:
    """Providers cache prefixes: the cuts of a message stay when the conversation goes on."""
    text = STRUCTURES[name][0]
    now = cut(user(text))
    later = [s for s in cut(user(text), assistant("Sure."), user("And then?")) if s.message == 0]
    assert [(s.start, s.end, s.question) for s in now] == [(s.start, s.end, s.question) for s in later]
