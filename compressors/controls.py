"""Controls to compare with: keep everything, keep anything, keep both ends. None of them looks at the question."""

from collections.abc import Sequence
from hashlib import blake2b
from random import Random as Generator

from compressors.base import Kept, Task
from compressors.selection import keep, keeps_all, layout, whole


class Identity:
    """Keeps everything."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [whole(task) for task in tasks]


class Random:
    """Keeps sentences by lot; the same text always draws the same lots."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        if keeps_all(task):
            return whole(task)
        digest = blake2b(task.text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        lots = Generator(int.from_bytes(digest, "big"))  # `hash` differs from process to process
        parts = layout(task)
        return keep(parts, [lots.random() for _ in parts.units])


class Ends:
    """Keeps the first and the last sentences, in equal numbers."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._shorten(task) for task in tasks]

    def _shorten(self, task: Task) -> Kept:
        if keeps_all(task):
            return whole(task)
        parts = layout(task)
        last = len(parts.units) - 1
        return keep(parts, [1 - 2 * min(i, last - i) / max(last, 1) for i in range(last + 1)])
