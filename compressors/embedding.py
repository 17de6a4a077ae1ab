"""Passages and questions as vectors, one a piece, from an encoder that reads each by itself.

A passage does not depend on the question: its vectors are kept, by a digest that nobody outside can make, for as long
as there is room, and only for the caller who brought it, so that no caller can tell by the time what another has sent.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from compressors import cancel
from compressors.base import Cancelled, Span
from compressors.checkpoint import Checkpoint, open_checkpoint
from compressors.device import RowModel, device
from compressors.encoders.engine import engine
from compressors.features import WINDOW, Window, heading, windows
from compressors.lexical import Passage

PORTION = 4096
"""Pieces that are handed to the device before the time is looked at again."""
_WARM = 1024  # pieces; a first measure of the speed
_LETTERS = 5.0  # of a text to a piece; English has 4.2
_USUAL = 0.8  # of the best speed ever measured, what is counted on before a call has one of its own
_OVERHEAD = 500  # bytes that an entry takes besides its numbers

Ints = NDArray[np.intp]
Halves = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A task as an encoder sees it. `question`: a vector for each of its pieces, without special tokens. `vectors`: one
    for each piece of all passages' rows, special tokens and headings included; `owners`: the unit that each lies in, -1
    for none; `passages`: the passage that each was read with."""

    question: NDArray[np.float32]
    vectors: Halves
    owners: Ints
    passages: Ints


@dataclass(frozen=True, slots=True)
class Text:
    """What is to be embedded: a text, its units, these by passage, and a question."""

    text: str
    units: Sequence[Span]
    passages: Sequence[Passage]
    question: str


@dataclass(frozen=True, slots=True)
class _Read:
    """A passage: its pieces row after row, and their units, counted from its first; the vectors once they are known."""

    rows: tuple[list[int], ...]
    owners: Ints
    vectors: Halves | None = None


