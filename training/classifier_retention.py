"""What of held texts is still there at a size, by kinds of words, for trained classifiers and for simple rankings.

    python -m training.classifier_retention --data DIR [--rates 0.5 0.33] [--every 8] [MODEL...]

Words are taken in the order of their score until the size is full, in tokens of o200k_base; all rows have the same
size and the same words to choose from (marks are not among them, which is why random keeps more than the rate). Kinds:
  values    of a task (dialogue_sgd: what was asked for, offered and settled)
  answers   of questions about a paragraph (qa_squad); words of an evidence turn that its answer has (dialogue_qmsum)
  evidence  all words of the turns that an answer rests on (dialogue_qmsum); `characters`: the same by length
  again     content words that come up again later in a chat (dialogue_mtbench101)
  numbers, names (a capital letter inside a sentence), negations
Rows: random; information (how rare a word is, as in Selective Context, but by words alone); the models.
"""

import argparse
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from compressors.checkpoint import open_checkpoint
from compressors.tokenizers import counter
from training.classifier_eval import scores, words
from training.classifier_sources import NEGATIONS, WORD, Floats, Labelled, is_content, joined, labelled, stem, stems
from training.records import HELD, TUNE, Record, part, part_of, read

Flags = NDArray[np.bool_]
Ranking = Callable[[Sequence[str]], list[Floats]]

_COUNTED = ("qa_squad", "dialogue_sgd", "dialogue_qmsum", "extract_scitldr")


@dataclass(frozen=True, slots=True)
class Held:
    """A text and, by kind, which of its words are of it."""

    text: str
    kinds: Mapping[str, Flags]


def held(folder: Path, every: int) -> dict[str, list[Held]]:
    """One text of so many of the held part of each set."""
    makers = {"sgd": tasks, "qmsum": meetings, "squad": paragraphs, "mtbench101": chats}
    return {name: [_with_kinds(*made) for made in make(folder, every)] for name, make in makers.items()}


Marked = tuple[str, dict[str, list[tuple[int, int]]]]


def tasks(folder: Path, every: int) -> Iterator[Marked]:
    for record in _some(folder / "dialogue_sgd.jsonl.gz", every):
        said = [m for m in record["messages"] if m["role"] != "tool" and m["content"]]
        text, starts = joined([m["content"] for m in said])
        pairs = zip(said, starts, strict=True)
        yield text, {"values": [(at + a, at + b) for m, at in pairs for a, b, *_ in m.get("spans") or ()]}


def meetings(folder: Path, every: int) -> Iterator[Marked]:
    for record in _some(folder / "dialogue_qmsum.jsonl.gz", every):
        turns = [m["content"] for m in record["messages"]]
        text, starts = joined(turns)
        evidence, answers = set(), set()
        for query in record["queries"]:
            wanted = stems(query["answer"])
            for turn in {i for a, b in query["evidence"] for i in range(a, min(b + 1, len(turns)))}:
                spans = [m.span() for m in WORD.finditer(text, starts[turn], starts[turn] + len(turns[turn]))]
                evidence |= set(spans)
                answers |= {(a, b) for a, b in spans if stem(text[a:b]) in wanted}
        yield text, {"evidence": sorted(evidence), "answers": sorted(answers)}


def paragraphs(folder: Path, every: int) -> Iterator[Marked]:
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for record in read(folder / "qa_squad.jsonl.gz"):
        text = next(d["text"] for d in record["documents"] if d["is_gold"])
        if part(record) == HELD and zlib.crc32(text.encode()) // 2 % every == 0:
            spans = [e for e in record["evidence"] if record["documents"][e["doc"]]["text"] == text]
            for answer, e in ((a, e) for a in record["answers"][:1] for e in spans):
                if (at := text.find(answer, e["start"], e["end"])) >= 0:
                    found[text].append((at, at + len(answer)))
    yield from ((text, {"answers": spans}) for text, spans in found.items())


def chats(folder: Path, every: int) -> Iterator[Marked]:
    for found in labelled(folder, "dialogue_mtbench101", HELD)[::every]:
        yield found.text, {"again": [(a, b) for a, b in words(found.text) if found.target[a] >= 0.89]}


