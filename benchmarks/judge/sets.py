"""The sets: where their records come from, which of them are measured, and how many."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from judge import cases, needles
from judge.cases import Case, Record
from judge.methods import BLIND, NEEDLE, QUESTION, SENTENCE
from training.classifier_sources import pair_part
from training.records import part, part_of

HALVES = ("tune", "held", "all")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records: `half` of the split by document (see `training.records`), and at most how many a set; None: as
    many as the set's own limit says."""

    half: str = "held"
    limit: int | None = None
    titled: bool = True


@dataclass(frozen=True, slots=True)
class Set:
    """`file`: empty for what is made here. `limit`: records measured unless told otherwise; `read`: those of them that
    a reader is shown. `hops`: whether its questions need several documents."""

    kind: str
    file: str
    case: Callable[[Record], Case]
    part: Callable[[Record], str]
    limit: int
    read: int = 0
    hops: bool = False


def _of_id(record: Record) -> str:
    return part_of(record["id"])


def _of_pair(record: Record) -> str:
    return pair_part(record["text"])


_documents = partial(Set, QUESTION, case=cases.passages, part=part)
_needles = partial(Set, NEEDLE, "", part=_of_id, limit=40)

SETS = {
    "nq": _documents("qa_nq_multidoc", limit=300, read=80),
    "squad": _documents("qa_squad", limit=300, read=120),
    "hotpot": _documents("qa_hotpot", limit=250, read=80, hops=True),
    "2wiki": _documents("qa_2wiki", limit=250, hops=True),
    "musique": _documents("qa_musique", limit=300, hops=True),
    "xquad": _documents("qa_xquad_11langs", limit=220),
    "selqa": _documents("qa_selqa", limit=150),
    "jsquad": _documents("qa_ja_jsquad", limit=80),
    "cmrc": _documents("qa_zh_cmrc2018", limit=80),
    "drcd": _documents("qa_zh_drcd", limit=80),
    "needle": _needles(case=lambda record: needles.haystack(record["number"], multi=False)),
    "needles": _needles(case=lambda record: needles.haystack(record["number"], multi=True)),
    "qmsum": Set(BLIND, "dialogue_qmsum", cases.meeting, _of_id, limit=25),
    "sgd": Set(BLIND, "dialogue_sgd", cases.dialogue, _of_id, limit=200, read=60),
    "google": Set(SENTENCE, "compress_google", cases.pair, _of_pair, limit=600),
}


def load(folder: Path, name: str, wanted: Wanted) -> list[Case]:
    """The cases of a set, the same ones every time, spread over the file. Raises `OSError` where the file is not there.

    Needles belong to no document, and so to either half.
    """
    chosen = SETS[name]
    limit = chosen.limit if wanted.limit is None else wanted.limit
    if not chosen.file:
        return [chosen.case({"number": number}) for number in range(limit)]
    with gzip.open(path(folder, name), "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    found = [record for record in found if wanted.half in ("all", chosen.part(record))]
    found.sort(key=lambda record: zlib.crc32(b"order" + record["id"].encode()))
    make = chosen.case if chosen.kind != QUESTION else partial(cases.passages, titled=wanted.titled)
    return [make(record) for record in found[:limit]]


def path(folder: Path, name: str) -> Path:
    return folder / f"{SETS[name].file}.jsonl.gz"