class Embedder:
    """An encoder on one device, with what it has read. Loaded with the first row. Safe in any thread."""

    def __init__(self, checkpoint: Checkpoint, place: str, precision: str, room: int) -> None:
        self.checkpoint = checkpoint
        self.device = device(place)
        self._model: RowModel[Any]
        self._model, self.engine = engine(checkpoint, self.device.name, precision, head=False)
        self._kept = _Room(room)
        self._around = checkpoint.tokenizer.encode("").ids
        self.speed = 0.0
        """Pieces a second, as measured when it was warmed up; 0 before."""

    @property
    def version(self) -> str:
        """The checkpoint's, and what computes it."""
        return f"{self.checkpoint.version} {self.engine}"

    def warm_up(self) -> None:
        """Loads the model, and measures it. The better of two: the first run makes room for what is computed."""
        length = WINDOW // 2
        rows = [[*self._around, *range(length - len(self._around))]] * (_WARM // length)
        for _ in range(2):
            before = perf_counter()
            self._run(rows)
            self.speed = max(self.speed, _WARM / (perf_counter() - before))

    def read(self, text: Text) -> "Reading":
        """A text with what is known of it already."""
        keys = [self._key(text, passage) for passage in text.passages]
        return Reading(text, keys, [self._kept.get(key) for key in keys])

    def _cut(self, reading: "Reading") -> list[int]:
        """Cuts what is not known into rows. Gives the row of the question."""
        text, tokenizer = reading.text, self.checkpoint.tokenizer
        rows: dict[int, list[Window]] = {n: [] for n in reading.missing}
        unread = [text.passages[n] for n in reading.missing]
        for window in windows(text.text, text.units, unread, tokenizer) if unread else ():
            rows[reading.missing[window.passage]].append(window)
        for n in reading.missing:
            reading.passages[n] = _read(rows[n], text.passages[n].first)
        question = tokenizer.encode(text.question, add_special_tokens=False).ids[: WINDOW - 2]
        return [self._around[0], *question, self._around[1]]

    def _key(self, text: Text, passage: Passage) -> bytes:
        units = text.units[passage.first : passage.last]
        start = units[0][0]
        starts = np.array([unit[0] - start for unit in units], np.int64)
        return self._kept.key(heading(passage).encode(), text.text[start : units[-1][1]].encode(), starts.tobytes())

    def embed(self, texts: Sequence[Text], until: float = inf) -> list[Embedded | None]:
        """The texts' vectors, in order; None for those that there is no time for. `until`: when reading has to end, by
        `time.monotonic`; what has been read by then is kept."""
        pace = _Pace(self.speed, until)
        done = [self._embed(self.read(text), pace) for text in texts]
        self.speed = max(self.speed, pace.speed if pace.read >= _WARM else 0)
        return done

    def _embed(self, reading: "Reading", pace: "_Pace") -> Embedded | None:
        if not pace.allows(reading.least):
            return None
        asked = self._cut(reading)
        left = len(asked) + sum(_cost(reading.read(n)) for n in reading.missing)
        question: NDArray[np.float32] | None = None
        for portion in _portions([reading.read(n) for n in reading.missing]) or [[]]:
            chosen = [reading.missing[i] for i in portion]
            first = [asked] if question is None else []
            rows = [*first, *(row for n in chosen for row in reading.read(n).rows)]
            made = self._run_until(rows, pace) if pace.allows(left) else None
            if made is None:
                return None
            vectors = iter(made)
            question = next(vectors) if question is None else question
            for n in chosen:
                read = reading.read(n)
                together = np.concatenate([next(vectors) for _ in read.rows]) if read.rows else question[:0]
                reading.passages[n] = _Read(read.rows, read.owners, together.astype(np.float16))
                self._kept.put(reading.keys[n], reading.read(n))
            left -= sum(map(len, rows))
        assert question is not None
        return reading.embedded(question[1:-1])

    def _run_until(self, rows: Sequence[list[int]], pace: "_Pace") -> list[NDArray[np.float32]] | None:
        """None where others' work takes until the end. Raises `Cancelled` where nobody waits any more."""
        alive = cancel.watcher()
        try:
            with cancel.watched(lambda: alive() and not pace.ended(), whose=cancel.whose()):
                made = self._run(rows)
        except Cancelled:
            cancel.check()
            return None
        pace.read += sum(map(len, rows))
        return made

    def _run(self, rows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
        return self.device.rows(self._model, rows, [len(row) for row in rows])


class _Pace:
    """Whether there is time for more, by the speed of this call once it has read something. Mutable."""

    def __init__(self, speed: float, until: float) -> None:
        self._expected = speed * _USUAL or inf
        self._began = monotonic()
        self._until = until
        self.read = 0

    @property
    def speed(self) -> float:
        """Pieces a second."""
        return self.read / max(1e-6, monotonic() - self._began) if self.read else self._expected

    def ended(self) -> bool:
        return monotonic() >= self._until

    def allows(self, pieces: float) -> bool:
        return not self.ended() and pieces <= (self._until - monotonic()) * self.speed


class Reading:
    """A text and what is known of its passages. Mutable: they are cut into rows, then get their vectors."""

    def __init__(self, text: Text, keys: list[bytes], passages: "list[_Read | None]") -> None:
        self.text, self.keys, self.passages = text, keys, passages
        self.missing = [n for n, read in enumerate(passages) if read is None]

    def read(self, n: int) -> _Read:
        """A passage that has been cut."""
        found = self.passages[n]
        assert found is not None
        return found

    @property
    def least(self) -> float:
        """About how many pieces have to be read, before they are counted; rather too few."""
        units, passages = self.text.units, (self.text.passages[n] for n in self.missing)
        return sum(units[p.last - 1][1] - units[p.first][0] for p in passages) / _LETTERS

    def embedded(self, question: NDArray[np.float32]) -> Embedded:
        passages = [(p.first, self.read(n)) for n, p in enumerate(self.text.passages)]
        owners = [np.where(read.owners < 0, -1, read.owners + first) for first, read in passages]
        vectors = [read.vectors for _, read in passages if read.vectors is not None]
        return Embedded(
            question=question,
            vectors=np.concatenate([question[:0].astype(np.float16), *vectors]),
            owners=np.concatenate([np.zeros(0, np.intp), *owners]),
            passages=np.repeat(np.arange(len(passages)), [len(read.owners) for _, read in passages]),
        )


class _Room:
    """Passages by a keyed digest, at most so many bytes of them; those that were not asked for longest leave first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, _Read] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def key(self, *parts: bytes) -> bytes:
        total = blake2b(key=self._secret, digest_size=24)
        for part in (cancel.whose(), *parts):
            total.update(b"%d:" % len(part))
            total.update(part)
        return total.digest()

    def get(self, key: bytes) -> _Read | None:
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: bytes, read: _Read) -> None:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = read
                self._bytes += _size(read)
            while self._bytes > self._limit:
                self._bytes -= _size(self._kept.popitem(last=False)[1])


_loaded: "WeakValueDictionary[tuple[Path, str, str, int], Embedder]" = WeakValueDictionary()
_lock = threading.Lock()


def embedder(model: str, place: str = "auto", precision: str = "auto", room: int = 0) -> Embedder:
    """The embedder of a checkpoint, one a process for each device and precision, kept as long as somebody holds it.
    `room`: bytes for what it has read. Raises `Unavailable`."""
    checkpoint = open_checkpoint(model)
    key = (checkpoint.folder, place, precision, room)
    with _lock:
        if (found := _loaded.get(key)) is None:
            found = _loaded[key] = Embedder(checkpoint, place, precision, room)
        return found


def _read(rows: Sequence[Window], first: int) -> _Read:
    owners = [np.where(row.owners < 0, -1, row.owners - first) for row in rows]
    return _Read(tuple(row.ids for row in rows), np.concatenate([np.zeros(0, np.intp), *owners]))


def _cost(read: _Read) -> int:
    return sum(map(len, read.rows))


def _portions(reads: Sequence[_Read]) -> list[list[int]]:
    """Neighbours together, as many as make up about a portion."""
    portions: list[list[int]] = []
    size = PORTION
    for n, read in enumerate(reads):
        cost = _cost(read)
        if size + cost > PORTION:
            portions.append([])
            size = 0
        portions[-1].append(n)
        size += cost
    return portions


def _size(read: _Read) -> int:
    return _OVERHEAD + (read.vectors.nbytes if read.vectors is not None else 0) + read.owners.nbytes + 36 * _cost(read)
