"""What stays inside of material that may change."""

import json

import pytest
from cutting import PROSE, changeable, material

from policies.base import Kind, Segment
from policies.holes import holes
from policies.protect import guard

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
    "person in a chat": "It was <@U05LLLL> who closed the gate.",
    "number with a dash": "The parcel 4411-20 borders on the dam.",
}


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("link", "https://dam.example/plans?id=7#p2"),
        ("address", "ann.lee@dam.example"),
        ("ticket", "T-48210"),
        ("number with a dash", "4411-20"),
        ("person in a chat", "<@U05LLLL>"),
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
    ("[Source 2] (hygiene)", "{0}\n[Source 2] (hygiene)\n{0}"),
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


@pytest.mark.parametrize(
    "kept",
    ["9690244451", "81061223", "ida_holm_4471", "gift-card-52", "ord_7f3a", "541117253366"],
)
@pytest.mark.parametrize(
    "form", ['{{"item_ids": ["{0}", "x"]}}', '{{"a": {{"{0}": {{"price": 3}}}}}}', "{{'by': '{0}'}}"]
)
def test_ids_stay_in_lists_and_as_keys(kept: str, form: str) -> None:
    text = form.format(kept)
    assert any(text[a:b].strip("\"'") == kept for a, b in holes(text, code=False))


@pytest.mark.parametrize("key", ["orderId", "fileName", "sourceUrl", "itemUUID"])
def test_keys_of_ids_may_be_written_as_one_word(key: str) -> None:
    text = f'{{"{key}": "abc", "paid": "full"}}'
    assert [text[a:b] for a, b in holes(text, code=False)] == [f'"{key}": "abc"']


@pytest.mark.parametrize("joint", ["; ", " | ", " --- ", " *** ", " • ", " ¶ "])
def test_signs_that_join_texts_stay(joint: str) -> None:
    texts = [
        PROSE.strip(),
        "Los sábados abre a las diez. " + PROSE.strip(),
        PROSE.strip(),
        "¿Y en invierno? " + PROSE.strip(),
    ]
    text = joint.join(texts)
    found = {text[a:b].strip() for a, b in holes(text, code=False)}
    assert joint.strip() in found
    assert joint.strip() not in {PROSE[a:b] for a, b in holes(PROSE.replace(". ", "; "), code=False)}


def test_the_heads_and_the_empty_lines_of_quoted_mails_stay() -> None:
    text = (
        "> On Monday Ada wrote:\n> > Yes, by Friday at noon, and then the drawing as well.\n> >\n> Fine.\n>\n> See you."
    )
    assert {text[a:b].strip() for a, b in holes(text, code=False)} == {"> On Monday Ada wrote:", "> >", ">"}


SAID = ("the hut is booked, twelve places in all and a stove", "which one is it again?", "the one with the stove") * 6
STAMPS = [
    "[09:1{i}, 27/01/2026] {n}: ",
    "27.01.26, 09:1{i} - {n}: ",
    "(09:1{i}) {n}> ",
    "<{n}> ",
    "<{n}|09:1{i}> ",
    "[2026-01-27 09:1{i}] <{n}> ",
    "1/27/26, 9:1{i} AM - {n}: ",
    "09h1{i} {n} : ",
    "{n} [09:1{i}]: ",
    "{n}, 27/01/2026 09:1{i}\n",
    "27 janv. 2026 à 09:1{i} - {n} : ",
    "{n}> ",
]


@pytest.mark.parametrize("stamp", STAMPS)
def test_who_speaks_in_a_chat_stays_in_whatever_form_the_time_is_given(stamp: str) -> None:
    names = ("Ines", "Tom", "Ruth") * 6
    text = "\n".join(
        stamp.format(i=i % 9, n=name) + said for i, (name, said) in enumerate(zip(names, SAID, strict=True))
    )
    left = changeable(guard([material(text)]))
    assert "stove" in left
    assert not any(name in left for name in names)


