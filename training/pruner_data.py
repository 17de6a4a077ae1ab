"""What the pruner is trained on: questions over several passages, and which sentences answer them.

Most sets that may be trained on have one sentence that answers, so a model trained on them forgets the questions
that need two. Four kinds are therefore made of those sets:
  bridge  "When was Warsaw founded?" becomes a question with the words that another passage has beside "Warsaw"
          instead of the name: that passage's sentence has to be found first
  pair    two questions in one, with the passages of both
  chain   words of a sentence in a passage that another passage names, and that other passage's title
  either  two titles: their opening sentences, and where these lead to
And one kind has its lexical scores taken away ("blind"): questions in other words than the text's.
"""

import random
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from compressors import spans
from compressors.base import Rate, Span, Task
from compressors.selection import layout
from training.records import TUNE, Record, part_of, read, trainable

FILES = {
    "nq": "qa_nq_multidoc",
    "squad": "qa_squad",
    "qed": "qa_qed",
    "selqa": "qa_selqa",
    "musique": "qa_musique",
}
_Item = TypeVar("_Item")
_WORD = re.compile(r"[\w'’-]+")
_LONGEST_NAME = 6  # words
_SHORTEST_NAME = 5  # letters
_FRAGMENT = 9  # words that stand for a name
_GOLD = 0.3  # of a unit's characters: less of it in the evidence is an edge


