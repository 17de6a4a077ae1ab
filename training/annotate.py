"""Step 2: marks in each text the words that its short form kept.

    python -m training.annotate DISTILLED.jsonl ANNOTATED.jsonl

Reads what `training.distil` wrote, or any lines with {"id", "text", "compressed"}. Each line of the output has
{"id", "document", "text", "compressed", "keep_spans": [[start, end]], "rate"} and the rates by which
`training.quality` tells good examples from bad ones. Lines without a short form are left out.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from compressors.base import Span
from training import jsonl
from training.align import WINDOW, align, folded, words


@dataclass(frozen=True, slots=True)
class Annotation:
    """`keep_spans` are characters of the text, ordered and apart, from a kept word's first to the last of the last one
    that follows it directly. The rates are those of LLMLingua-2 (Pan et al., arXiv 2403.12968, section 4.3)."""

    keep_spans: tuple[Span, ...]
    variation_rate: float
    """Share of the short form's words that the text does not have; 1 if there are none."""
    hitting_rate: float
    """The short form's words that the text has, for each word of the text."""
    matching_rate: float
    """Share of the text's words that are marked."""

    @property
    def alignment_gap(self) -> float:
        """Words that were taken from the text and could not be marked in it, for each word of the text."""
        return self.hitting_rate - self.matching_rate


def annotate(text: str, compressed: str, window: int = WINDOW) -> Annotation:
    """Aligns a text and its short form. Words are compared without regard to case, see `align.folded`."""
    spans = words(text)
    own = [folded(text[start:end]) for start, end in spans]
    short = [folded(compressed[start:end]) for start, end in words(compressed)]
    kept = sorted(place for place in align(own, short, window) if place >= 0)
    has = set(own)
    hits = sum(word in has for word in short)
    total = max(len(own), 1)
    variation = 1 - hits / len(short) if short else 1.0
    return Annotation(tuple(_runs(spans, kept)), variation, hits / total, len(kept) / total)


def _runs(spans: Sequence[Span], kept: Iterable[int]) -> list[Span]:
    runs: list[Span] = []
    last = -2
    for place in kept:
        start, end = spans[place]
        runs[-1:] = [(runs[-1][0], end)] if place == last + 1 else [*runs[-1:], (start, end)]
        last = place
    return runs


def annotated(record: jsonl.Record, where: str, window: int = WINDOW) -> jsonl.Record | None:
    """The line for a line. None where there is no short form. Raises `jsonl.BadFile`."""
    if "failed" in record or "problem" in record:
        return None
    text = jsonl.need(record, "text", str, where)
    compressed = jsonl.need(record, "compressed", str, where)
    found = annotate(text, compressed, window)
    name = jsonl.name(record, where)
    line: dict[str, Any] = {"id": name, "document": record.get("document", name), "text": text}
    line |= {"compressed": compressed, "keep_spans": found.keep_spans, "rate": round(found.matching_rate, 4)}
    for rate in ("variation_rate", "hitting_rate", "matching_rate", "alignment_gap"):
        line[rate] = round(getattr(found, rate), 6)
    return line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.annotate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("source", type=Path, help="what training.distil wrote")
    parser.add_argument("target", type=Path, help="is written anew")
    parser.add_argument(
        "--window", type=int, default=WINDOW, help="words on either side in which one that moved is looked for"
    )
    given = parser.parse_args(arguments)
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False)
    try:
        total, kept = _annotate_all(given, console)
    except (jsonl.BadFile, OSError) as error:
        console.print(f"annotate: {error}")
        return 1
    console.print(f"{kept} examples in {given.target}; {total - kept} lines had no short form")
    return 0


def _annotate_all(given: argparse.Namespace, console: Console) -> tuple[int, int]:
    total = kept = 0
    with jsonl.rewrite(given.target) as out:
        lines = jsonl.read(given.source)
        for number, record in track(lines, "annotating", console=console, disable=not console.is_terminal):
            total += 1
            line = annotated(record, f"{given.source}:{number}", given.window)
            if line is not None:
                kept += 1
                out.write(jsonl.line(line))
    return total, kept


if __name__ == "__main__":
    sys.exit(main())