def test_the_components_of_a_log_are_no_speakers() -> None:
    log = "".join(
        f"2026-01-27T09:{i}:07Z INFO writer: wrote the block of the shard and went on\n" for i in range(10, 40)
    )
    assert "INFO writer" in changeable(guard([material(log)]))


@pytest.mark.parametrize(
    "mark",
    "__text_start__|<<<DOC 4|%% doc 4 %%|@@doc 4|::doc 4|<|doc|>|chunk_end_marker|DOC_BEGIN|{{doc 4}}|(doc 4)|$$doc$$"
    "|/* doc 4 */|// doc 4|NodeContentStart|node-content-start|\\begin{doc}|#doc4|--- doc 4".replace(
        "<|doc|>", "<!doc>"
    ).split("|"),
)
def test_a_line_that_marks_a_text_stays_with_the_line_that_names_it(mark: str) -> None:
    left = changeable(guard([material(f"{PROSE}\nthe weir at Kessel\n{mark}\n{PROSE}")]))
    assert "spillway" in left
    assert mark not in left
    assert "Kessel" not in left


CITED = (
    "[[0]][[3]]|[^1][^2]|【1†a】【2】|[1][2]|[1–3]|[Doc 3][Doc 4]|¹²|⁽¹⁾|^1^|(1)(2)|［1］|{1}{2}|<<1>>|[p. 3]"
    r"|(Quelle 3)|\cite{a,b}|(doc_3)|(Müller 2020)|⟦1⟧|①②|[1](#a)|[@muller2020]"
)


@pytest.mark.parametrize("marks", CITED.split("|"))
@pytest.mark.parametrize("before", [". ", "度"])
def test_every_mark_of_a_row_of_citations_stays(marks: str, before: str) -> None:
    left = changeable(guard([material(f"{PROSE.rstrip('. ')}{before}{marks} {PROSE}")]))
    assert "spillway" in left
    assert not any(c in left for c in marks if not c.isalnum() and c not in ". ,") or marks in ("¹²", "⁽¹⁾")


@pytest.mark.parametrize("kind", [Kind.CONTEXT, Kind.CODE, Kind.TOOL_OUTPUT])
@pytest.mark.parametrize("mark", [";", "|", "\t", ","])
@pytest.mark.parametrize("before", ["", "\n"])
def test_the_names_of_columns_stay_whatever_the_table_was_taken_for(kind: Kind, mark: str, before: str) -> None:
    names = mark.join(["gate", "opened at", "closed"])
    text = f"{before}{names}\n" + mark.join(["north", "seven", "late\n"]) * 30
    (only,) = guard([material(text, kind)])
    assert names not in changeable((only,))
    assert "seven" in changeable((only,)) or mark == ","


@pytest.mark.parametrize("mark", [";", "|", "\t"])
def test_the_names_of_columns_stay_behind_other_text(mark: str) -> None:
    names = mark.join(["gate", "opened at", "closed"])
    for before in (f"{PROSE}\n\n", "Export of June\n"):
        left = changeable(guard([material(f"{before}{names}\n" + mark.join(["north", "seven", "late\n"]) * 30)]))
        assert names not in left
        assert "seven" in left


@pytest.mark.parametrize(
    "label", ["Jarvis: ", "**Jarvis:** ", "[Jarvis] ", "<Jarvis> ", "Jarvis> ", "Jarvis： ", "Dr. Jarvis: "]
)
def test_the_name_before_a_message_of_its_own_stays(label: str) -> None:
    left = changeable(guard([material(label + PROSE * 2, Kind.HISTORY)]))
    assert "spillway" in left
    assert "Jarvis" not in left


@pytest.mark.parametrize("signs", ["``", '""', "''", "«»", "„“", "‘’", "“”", "›‹"])
def test_the_signs_around_a_text_stay(signs: str) -> None:
    left = changeable(guard([material(f"{signs[0]}{PROSE}\n\n{PROSE.rstrip()}{signs[1]}")]))
    assert "spillway" in left
    assert not set(signs) & {left[0], left[-1]}