@dataclass(frozen=True, slots=True)
class Example:
    """A record as the compressor sees it. `gold`: the share of each unit that is evidence, 0..1. `document`: the title
    of the first passage with evidence."""

    task: Task
    units: tuple[Span, ...]
    gold: NDArray[np.float32]
    kind: str
    document: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Passages that may be trained on, by cleaned title, and where they name one another: name -> passage, offset."""

    passages: tuple[Record, ...]
    titles: Mapping[str, tuple[Record, ...]]
    mentions: Mapping[str, tuple[tuple[Record, int], ...]]


@dataclass(frozen=True, slots=True)
class Mix:
    """How many records of each kind, and how many passages each has."""

    nq: int = 250
    squad: int = 120
    qed: int = 60
    selqa: int = 80
    musique: int = 44
    bridge: int = 260
    pair: int = 130
    chain: int = 120
    either: int = 120
    blind: int = 40
    passages: tuple[int, int] = (4, 11)
    untitled: float = 0.15


def records(folder: Path) -> dict[str, list[Record]]:
    """The records of each set that may be trained on."""
    return {
        name: [t for record in read(folder / f"{file}.jsonl.gz") if (t := trainable(record)) and t["evidence"]]
        for name, file in FILES.items()
    }


def pool(sets: Mapping[str, Sequence[Record]]) -> Pool:
    found = {(d["title"], d["text"]): d for group in sets.values() for record in group for d in record["documents"]}
    passages = tuple(
        {"title": title, "text": text, "is_gold": False} for title, text in found if part_of(title) == TUNE
    )
    titles: dict[str, list[Record]] = {}
    for passage in passages:
        if _is_name(name := cleaned(passage["title"])):
            titles.setdefault(name, []).append(passage)
    mentions: dict[str, list[tuple[Record, int]]] = {}
    for passage in passages:
        for name, at in _named(passage["text"], titles):
            if name not in cleaned(passage["title"]):
                mentions.setdefault(name, []).append((passage, at))
    return Pool(passages, _frozen(titles), _frozen(mentions))


def mixed(sets: Mapping[str, Sequence[Record]], passages: Pool, mix: Mix, seed: int) -> Iterator[Example]:
    """The training examples, in an order that the seed decides."""
    rng = random.Random(seed)
    made: list[tuple[str, Record]] = []
    for name in FILES:
        group = rng.sample(list(sets[name]), min(getattr(mix, name), len(sets[name])))
        made += [(name, _filled(record, passages, mix, rng)) for record in group]
    everything = [record for name in ("nq", "squad", "qed", "selqa") for record in sets[name]]
    bridges = [found for record in everything if (found := bridge(record, passages, rng))]
    made += [("bridge", _filled(r, passages, mix, rng)) for r in rng.sample(bridges, min(mix.bridge, len(bridges)))]
    made += [("blind", _filled(record, passages, mix, rng)) for record in rng.choices(everything, k=mix.blind)]
    for _ in range(mix.pair):
        made.append(("pair", _filled(pair(*rng.sample(everything, 2)), passages, mix, rng)))
    made += [("chain", _filled(chain(passages, rng), passages, mix, rng)) for _ in range(mix.chain)]
    made += [("either", _filled(either(passages, rng), passages, mix, rng)) for _ in range(mix.either)]
    rng.shuffle(made)
    examples = (example(record, kind, titled=rng.random() >= mix.untitled) for kind, record in made)
    yield from (found for found in examples if found.gold.any() and len(found.units) > 1)


def example(record: Record, kind: str, titled: bool = True) -> Example:
    """One context: `[n] title`, a line break, the text, a blank line; titles protected, as the proxy protects them."""
    parts: list[str] = []
    titles: list[Span] = []
    documents: list[Span] = []
    at = 0
    for number, document in enumerate(record["documents"], 1):
        title = f"[{number}] {document['title']}\n" if titled else ""
        text = document["text"]
        titles.append((at, at + len(title)))
        documents.append((at + len(title), at + len(title) + len(text)))
        parts += [title, text, "\n\n"]
        at += len(title) + len(text) + 2
    task = Task("".join(parts), Rate(0.25), record["question"], tuple(titles), tuple(documents))
    units = layout(task).units
    starts = [start for start, _ in documents]
    evidence = spans.merge((starts[e["doc"]] + e["start"], starts[e["doc"]] + e["end"]) for e in record["evidence"])
    gold = [_share(spans.solid(task.text, unit) - unit[0], spans.within(evidence, *unit)) for unit in units]
    document = record["documents"][record["evidence"][0]["doc"]]["title"]
    return Example(task, units, np.array(gold, np.float32), kind, document)


def bridge(record: Record, passages: Pool, rng: random.Random) -> Record | None:
    """The record with its passage's name gone from the question, in words of a passage that says the name."""
    gold = next((d for d in record["documents"] if d["is_gold"]), record["documents"][0])
    name = cleaned(gold["title"])
    found = re.search(rf"\b{re.escape(name)}\b", record["question"], re.IGNORECASE) if _is_name(name) else None
    if not found or name not in passages.mentions:
        return None
    other, place = rng.choice(passages.mentions[name])
    start, end = next(unit for unit in spans.sentences(other["text"]) if unit[0] <= place < unit[1])
    around = [*_WORD.finditer(other["text"], start, end)]
    words = [m.group() for m in around if not place <= m.start() < place + len(name)]
    if len(words) < 4:
        return None
    here = sum(m.start() < place for m in around)
    first = max(0, min(here - rng.randrange(_FRAGMENT), len(words) - _FRAGMENT))
    clue = words[first : first + rng.randint(5, _FRAGMENT)]
    title = cleaned(other["title"])
    if rng.random() < 0.6 and title not in other["text"][start:end]:
        clue.append(title)
    question = f"{record['question'][: found.start()]}{' '.join(clue)}{record['question'][found.end() :]}"
    documents = [*record["documents"], {**other, "is_gold": True}]
    evidence = [*record["evidence"], {"doc": len(record["documents"]), "start": start, "end": end}]
    return {**record, "question": question, "documents": documents, "evidence": evidence}


def pair(one: Record, other: Record) -> Record:
    """Both questions in one."""
    first, second = one["question"].rstrip("?. "), other["question"]
    moved = [{**e, "doc": e["doc"] + len(one["documents"])} for e in other["evidence"]]
    return {
        **one,
        "question": f"{first} and {second[:1].lower()}{second[1:]}",
        "documents": [*one["documents"], *other["documents"]],
        "evidence": [*one["evidence"], *moved],
    }


def chain(passages: Pool, rng: random.Random) -> Record:
    """A question about what a passage with a title leads to: "Where was the director of Ugetsu born?"."""
    linked = sorted(passages.mentions)
    while True:
        name = rng.choice(linked)
        source, at = rng.choice(passages.mentions[name])
        here = next(unit for unit in spans.sentences(source["text"]) if unit[0] <= at < unit[1])
        before = [m.group() for m in _WORD.finditer(source["text"], here[0], at)][-3:]
        title = cleaned(source["title"])
        if not _is_name(title):
            continue
        target = rng.choice(passages.titles[name])
        there = _sentence(target, rng)
        asked = f"{rng.choice(_ASKED)} {' '.join(before[-rng.randint(1, 3) :])} {title} {_hint(target, there, rng)}?"
        return _synthetic(asked, [(source, here), (target, there)])


