"""What compressors found in texts that come again, so that a conversation costs only its new turns.

A key is a keyed digest over all that a result depends on, the caller included; the key of the digest is drawn when the
process starts. A value is the spans that stay, as numbers. So no text of a prompt is kept, and no caller can meet, or
by the time that an answer takes find out about, what another one sent.
"""

import secrets
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Protocol

from compressors import CompressionError, Fallback, Kept, Span, Task

OVERHEAD = 300
"""Bytes that an entry takes besides its numbers: two objects, a key, a place in the table."""
PORTION = 8000
"""Code points: a model on a CPU is through with them well before the usual deadline, and they fill a GPU."""
_DIGEST = 24
_FALLBACKS = (None, *Fallback)


@dataclass(frozen=True, slots=True)
class Stats:
    hits: int
    misses: int
    entries: int
    bytes: int


class Compresses(Protocol):
    def compress(self, tasks: Sequence[Task]) -> list[Kept]: ...


class SpanCache:
    """At most `limit` bytes of results, the least recently used ones leave first. Safe in any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, array[int]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = self._hits = self._misses = 0

    def digest(self, *parts: bytes) -> bytes:
        """A name for these parts, in this order, that nobody outside can make or undo."""
        total = blake2b(key=self._secret, digest_size=_DIGEST)
        for part in parts:
            total.update(b"%d:" % len(part))
            total.update(part)
        return total.digest()

    def get(self, key: bytes) -> Kept | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(key)
        return _unpacked(found)

    def put(self, key: bytes, kept: Kept) -> None:
        numbers = _packed(kept)
        if numbers is None:
            return
        with self._lock:
            if key in self._kept:  # what was sent first stays, whatever a request beside it found
                return
            self._kept[key] = numbers
            self._bytes += _size(numbers)
            while self._bytes > self._limit:
                self._bytes -= _size(self._kept.popitem(last=False)[1])

    def stats(self) -> Stats:
        with self._lock:
            return Stats(self._hits, self._misses, len(self._kept), self._bytes)


@dataclass(frozen=True, slots=True)
class Remembering:
    """A compressor that asks the cache first. `whose`: a digest of the caller, the compressor and its version.

    What is new is computed in portions, so that what is done when the deadline passes need not be done again: a long
    conversation that comes to a fresh process is caught up with in a few requests.
    """

    inner: Compresses
    cache: SpanCache
    whose: bytes

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        keys = [self._key(task) for task in tasks]
        found = {n: kept for n, key in enumerate(keys) if (kept := self.cache.get(key))}
        for portion in _portions([n for n in range(len(tasks)) if n not in found], tasks):
            made = self.inner.compress([tasks[n] for n in portion])
            if len(made) != len(portion):
                raise CompressionError(f"{len(made)} results for {len(portion)} tasks")
            for n, kept in zip(portion, made, strict=True):
                found[n] = kept
                self.cache.put(keys[n], kept)
        return [found[n] for n in range(len(tasks))]

    def _key(self, task: Task) -> bytes:
        return self.cache.digest(
            self.whose,
            _bytes(task.text),
            _bytes(task.question),
            _bytes(task.before),
            repr(task.budget).encode(),
            task.encoding.encode(),
            _numbers(task.protected),
            _numbers(task.documents),
        )


def _portions(numbers: Iterable[int], tasks: Sequence[Task]) -> Iterator[list[int]]:
    """Neighbours together, as many as make up about a portion."""
    portion: list[int] = []
    size = 0
    for n in numbers:
        if portion and size + len(tasks[n].text) > PORTION:
            yield portion
            portion, size = [], 0
        portion.append(n)
        size += len(tasks[n].text)
    if portion:
        yield portion


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _numbers(spans: Iterable[Span]) -> bytes:
    return array("q", chain.from_iterable(spans)).tobytes()


def _packed(kept: Kept) -> "array[int] | None":
    """How found, how many spans, the spans, the order; None for what is no result, so that it fails anew each time."""
    if not isinstance(kept, Kept):
        return None
    try:
        how = _FALLBACKS.index(kept.fallback)
        return array("I", chain((how, len(kept.spans)), chain.from_iterable(kept.spans), kept.order))
    except (OverflowError, TypeError, ValueError):
        return None


def _unpacked(numbers: "array[int]") -> Kept:
    how, count = numbers[:2]
    edges, order = numbers[2 : 2 + 2 * count], numbers[2 + 2 * count :]
    spans = tuple(zip(edges[::2], edges[1::2], strict=True))
    return Kept(spans, order=tuple(order), fallback=_FALLBACKS[how])


def _size(numbers: "array[int]") -> int:
    return OVERHEAD + len(numbers) * numbers.itemsize
