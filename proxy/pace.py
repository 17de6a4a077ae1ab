"""How long compressors take for a character, as they took of late."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from compressors import Kept, Task
from proxy.span_cache import Compresses

_NEW = 0.2  # the weight of what was measured last


class Pace:
    """Seconds by compressor. Threads may write at once: the last one counts."""

    def __init__(self) -> None:
        self._each: dict[str, float] = {}

    def seconds(self, name: str, characters: int) -> float:
        """0 for a compressor that was never timed."""
        return self._each.get(name, 0.0) * characters

    def took(self, name: str, characters: int, seconds: float) -> None:
        now = seconds / max(1, characters)
        self._each[name] = now + (1 - _NEW) * (self._each.get(name, now) - now)


@dataclass(frozen=True, slots=True)
class Timed:
    """A compressor that is timed."""

    inner: Compresses
    name: str
    pace: Pace

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        began = perf_counter()
        found = self.inner.compress(tasks)
        self.pace.took(self.name, sum(len(task.text) for task in tasks), perf_counter() - began)
        return found