def _some(path: Path, every: int) -> Iterator[Record]:
    for record in read(path):
        if part_of(record["id"]) == HELD and zlib.crc32(record["id"].encode()) // 2 % every == 0:
            yield record


def _with_kinds(text: str, marked: dict[str, list[tuple[int, int]]]) -> Held:
    places = words(text)
    kinds = {}
    for kind, spans in marked.items():
        inside = np.zeros(len(text) + 1, bool)
        for start, end in spans:
            inside[start:end] = True
        kinds[kind] = np.array([inside[start] for start, _ in places], bool)
    general = [_kind(text, start, text[start:end]) for start, end in places]
    return Held(text, kinds | {k: np.array([g == k for g in general]) for k in ("numbers", "names", "negations")})


def _kind(text: str, start: int, word: str) -> str:
    if any(c.isdigit() for c in word):
        return "numbers"
    if word.lower().replace("’", "'") in NEGATIONS:
        return "negations"
    inside = start > 1 and text[start - 1] == " " and text[start - 2] not in '.?!:"'
    return "names" if inside and word[0].isupper() and len(word) > 1 and is_content(word) else ""


def chosen(text: str, score: Floats, rate: float) -> Flags:
    """The best words that fit the size together."""
    count = counter("o200k_base").count
    places = words(text)
    costs = np.array([count(f" {text[start:end]}") for start, end in places])
    order = np.argsort(-score, kind="stable")
    found = np.zeros(len(places), bool)
    found[order[np.cumsum(costs[order]) <= rate * count(text)]] = True
    return found


def shares(texts: Sequence[Held], found: Sequence[Floats], rate: float) -> dict[str, float]:
    """By kind, how much of it is kept, over all texts together."""
    hits: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for one, score in zip(texts, found, strict=True):
        kept = chosen(one.text, score, rate)
        lengths = np.array([end - start for start, end in words(one.text)])
        for kind, flags in one.kinds.items():
            hits[kind] += int((kept & flags).sum())
            whole[kind] += int(flags.sum())
        if "evidence" in one.kinds:
            hits["characters"] += int(lengths[kept & one.kinds["evidence"]].sum())
            whole["characters"] += int(lengths[one.kinds["evidence"]].sum())
    return {kind: hits[kind] / total for kind, total in whole.items() if total}


def by_chance(texts: Sequence[str]) -> list[Floats]:
    return [np.random.default_rng(zlib.crc32(t.encode())).random(len(words(t))).astype(np.float32) for t in texts]


def by_information(folder: Path) -> Ranking:
    """How rare each word is among the words of the tune parts."""
    counts: Counter[str] = Counter()
    for name in _COUNTED:
        for found in labelled(folder, name, TUNE):
            counts.update(WORD.findall(found.text.lower()))
    total = sum(counts.values())

    def rank(texts: Sequence[str]) -> list[Floats]:
        return [
            np.array([-math.log((counts[t[a:b].lower()] + 0.5) / total) for a, b in words(t)], np.float32)
            for t in texts
        ]

    return rank


def by_model(folder: Path) -> Ranking:
    from transformers import BertForTokenClassification

    model = BertForTokenClassification.from_pretrained(folder).eval()
    tokenizer = open_checkpoint(str(folder)).tokenizer

    def rank(texts: Sequence[str]) -> list[Floats]:
        nothing = np.zeros(0, np.float32)
        return scores(model, tokenizer, [Labelled("", text, nothing, nothing) for text in texts])

    return rank


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 0.33])
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("models", type=Path, nargs="*")
    given = parser.parse_args()
    rankings = {"random": by_chance, "information": by_information(given.data)}
    rankings |= {path.name: by_model(path) for path in given.models}
    console = Console(width=150)
    for name, texts in held(given.data, given.every).items():
        rows = {title: rank([one.text for one in texts]) for title, rank in rankings.items()}
        made = {title: [shares(texts, found, rate) for rate in given.rates] for title, found in rows.items()}
        kinds = list(next(iter(made.values()))[0])
        table = Table(f"{name}, {len(texts)} texts", *[f"{kind}\n{rate:g}" for rate in given.rates for kind in kinds])
        for title, found in made.items():
            table.add_row(title, *[f"{share[kind]:.3f}" for share in found for kind in kinds])
        console.print(table)


if __name__ == "__main__":
    main()
