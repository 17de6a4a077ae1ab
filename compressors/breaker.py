"""A breaker: after several failures in a row it refuses for a while, instead of failing once more each time."""

import threading
import time
from collections.abc import Callable

from compressors.base import Unavailable


class Breaker:
    """Closed at first. Opens after `failures` failures in a row; when `cooldown` seconds have passed it lets work
    through again, and the first result decides: a success closes it, a failure opens it for as long again."""

    def __init__(
        self, name: str, failures: int = 3, cooldown: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._limit = failures
        self._cooldown = cooldown
        self._clock = clock
        self._row = 0
        self._until = 0.0
        self._lock = threading.Lock()

    @property
    def rests(self) -> float:
        """Seconds until work is let through again; 0 where it is now."""
        return max(0.0, self._until - self._clock())

    def check(self) -> None:
        """Raises `Unavailable` while open."""
        if rests := self.rests:
            raise Unavailable(f"{self.name} has failed {self._row} times in a row; tried again in {rests:.0f} s")

    def succeeded(self) -> None:
        """Tells of work that was done."""
        with self._lock:
            self._row, self._until = 0, 0.0

    def failed(self) -> None:
        """Tells of work that failed for want of the device, not for what it was."""
        with self._lock:
            self._row += 1
            if self._row >= self._limit:
                self._until = self._clock() + self._cooldown
