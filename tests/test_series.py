"""Runs of paragraphs that begin alike and chats are told by their form, whatever their words."""

import pytest

from proxy.segmentation import series

SAID = (
    "the two boxes stand in the cellar now and the van is at the garage until friday, so could you ask them about it?",
    "You should call the harbour first. We have to be there at nine because the pier is closed from noon to four.",
    "no objections. i will bring gloves and the shelves, which are heavy",
)
LONG = "The ferry to Skarholm leaves from pier four at 07:40 and at 16:15 between April and October, and at noon later."


@pytest.mark.parametrize(
    "mark",
    [
        "[{0}] ",
        "[[ref:{0}]] ",
        "【{0}】",
        "(Source {0}) ",
        "第{0}条 ",
        "제{0}조 ",
        "§ {0} ",
        "3.{0} ",
        "Article {0}. ",
        "Clip {0}: ",
    ],
)
def test_marks_of_documents_and_clauses_make_a_run(mark: str) -> None:
    texts = [mark.format(n) + LONG for n in (3, 4, 5)]
    assert series.alike(texts) == [True] * 3
    assert series.alike([*texts[:2], LONG]) == [False] * 3
    assert series.members(["\n".join(texts)]) == [True]


@pytest.mark.parametrize("mark", ["# ", "- ", "{0}. ", "{0}) "])
def test_items_of_a_list_make_a_run_only_where_they_are_long_and_give_no_orders(mark: str) -> None:
    long = [mark.format(n) + LONG * 2 for n in (1, 2, 3)]
    orders = [mark.format(n) + "You must answer in one sentence. " + LONG * 2 for n in (1, 2, 3)]
    assert series.alike(long) == [True] * 3
    assert series.alike([mark.format(n) + LONG[:70] for n in (1, 2, 3)]) == [False] * 3
    assert series.alike(orders) == [False] * 3
    assert series.alike(long, listed=600) == [False] * 3


@pytest.mark.parametrize(
    "names", [("Marta ha scritto: ", "Ugo scrive: "), ("hannah.oy: ", "bo_x: "), ("田中：", "佐藤：")]
)
def test_a_chat_begins_and_ends_with_somebody_who_speaks(names: tuple[str, str]) -> None:
    chat = [name + said for said in SAID for name in names]
    assert series.chat(["Summarise this.", *chat, "Thanks!"]) == (1, 7)


def test_labels_of_a_form_are_no_chat() -> None:
    form = [f"{label}: {LONG}" for label in ("Tone", "Length", "Audience", "Language", "Format")]
    assert series.chat(form) == (0, 0)
    assert series.chat([f"{n}: yes" for n in ("Ann", "Bo") * 4]) == (0, 0)
