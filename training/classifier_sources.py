"""What of a text is worth keeping when the question is not known: labelled texts from sets of several kinds.

A pair of a sentence and its compression says it of every word. Other sets say it of some: what somebody asked about a
passage and was answered, what a summary took from a meeting, what a task needed from a dialogue, what came up again
later in a chat. Words that nobody asked about may matter all the same, so these labels are soft, weigh less, and the
model is given a bias a source while it learns (see `training.classifier`): only the order within a text counts.

Splits are by document: `part` of `training.records` for passages and dialogues, the first words of a sentence for
pairs, where the same news comes more than once.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.records import HELD, TUNE, Record, part_of, read, trainable

Floats = NDArray[np.float32]


def _list(words: str) -> frozenset[str]:
    return frozenset(words.split())


WORD = re.compile(r"\w+(?:[.,:'’/-]\w+)*")
NEGATIONS = _list(
    "no not never none nor neither nobody nothing nowhere without cannot can't don't doesn't didn't won't isn't aren't"
    " wasn't weren't shouldn't wouldn't couldn't haven't hasn't hadn't"
)
_STOP = _list(
    "a about after again all also am an and any are as at be because been before being but by can could did do does"
    " doing done down each either else even every few for from further get gets getting go goes going gonna good got"
    " had has have having he hello her here hers hi him his how i if in into is it its just kind know let like lot make"
    " many maybe me mean might more most much must my of off oh ok okay on one only or other our out over own please"
    " put really right said same say see shall she should so some sort still such sure than thank thanks that the their"
    " them then there these they thing things think this those though through to too try two uh um under up us use very"
    " want was way we well were what when where whether which while who whom whose why will with would yeah yep yes you"
    " your i'm it's that's i'll i'd you're we're they're there's let's i've we've mm hmm mhm huh ah actually"
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with, for every character, how much it should stay (0 to 1) and how much that label counts."""

    key: str
    text: str
    target: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Source:
    """A set of labelled texts: its file, how it is read, how it is split, and how often an epoch shows each text."""

    file: str
    read: Callable[[Iterable[Record], str], Iterator[Labelled]]
    share: float = 1.0
    passes: float = 1.0


def pair_part(text: str) -> str:
    """That of a sentence with its compression: `HELD` for a fifth, by its first words, so that the near-duplicates of
    a news item are on one side."""
    start = " ".join(WORD.findall(text.lower())[:4])
    return HELD if zlib.crc32(start.encode()) % 5 == 0 else TUNE


def pairs(records: Iterable[Record], part: str) -> Iterator[Labelled]:
    """Texts with `keep_spans`: `compress_*`, and what `training.annotate` writes, where parts of a document share its
    fate."""
    for record in records:
        if pair_part(str(record.get("document") or record["text"])) == part:
            target = np.zeros(len(record["text"]), np.float32)
            for start, end in record["keep_spans"]:
                target[start:end] = 1
            yield Labelled(str(record["id"]), record["text"], target, np.ones(len(target), np.float32))


def passages(records: Iterable[Record], part: str) -> Iterator[Labelled]:
    """Paragraphs with all that was asked of them: answers, and what the question shares with the evidence."""
    asked: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        found = trainable(record) if part == TUNE else record
        gold = next((d for d in found["documents"] if d["is_gold"]), None) if found else None
        if gold and part_of(gold["title"]) == part:
            asked[gold["title"], gold["text"]].append(record)
    for (title, text), questions in asked.items():
        target, weight = blank(text, 0.6 if len(questions) > 2 else 0.25)
        for record in questions:
            _ask(text, record, target, weight)
        yield Labelled(title, text, *insisted(text, target, weight))


def _ask(text: str, record: Record, target: Floats, weight: Floats) -> None:
    wanted = stems(record["question"])
    spans = [
        (e["start"], e["end"])
        for e in record["evidence"]
        if record["documents"][e["doc"]]["text"] == text and e["end"] > e["start"]
    ]
    whole = record["source"] == "selqa"  # answers of selqa are whole sentences
    for start, end in spans:
        for word in WORD.finditer(text, start, end):
            if stem(word.group()) in wanted:
                _raise(word.span(), 0.7, target, weight)
            elif whole and is_content(word.group()):
                _raise(word.span(), 0.5, target, weight)
    if whole:
        return
    answers = [a for a in record["answers"] if a]
    for answer in answers:
        places = [m.span() for m in re.finditer(re.escape(answer), text, re.IGNORECASE)]
        inside = [p for p in places if any(a <= p[0] < b for a, b in spans)] or places[:1]
        for place in inside:
            for word in WORD.finditer(text, *place):
                _raise(word.span(), 1.0 if is_content(word.group()) else 0.7, target, weight)


def tasks(records: Iterable[Record], part: str) -> Iterator[Labelled]:
    """Dialogues about a task: the values that it needed, and what is asked about them afterwards."""
    for record in records:
        if part_of(record["id"]) != part:
            continue
        said = [m for m in record["messages"] if m["role"] != "tool" and m["content"]]
        text, starts = joined([m["content"] for m in said])
        target, weight = blank(text, 1.0)
        for message, at in zip(said, starts, strict=True):
            for start, end, *_ in message.get("spans") or ():
                _raise((at + start, at + end), 1.0, target, weight)
        for answer in {a for query in record["queries"] for a in query["answers"] if a}:
            for match in re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE):
                _raise(match.span(), 1.0, target, weight)
        for word in WORD.finditer(text):
            if is_content(word.group()):
                _raise(word.span(), 0.25, target, weight)
        yield Labelled(record["id"], text, *insisted(text, target, weight))


