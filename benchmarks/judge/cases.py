"""A record as something to be compressed and judged: a task, what is asked about it, and what should stay."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from compressors import spans
from compressors.base import Rate, Span, Task

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a text. `answers` as the set has them; `found` those of them, folded, that the text holds where
    they count. `evidence`: merged spans."""

    question: str
    answers: tuple[str, ...]
    found: tuple[str, ...]
    evidence: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """`bodies`: where an answer counts (titles are not it). `gold`: where numbers, names and negations should stay.
    `position`: how far into the text the gold document stands, 0..1. `slots`, `pair`: values of a dialogue, and what a
    compression by people keeps."""

    id: str
    task: Task
    asked: tuple[Asked, ...]
    bodies: tuple[Span, ...]
    gold: tuple[Span, ...]
    position: float | None = None
    slots: tuple[Span, ...] = ()
    pair: tuple[Span, ...] = ()


def folded(text: str) -> str:
    """Lower case, without punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def passages(record: Record, titled: bool = True) -> Case:
    """A question and its documents: `[n] title`, a line break, the text, a blank line. Titles are protected."""
    parts: list[str] = []
    titles: list[Span] = []
    documents: list[Span] = []
    at = 0
    for number, document in enumerate(record["documents"], 1):
        title = f"[{number}] {document['title']}\n" if titled else ""
        body = f"{document['text']}\n\n"
        titles.append((at, at + len(title)))
        documents.append((at + len(title), at + len(title) + len(document["text"])))
        parts += [title, body]
        at += len(title) + len(body)
    starts = [start for start, _ in documents]
    evidence = spans.merge((starts[e["doc"]] + e["start"], starts[e["doc"]] + e["end"]) for e in record["evidence"])
    gold = [i for i, document in enumerate(record["documents"]) if document["is_gold"]]
    held = folded(" \n ".join(record["documents"][i]["text"] for i in gold))
    return Case(
        id=record["id"],
        task=Task("".join(parts), Rate(1), record["question"], tuple(titles), tuple(documents)),
        asked=(asked(record["question"], record["answers"], held, evidence),),
        bodies=tuple(documents),
        gold=evidence,
        position=gold[0] / (len(documents) - 1) if len(gold) == 1 and len(documents) > 1 else None,
    )


def asked(question: str, answers: Sequence[str], held: str, evidence: Iterable[Span] = ()) -> Asked:
    """`held`: the folded text in which an answer has to occur to be looked for."""
    found = tuple(a for a in map(folded, answers) if a and a in held)
    return Asked(question, tuple(answers), found, spans.merge(evidence))


def meeting(record: Record) -> Case:
    """A transcript without a question, and what is asked of it afterwards. Evidence are turns."""
    text, turns = _joined([m["content"] for m in record["messages"]])
    case = _blind(record["id"], text)
    held = folded(text)
    found = []
    for query in record["queries"]:
        evidence = [turn for a, b in query["evidence"] for turn in turns[a : b + 1]]
        if evidence:
            found.append(asked(query["query"], [query["answer"]], held, evidence))
    every = spans.merge(span for one in found for span in one.evidence)
    return Case(record["id"], case.task, tuple(found), case.bodies, every)


def dialogue(record: Record) -> Case:
    """A dialogue about a task without its tool calls; asked are the values that came up."""
    said = [m for m in record["messages"] if m["role"] != "tool" and m["content"]]
    text, turns = _joined([m["content"] for m in said])
    case = _blind(record["id"], text)
    slots = [
        (turn[0] + start, turn[0] + end)
        for message, turn in zip(said, turns, strict=True)
        for start, end, *_ in message.get("spans") or ()
    ]
    held = folded(text)
    queries = [one for q in record["queries"] if (one := asked(q["query"], q["answers"], held)).found]
    return Case(record["id"], case.task, tuple(queries[:4]), case.bodies, case.gold, slots=tuple(sorted(set(slots))))


def pair(record: Record) -> Case:
    """A sentence and its compression by people."""
    case = _blind(record["id"], record["text"])
    return Case(case.id, case.task, (), case.bodies, case.gold, pair=spans.merge(map(tuple, record["keep_spans"])))


def _blind(id: str, text: str) -> Case:
    whole = ((0, len(text)),)
    return Case(id, Task(text, Rate(1)), (), whole, whole)


def _joined(parts: Iterable[str]) -> tuple[str, list[Span]]:
    found: list[str] = []
    places: list[Span] = []
    at = 0
    for part in parts:
        places.append((at, at + len(part)))
        found.append(part)
        at += len(part) + 1
    return "\n".join(found), places
