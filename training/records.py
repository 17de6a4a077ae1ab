"""Question-answering records, and which of them may be trained on.

Records are split by document: a title decides, in every set alike, so that no text that is measured was trained on,
in whatever set, translation or paragraph it comes again. `benchmarks/quality.py` measures on the held part.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Record = dict[str, Any]
TUNE, HELD = "tune", "held"


def part_of(title: str) -> str:
    """`TUNE` or `HELD`, the same for every paragraph of a document."""
    return (TUNE, HELD)[zlib.crc32(title.strip().lower().encode()) % 2]


def part(record: Mapping[str, Any]) -> str:
    """That of the first document with evidence; of the first one, where none is marked."""
    documents = record["documents"]
    gold = next((d for d in documents if d["is_gold"]), documents[0])
    return part_of(gold["title"])


def trainable(record: Record) -> Record | None:
    """The record with no document but those that may be trained on, or None: a distractor may be what another record
    is measured on. Evidence is renumbered."""
    if part(record) != TUNE:
        return None
    kept = [i for i, d in enumerate(record["documents"]) if part_of(d["title"]) == TUNE]
    places = {old: new for new, old in enumerate(kept)}
    if any(e["doc"] not in places for e in record["evidence"]):
        return None
    evidence = [{**e, "doc": places[e["doc"]]} for e in record["evidence"]]
    return {**record, "documents": [record["documents"][i] for i in kept], "evidence": evidence}


def read(path: Path) -> list[Record]:
    """All records of a `.jsonl.gz` file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