def meetings(records: Iterable[Record], part: str) -> Iterator[Labelled]:
    """Meetings: what answers and summaries took from the turns that they rest on, aligned word by word."""
    for record in records:
        if part_of(record["id"]) != part:
            continue
        turns = [m["content"] for m in record["messages"]]
        text, starts = joined(turns)
        target, weight = blank(text, 0.7)
        general = set().union(*(stems(q["answer"]) for q in record["general_queries"]), set())
        wanted: list[set[str]] = [set() for _ in turns]
        for query in record["queries"]:
            found = stems(query["answer"]) | stems(query["query"])
            for first, last in query["evidence"]:
                for turn in range(first, min(last + 1, len(turns))):
                    wanted[turn] |= found
        for turn, (start, content) in enumerate(zip(starts, turns, strict=True)):
            for word in WORD.finditer(text, start, start + len(content)):
                shape = stem(word.group())
                if shape in wanted[turn]:
                    _raise(word.span(), 1.0, target, weight)
                elif is_content(word.group()) and (wanted[turn] or shape in general):
                    _raise(word.span(), 0.45, target, weight)
                elif wanted[turn]:
                    _raise(word.span(), 0.2, target, weight)
        yield Labelled(record["id"], text, *insisted(text, target, weight))


def abstracts(records: Iterable[Record], part: str) -> Iterator[Labelled]:
    """Abstracts and the sentence that stands for them, with the words that a summary of one sentence took."""
    for record in records:
        if part_of(record["id"]) != part:
            continue
        text, starts = joined(record["sentences"], " ")
        target, weight = blank(text, 0.7)
        wanted = set().union(*map(stems, record["summaries"]))
        for start, sentence, chosen in zip(starts, record["sentences"], record["labels"], strict=True):
            for word in WORD.finditer(text, start, start + len(sentence)):
                if stem(word.group()) in wanted:
                    _raise(word.span(), 1.0, target, weight)
                elif chosen and is_content(word.group()):
                    _raise(word.span(), 0.5, target, weight)
        yield Labelled(record["id"], text, *insisted(text, target, weight))


def chats(records: Iterable[Record], part: str) -> Iterator[Labelled]:
    """Chats: words that come up again in what the other side says later. The last message has nothing after it."""
    for record in records:
        said = [m["content"] for m in record["messages"]]
        if part_of(record["id"]) != part or len(said) < 2:
            continue
        text, starts = joined(said[:-1])
        target, weight = blank(text, 0.5)
        for turn, start in enumerate(starts):
            later = set().union(*map(stems, said[turn + 1 :]))
            for word in WORD.finditer(text, start, start + len(said[turn])):
                if stem(word.group()) in later:
                    _raise(word.span(), 0.9, target, weight)
                elif is_content(word.group()):
                    _raise(word.span(), 0.3, target, weight)
        yield Labelled(record["id"], text, *insisted(text, target, weight))


SOURCES = {
    "compress_google": Source("compress_google", pairs, passes=1.0),
    "qa_squad": Source("qa_squad", passages),
    "qa_nq_multidoc": Source("qa_nq_multidoc", passages),
    "qa_selqa": Source("qa_selqa", passages),
    "qa_qed": Source("qa_qed", passages),
    "dialogue_sgd": Source("dialogue_sgd", tasks),
    "dialogue_qmsum": Source("dialogue_qmsum", meetings),
    "dialogue_mtbench101": Source("dialogue_mtbench101", chats),
    "extract_scitldr": Source("extract_scitldr", abstracts),
}


def labelled(folder: Path, name: str, part: str) -> list[Labelled]:
    """The texts of one part of a set of `SOURCES`, in the order of its file. Raises `FileNotFoundError`."""
    source = SOURCES[name]
    return list(source.read(read(folder / f"{source.file}.jsonl.gz"), part))


def blank(text: str, weight: float) -> tuple[Floats, Floats]:
    """Labels by which no word is kept. Marks and spaces have none: whole sentences are compressed elsewhere."""
    target, weights = np.zeros(len(text), np.float32), np.zeros(len(text), np.float32)
    for word in WORD.finditer(text):
        weights[word.start() : word.end()] = weight
    return target, weights


def insisted(text: str, target: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The same labels, but numbers and negations are kept: to lose one turns what is said into something else."""
    for word in WORD.finditer(text):
        found = word.group().lower().replace("’", "'")
        if found in NEGATIONS or any(c.isdigit() for c in found):
            target[word.start() : word.end()] = np.maximum(target[word.start() : word.end()], 0.9)
    return target, weight


def joined(parts: Iterable[str], mark: str = "\n") -> tuple[str, list[int]]:
    """Parts as one text, and where each starts."""
    starts: list[int] = []
    at = 0
    found = list(parts)
    for part in found:
        starts.append(at)
        at += len(part) + len(mark)
    return mark.join(found), starts


def stems(text: str) -> set[str]:
    """What its content words are compared by."""
    return {stem(word) for word in WORD.findall(text) if is_content(word)}


def stem(word: str) -> str:
    """The first letters of a longer word, so that "training" is "trained"; short ones and numbers as they are.
    Nothing for words that carry no content."""
    found = word.lower().replace("’", "'").removesuffix("'s")
    if found in _STOP:
        return ""
    return found[:5] if found.isalpha() and len(found) > 5 else found


def is_content(word: str) -> bool:
    found = word.lower().replace("’", "'")
    return found not in _STOP and (len(found) > 1 or found.isdigit())


def _raise(span: tuple[int, int], target: float, targets: Floats, weights: Floats) -> None:
    """A label is never lowered by another; what is labelled counts in full."""
    part = slice(*span)
    targets[part] = np.maximum(targets[part], target)
    if target >= 0.5:
        weights[part] = 1.0
