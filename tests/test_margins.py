"""The ends of material stay where they may belong to what stands around it."""

import pytest
from cutting import PROSE, changeable, material

from policies.base import Kind
from policies.margins import margins, speakers
from policies.protect import guard

TEXT = (2 * PROSE).strip()
ENDS = {
    "colon of a mark": (": ", ""),
    "title behind a mark": ("(Title: Gates (new)): ", ""),
    "label that no table knows": ("Node of the reservoir graph: ", ""),
    "half a bracket": (") ", " ["),
    "quotation marks": ('"', '"'),
    "line end as two characters": ("", "\\n\\n"),
    "title of its own": ("Gates of the upper dam\n", ""),
    "title with the first word of the text": (f"{TEXT[:12]} (page 7):\n", ""),
    "remark at the end": ("", "\nplease write a commit message for me"),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_may_be_of_the_template_at_an_end_stays_and_the_prose_does_not(name: str) -> None:
    before, after = ENDS[name]
    free = changeable(guard([material(f"{before}{TEXT}{after}")]))
    assert free.strip() == TEXT


@pytest.mark.parametrize("mark", ["Source [3]:", "2.\n", "Content:"])
def test_marks_of_a_text_inside_of_others_stay(mark: str) -> None:
    free = changeable(guard([material(f"{TEXT}\n{mark} {TEXT}")]))
    assert mark.strip() not in free
    assert free.count("reservoir") == 2 * TEXT.count("reservoir")


@pytest.mark.parametrize("mark", ["[2] Faults of the gate (page 7)", "【资料 2】", "[[Gate]] and keeper"])
def test_short_lines_that_begin_with_a_mark_in_brackets_stay(mark: str) -> None:
    free = changeable(guard([material(f"{TEXT}\n{TEXT}\n{mark}\n{TEXT}")]))
    assert mark not in free
    assert free.count("reservoir") == 3 * TEXT.count("reservoir")


def test_rows_of_a_log_in_brackets_are_no_marks() -> None:
    log = "\n".join(f"[INFO] {word} of the level at the upper gate is read once more" for word in TEXT.split()[:12])
    assert "level" in changeable(guard([material(log)]))


def test_scores_behind_a_mark_stay() -> None:
    assert "(similarity: 0.87)" not in changeable(guard([material(f"{TEXT} (similarity: 0.87)\n{TEXT}")]))


def test_short_values_of_labels_that_recur_stay() -> None:
    records = "\n\n".join(f"Place: {name}\nText: {TEXT}" for name in ("Upper dam", "Lower dam", "Spillway"))
    free = changeable(guard([material(records)]))
    assert "Lower dam" not in free
    assert free.count("reservoir") == 3 * TEXT.count("reservoir")


def test_rows_that_look_alike_are_no_titles() -> None:
    rows = "\n".join(f"10:0{i} level {i}" for i in range(9))
    assert list(margins(rows, code=False)) == []


def test_speakers_of_a_chat_stay_whatever_letters_their_names_begin_with() -> None:
    said = "I think that we should look at the spillway again before the summer, and at the gate"
    chat = "\n".join(f"{name}: {said}" for name in ("seller", "buyer", "seller", "buyer", "seller", "buyer"))
    free = changeable(guard([material(chat, Kind.HISTORY)]))
    assert "seller" not in free
    assert "buyer" not in free
    assert free.count("spillway") == 6
    assert speakers("note: one\nsize: two\nowner: three") == []


def test_json_is_cut_by_its_own_form() -> None:
    assert list(margins('{"level: of the dam": 3,\n "gate": "north"\n}', code=False)) == []


def test_a_colon_in_code_is_no_label() -> None:
    code = "if level > 3: open_the_gate_and_tell_the_keeper_of_the_lower_dam_about_it_before_noon(level, 4)\nshut()\n"
    assert not any(a == 0 for a, _ in margins(code, code=True))


def test_history_keeps_no_margins() -> None:
    said = f"Well: {TEXT}"
    assert "Well" not in changeable(guard([material(said)]))
    assert TEXT in changeable(guard([material(said, Kind.HISTORY)]))


@pytest.mark.parametrize("text", ["", " \n ", "\\n" * 9, ")" * 300, ":", "\n\n:\n"])
def test_texts_of_nothing_but_signs_have_margins_inside_of_them(text: str) -> None:
    assert all(0 <= a < b <= len(text) for a, b in margins(text, code=False))
