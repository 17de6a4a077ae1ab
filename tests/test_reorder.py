"""Documents move inside their block, whole, with what heads them; everything else stays where it is."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import PASSAGES, QUESTION, user

from compressors import Kept, Span, Task, load
from compressors.spans import complement
from policies.base import Kind
from policies.presets import PRESETS, lowered
from policies.rules import RulePolicy
from proxy.pipeline import Pipeline, Prepared
from proxy.reorder import Moves, arranged, moves
from proxy.savings import Outcome
from proxy.settings import Compression


def reordered(text: str, documents: Sequence[str], order: Sequence[int], floor: int = 0) -> str:
    """The text with these parts of it in another order."""
    spans = [(text.index(d), text.index(d) + len(d)) for d in documents]
    found = moves(text, spans, order, floor)
    return "".join(text[a:b] for a, b in arranged(len(text), [found] if found else []))


ABC = ["Alpha is first.", "Beta is second.", "Gamma is third."]


@pytest.mark.parametrize(
    ("form", "labelled"),
    [
        ("Context:\n{0}\n\n{1}\n\n{2}\n\nQuestion: why?", False),
        ("Sources:\n---\n{0}\n---\n{1}\n---\n{2}\n---\nwhy?", False),
        ("<docs>\n<doc>\n{0}\n</doc>\n<doc>\n{1}\n</doc>\n<doc>\n{2}\n</doc>\n</docs>", False),
        ("Context:\n[1] {0}\n\n[2] {1}\n\n[3] {2}\n\nWhy?", True),
        ("Document [1](Title: A) {0}\nDocument [2](Title: Bo) {1}\nDocument [3](Title: C) {2}\n", True),
        ("Context:\n## Mill Lane\n{0}\n\n## Oak Street\n{1}\n\n## The Quay\n{2}\n", True),
        ("<d id='1'>\n{0}\n</d>\n<d id='2'>\n{1}\n</d>\n<d id='3'>\n{2}\n</d>\n", True),
        ("Look:\nPassage 9: {0}\n\nPassage 10: {1}\n\nPassage 11: {2}\n", True),
    ],
)
def test_a_document_takes_its_number_and_its_title_along(form: str, labelled: bool) -> None:
    text = form.format(*ABC)
    new = reordered(text, ABC, (2, 0, 1))
    assert [d for _, d in sorted((new.index(d), d) for d in ABC)] == [ABC[2], ABC[0], ABC[1]]
    assert len(new) == len(text)
    for document in ABC if labelled else ():
        before = text[: text.index(document)].splitlines(keepends=True)
        label = before[-1]
        assert f"{label}{document}" in new
    places = [re.sub("|".join(ABC), "X", t) for t in (text, new)]
    assert labelled or places[0] == places[1], "what stands between them stays"
    assert new.partition("X")[0][:4] == text[:4]
    assert new.endswith(text[text.index(ABC[2]) + len(ABC[2]) :]), "what follows stays"


@pytest.mark.parametrize(
    "form",
    [
        "{0}\nSource: a.pdf\n\n{1}\nSource: b.pdf\n\n{2}\nSource: c.pdf\n",  # the labels follow
        "Mill Lane\n{0}\n\nOak Street\n{1}\n\nThe Quay\n{2}\n",  # they could be anything
        "{0}\n\n[2] {1}\n\n[3] {2}",  # the first has none
        "See [1] below.\n{0}\n\n[2] {1}\n\n[3] {2}",
        "[1]\n\n\n{0}\n\n[2]\n{1}\n\n[3]\n{2}",
        "{0}\n\n" + "A very long remark. " * 30 + "{1}\n\n{2}",
    ],
)
def test_where_it_cannot_be_told_what_belongs_to_which_nothing_moves(form: str) -> None:
    text = form.format(*ABC)
    assert reordered(text, ABC, (2, 1, 0)) == text


def test_two_numbered_documents_keep_their_numbers() -> None:
    assert reordered("C:\n[1] Alpha.\n\n[2] Beta.\n", ["Alpha.", "Beta."], (1, 0)) == "C:\n[2] Beta.\n\n[1] Alpha.\n"


def test_no_label_is_taken_from_another_block() -> None:
    text = "[1] other\n[1] Alpha.\n[2] Beta.\n"
    assert reordered(text, ["Alpha.", "Beta."], (1, 0), floor=9) == "[1] other\n[2] Beta.\n[1] Alpha.\n"
    assert reordered(text, ["Alpha.", "Beta."], (1, 0), floor=14) == text


def test_the_same_order_moves_nothing() -> None:
    assert moves("a b", [(0, 1), (2, 3)], (0, 1)) is None


@pytest.mark.parametrize("order", [(0,), (0, 0), (0, 2), (0, 1, 2)])
def test_an_order_that_is_none_is_an_error(order: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each document once"):
        moves("a b", [(0, 1), (2, 3)], order)


@given(lengths=st.lists(st.integers(0, 3), max_size=12), data=st.data())
def test_every_character_stays_once(lengths: list[int], data: st.DataObject) -> None:
    units: list[Span] = []
    at = 0
    for n in lengths:
        start = at + data.draw(st.integers(0, 2))
        units.append((start, start + n + 1))
        at = start + n + 1
    order = tuple(data.draw(st.permutations(range(len(units)))))
    ranges = arranged(at + 2, [Moves(tuple(units), order)])
    assert sorted(n for a, b in ranges for n in range(a, b)) == list(range(at + 2))


# Through the pipeline


@dataclass(frozen=True)
class Backwards:
    """Keeps what another one keeps, and would have the documents the other way round."""

    order: tuple[int, ...] | None = None

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        kept = load("lexical").compress(tasks)
        wanted = [self.order or tuple(range(len(t.documents)))[::-1] for t in tasks]
        return [replace(k, order=order) for k, order in zip(kept, wanted, strict=True)]


def policy(reorder: bool) -> RulePolicy:
    rule = replace(PRESETS["aggressive"].rules[Kind.CONTEXT], compressor="test", reorder=reorder)
    return replace(PRESETS["aggressive"], rules={Kind.CONTEXT: rule})


def prepared(content: str, reorder: bool, compressor: Backwards = Backwards(), floor: float = 0) -> Prepared:
    async def run() -> Prepared:
        pipeline = Pipeline(Compression(10_000, bypass_share=0), lambda _: compressor)
        body = json.dumps({"model": "gpt-4o", "messages": [user(content)]}).encode()
        try:
            it = policy(reorder)
            return await pipeline.prepare(body, lowered(it, floor) if floor else it)
        finally:
            pipeline.close()

    return asyncio.run(run())


def content(it: Prepared) -> str:
    return str(json.loads(it.body)["messages"][0]["content"])


TITLED = "\n\n".join(f"Document [{n}](Title: Town {n}) {p}" for n, p in enumerate(PASSAGES, 1))
ASKED = f"Context:\n{TITLED}\n\nQuestion: {QUESTION}"


def by_document(text: str) -> dict[str, str]:
    context = text.partition("Context:\n")[2].partition("\n\nQuestion:")[0]
    return {part[:12]: part.strip() for part in re.split(r"(?=Document \[)", context) if part}


def test_only_a_policy_that_says_so_lets_documents_move() -> None:
    plain, moved = prepared(ASKED, False), prepared(ASKED, True)
    assert plain.measured.outcome is moved.measured.outcome is Outcome.COMPRESSED
    before, after = by_document(content(plain)), by_document(content(moved))
    assert before == after, "each document keeps what it keeps without"
    assert list(after) == list(before)[::-1]
    assert content(moved).endswith(f"Question: {QUESTION}")
    assert content(moved).startswith("Context:\n")
    assert content(prepared(ASKED, True, floor=0.9)) != content(plain)


def test_passages_of_a_single_segment_stay() -> None:
    """Where nothing says that a document ends there is one, and nothing to move."""
    asked = f"Context:\n{' '.join(PASSAGES)}\n\nQuestion: {QUESTION}"
    assert content(prepared(asked, True)) == content(prepared(asked, False))


def test_a_compressor_with_a_wrong_order_fails_open() -> None:
    it = prepared(ASKED, True, Backwards((0, 0, 1, 2)))
    assert (it.measured.outcome, content(it)) == (Outcome.FAILED_OPEN, ASKED)
    assert prepared(ASKED, False, Backwards((0, 0, 1, 2))).measured.outcome is Outcome.COMPRESSED


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_lets_documents_move(name: str) -> None:
    assert not any(rule.reorder for rule in PRESETS[name].rules.values())
    assert not PRESETS[name].recover


def test_gone_and_moved_together_leave_the_kept_text_of_each_document() -> None:
    it = prepared(ASKED, True)
    assert it.shortened
    (kept,) = it.shortened.kept.values()
    gone = complement(kept, len(ASKED))
    for start, end in gone:
        assert "[" not in ASKED[start:end]
    assert sorted(content(it)) == sorted("".join(ASKED[a:b] for a, b in kept))