def either(passages: Pool, rng: random.Random) -> Record:
    """A question that compares two passages by their titles: "Which is older, Ugetsu or Rashomon?"."""
    places: list[tuple[Record, Span]] = []
    names = rng.sample(sorted(passages.titles), min(40, len(passages.titles)))
    chosen = []
    hint = ""
    for name in names:
        passage = rng.choice(passages.titles[name])
        opening = spans.sentences(passage["text"])[0]
        if name not in passage["text"][: opening[1]]:
            continue
        chosen.append(name)
        places.append((passage, opening))
        led = [n for n, at in _named(passage["text"], passages.titles) if at < opening[1] and n not in name]
        if led and rng.random() < 0.7:
            target = rng.choice(passages.titles[rng.choice(led)])
            places.append((target, spans.sentences(target["text"])[0]))
        hint = hint or _hint(places[-1][0], places[-1][1], rng)
        if len(chosen) == 2:
            break
    ask = rng.choice(("Which {h}, {a} or {b}?", "Are {a} and {b} both {h}?", "Do {a} and {b} have the same {h}?"))
    return _synthetic(ask.format(h=hint, a=chosen[0], b=chosen[-1]), places)


_ASKED = ("What is the", "Who is the", "When was the", "Where was the", "Which", "In what year did the", "What")


def _sentence(passage: Record, rng: random.Random) -> Span:
    """Of a passage, more often the first one."""
    found = spans.sentences(passage["text"])
    return found[0] if rng.random() < 0.5 else rng.choice(found)


def _hint(passage: Record, unit: Span, rng: random.Random) -> str:
    """A few of a sentence's plain words, in its order."""
    words = [m.group() for m in _WORD.finditer(passage["text"], *unit)]
    plain = [i for i, word in enumerate(words) if word.islower() and len(word) > 3]
    return " ".join(words[i] for i in sorted(rng.sample(plain, min(len(plain), rng.randint(1, 3)))))


def _synthetic(question: str, places: Sequence[tuple[Record, Span]]) -> Record:
    documents: list[Record] = []
    evidence = []
    for passage, (start, end) in places:
        if passage not in documents:
            documents.append({**passage, "is_gold": False})
        evidence.append({"doc": documents.index({**passage, "is_gold": False}), "start": start, "end": end})
    return {"id": "", "question": question, "documents": documents, "evidence": evidence}


def _frozen(found: Mapping[str, Sequence[_Item]]) -> dict[str, tuple[_Item, ...]]:
    return {name: tuple(items) for name, items in found.items()}


def cleaned(title: str) -> str:
    """Without underscores and what stands in brackets."""
    return re.sub(r"\s*\([^()]*\)", "", title.replace("_", " ")).strip()


def _is_name(name: str) -> bool:
    return len(name) >= _SHORTEST_NAME and name[0].isupper()


def _named(text: str, names: Container[str]) -> Iterator[tuple[str, int]]:
    words = [match.span() for match in _WORD.finditer(text)]
    for i, (start, _) in enumerate(words):
        if text[start].isupper():
            for _, end in words[i : i + _LONGEST_NAME]:
                if (name := text[start:end]) in names:
                    yield name, start


def _filled(record: Record, passages: Pool, mix: Mix, rng: random.Random) -> Record:
    """With some of its passages, and others up to the number drawn; evidence always stays."""
    wanted = rng.randint(*mix.passages)
    needed = {e["doc"] for e in record["evidence"]}
    own = [i for i in range(len(record["documents"])) if i not in needed]
    own = rng.sample(own, min(len(own), max(0, wanted - len(needed) - rng.randint(0, wanted // 2))))
    kept = [*needed, *own]
    titles = {record["documents"][i]["title"] for i in kept}
    others = [
        p
        for p in rng.sample(passages.passages, min(len(passages.passages), max(0, wanted - len(kept))))
        if p["title"] not in titles
    ]
    documents = [*((i, record["documents"][i]) for i in kept), *((-1, p) for p in others)]
    rng.shuffle(documents)
    places = {old: new for new, (old, _) in enumerate(documents)}
    evidence = [{**e, "doc": places[e["doc"]]} for e in record["evidence"]]
    return {**record, "documents": [d for _, d in documents], "evidence": evidence}


def _share(size: int, held: Sequence[Span]) -> float:
    share = sum(end - start for start, end in held) / max(1, size)
    return min(1.0, share) if share > _GOLD else 0.0
