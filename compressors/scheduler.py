"""Which work a device does next: pure, knows no model, no thread, no clock.

Requests are served first come, first served. Each is either a job, which has the device to itself, or rows of one
model, which are cut into micro-batches, longest rows first. What a batch of the oldest request leaves of its token
budget is filled with rows of about that length that others wait for. So none starves, and padding stays small.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Limits(Protocol):
    """What a model says about its batches."""

    @property
    def budget(self) -> int:
        """Tokens of a batch, padding included. A single row may be longer."""
        ...

    @property
    def fill(self) -> float:
        """How long every row of a batch must be at least, as a share of the longest."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether several batches may run at once."""
        ...


@dataclass(slots=True, eq=False)
class Request:
    """Rows of a model, by what they cost in tokens; without a model a job."""

    model: Limits | None = None
    costs: Sequence[int] = ()
    waiting: list[int] = field(init=False)
    """Rows that no batch has yet, by number, the longest last."""

    def __post_init__(self) -> None:
        self.waiting = sorted(range(len(self.costs)), key=lambda row: (self.costs[row], -row))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one model that run together, longest first, by request and number; or one job."""

    model: Limits | None
    items: tuple[tuple[Request, int], ...]

    def halves(self) -> tuple["Batch", "Batch"]:
        """Two of half the size."""
        middle = (len(self.items) + 1) // 2
        return Batch(self.model, self.items[:middle]), Batch(self.model, self.items[middle:])


class Scheduler:
    """The queue of a device. Not thread-safe."""

    def __init__(self) -> None:
        self._queue: list[Request] = []
        self._running: list[Batch] = []

    @property
    def queue(self) -> tuple[Request, ...]:
        """Requests that wait for a batch, the oldest first."""
        return tuple(self._queue)

    def add(self, request: Request) -> None:
        """Puts a request at the end of the queue."""
        self._queue.append(request)

    def drop(self, request: Request) -> None:
        """Gives up what of a request waits still; what runs, runs on."""
        request.waiting.clear()
        if request in self._queue:
            self._queue.remove(request)

    def next(self) -> Batch | None:
        """What runs now, and is to be handed to `done` afterwards; None where nothing can start."""
        if not self._queue:
            return None
        oldest = self._queue[0]
        if self._running and not (oldest.model and oldest.model.parallel and self._shared()):
            return None
        batch = self._rows(oldest, oldest.model) if oldest.model else Batch(None, ((oldest, 0),))
        self._queue = [
            request for request in self._queue if request.waiting or (not request.model and request is not oldest)
        ]
        self._running.append(batch)
        return batch

    def done(self, batch: Batch) -> None:
        """A batch has run, well or badly."""
        self._running.remove(batch)

    def _shared(self) -> bool:
        return all(batch.model is not None and batch.model.parallel for batch in self._running)

    def _rows(self, oldest: Request, model: Limits) -> Batch:
        longest = oldest.costs[oldest.waiting[-1]]
        room = max(1, model.budget // max(1, longest))
        items: list[tuple[Request, int]] = []
        for request in self._queue:
            if request.model is model and len(items) < room:
                items += [(request, row) for row in _take(request, longest, model.fill, room - len(items))]
        return Batch(model, tuple(sorted(items, key=lambda item: -item[0].costs[item[1]])))


def _take(request: Request, longest: int, fill: float, room: int) -> list[int]:
    """Takes up to `room` rows out of a request, from that length on downwards."""
    costs = [request.costs[row] for row in request.waiting]
    end = bisect_right(costs, longest)
    start = max(end - room, bisect_right(costs, longest * fill - 0.5, hi=end))
    taken = request.waiting[start:end][::-1]
    del request.waiting[start:end]
    return taken
