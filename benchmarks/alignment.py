"""How well `training.annotate` finds out what a short form kept, beside the word-by-word window of the paper.

    python benchmarks/alignment.py --data DIR [--limit 2000]

DIR holds `compress_google.jsonl.gz`, `compress_zh_ncscm.jsonl.gz` (pairs with labels) and `dialogue_qmsum.jsonl.gz`,
`qa_squad.jsonl.gz`. From texts of the last two, short forms are made whose labels are known: words go in stretches;
then 8 % of the others get another form, four stretches of up to six words are moved, and one word is added for each 25.
Columns: F1 of the words marked, and texts marked without one error. All choices are drawn from a fixed seed.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training import jsonl
from training.align import WINDOW, align, folded, is_form, words

Aligner = Callable[[Sequence[str], Sequence[str]], list[int]]
CHANGES = ("none", "forms", "moves", "additions", "all")
ADDED = ("the", "and", "is", ",", ".", "it", "also", "because", "discussed")
LONG = 380  # words


@dataclass(frozen=True, slots=True)
class Case:
    text: list[str]
    short: list[str]
    kept: frozenset[int]


def window(text: Sequence[str], short: Sequence[str]) -> list[int]:
    """Algorithm 1 of LLMLingua-2 (arXiv 2403.12968): each word gets the free match nearest to the last."""
    free = [True] * len(text)
    places, last = [], 0
    for word in short:
        near = (place for i in range(WINDOW // 2 + 1) for place in (last + i, last - i) if 0 <= place < len(text))
        fits = (p for p in near if free[p] and (text[p] == word or is_form(word, text[p])))
        place = next(fits, -1)
        if place >= 0:
            free[place] = False
            last = place
        places.append(place)
    return places


def labelled(path: Path, limit: int) -> Iterator[Case]:
    for _, record in islice(jsonl.read(path), limit):
        spans = words(record["text"])
        kept = {i for i, (a, b) in enumerate(spans) if any(c <= a and b <= d for c, d in record["keep_spans"])}
        yield Case(_folded(record["text"]), _folded(record["compressed"]), frozenset(kept))


def made(texts: Sequence[str], change: str) -> Iterator[Case]:
    draw = random.Random(5)
    for text in texts:
        own = _folded(text)
        share, stays, keep = draw.uniform(0.25, 0.6), True, []
        for place in range(len(own)):
            stays = draw.random() < share if draw.random() < 0.35 else stays
            keep += [place] * stays
        short = [own[place] for place in keep]
        if change in ("forms", "all"):
            short = [_form(word, draw) if draw.random() < 0.08 else word for word in short]
        for _ in range(4 if change in ("moves", "all") and len(short) > 30 else 0):
            start = draw.randrange(len(short) - 8)
            part = [short.pop(start) for _ in range(draw.randrange(1, 7))]
            to = max(0, min(len(short), start + draw.randrange(-25, 25)))
            short[to:to] = part
        for _ in range(len(short) // 25 if change in ("additions", "all") else 0):
            short.insert(draw.randrange(len(short)), draw.choice(ADDED))
        yield Case(own, short, frozenset(keep))


def _form(word: str, draw: random.Random) -> str:
    forms = [word + "s", word[:-1], word[:-2] + "ing", word[:-1] + "ed"]
    return draw.choice(forms) if word.isalpha() and word.isascii() and len(word) > 4 else word


def _folded(text: str) -> list[str]:
    return [folded(text[start:end]) for start, end in words(text)]


def score(cases: Sequence[Case], aligner: Aligner) -> tuple[float, float]:
    """F1 of the words marked, and the share of texts without an error."""
    both = marked = kept = right = 0
    for case in cases:
        found = {place for place in aligner(case.text, case.short) if place >= 0}
        both, marked, kept = both + len(found & case.kept), marked + len(found), kept + len(case.kept)
        right += found == case.kept
    return 2 * both / (marked + kept), right / len(cases)


def stretches(data: Path) -> dict[str, list[str]]:
    """Texts of about the size of a chunk, of speech and of an encyclopaedia."""
    meetings = (r for _, r in islice(jsonl.read(data / "dialogue_qmsum.jsonl.gz"), 50))
    speech = [" ".join(" ".join(m["content"] for m in r["messages"]).split()[200 : 200 + LONG]) for r in meetings]
    records = islice(jsonl.read(data / "qa_squad.jsonl.gz"), 0, None, 180)
    prose = [" ".join(" ".join(d["text"] for d in r["documents"]).split()[:LONG]) for _, r in records]
    return {"meetings": speech, "encyclopaedia": prose}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets")
    parser.add_argument("--limit", type=int, default=None, help="pairs a set")
    given = parser.parse_args()
    shown = Table("texts", "changes", "number", "window: F1", "exact", "ours: F1", "exact")
    sets = {
        (name, "as they are"): list(labelled(given.data / f"{name}.jsonl.gz", given.limit))
        for name in ("compress_google", "compress_zh_ncscm")
    }
    for name, texts in stretches(given.data).items():
        sets |= {(name, change): list(made(texts, change)) for change in CHANGES}
    for (name, change), cases in sets.items():
        numbers = [f"{value:.4f}" for aligner in (window, align) for value in score(cases, aligner)]
        shown.add_row(name, change, str(len(cases)), *numbers)
    Console(width=120).print(shown)


if __name__ == "__main__":
    main()
