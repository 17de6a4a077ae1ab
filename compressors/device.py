"""A device and what waits for it: callers block, lanes work.

A lane is a thread. A GPU has one; a CPU has one a core, since rows side by side on a thread each are quicker than one
row on all of them. Callers prepare their rows (tokenising) on their own threads meanwhile.
"""

import gc
import re
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from compressors import cancel
from compressors.base import Cancelled, CompressionError, Unavailable
from compressors.breaker import Breaker
from compressors.encoders.place import cores, place
from compressors.scheduler import Batch, Limits, Request, Scheduler

R = TypeVar("R")
T = TypeVar("T")
In = TypeVar("In", contravariant=True)
_LOOK = 0.05  # seconds between two looks of a caller that waits at whether anybody waits for it
_MEMORY = re.compile(r"OutOfMemory|out of memory|alloc_cpu|can't allocate|failed to allocate|bad.?alloc", re.IGNORECASE)
_devices: dict[str, "Device"] = {}
_lock = threading.Lock()


class RowModel(Limits, Protocol[In]):
    """A model that turns rows into arrays, one each, in order; a NaN in one is an error. `run` is called by lanes; see
    `Limits` for the rest."""

    def run(self, rows: Sequence[In]) -> Sequence[NDArray[Any]]:
        """One micro-batch. A row's result may depend on the others' by the noise of float arithmetic only."""
        ...


@dataclass(slots=True, eq=False)
class _Work(Request):
    """A request as its caller left it here."""

    rows: Sequence[Any] = ()
    job: Callable[[], Any] | None = None
    alive: Callable[[], bool] = field(default_factory=cancel.watcher)
    future: "Future[Any]" = field(default_factory=Future)
    results: dict[int, NDArray[Any]] = field(default_factory=dict)


class Device:
    """One queue and the lanes that work on it; the lanes start with the first work, and never keep a process alive.

    Whoever calls, waits. Work raises what the model raises; `Cancelled` once nobody waits for it (asked before each
    micro-batch); `Unavailable` where memory ran out twice, the second time with half the batch, and while the device
    rests after this has happened several times in a row.
    """

    def __init__(self, name: str, lanes: int = 1, breaker: Breaker | None = None) -> None:
        self.name = name
        self.breaker = breaker or Breaker(f"device {name}")
        self._lanes = lanes
        self._threads: list[threading.Thread] = []
        self._scheduler = Scheduler()
        self._changed = threading.Condition()

    def rows(self, model: RowModel[R], rows: Sequence[R], costs: Sequence[int]) -> list[NDArray[Any]]:
        """The model's result for each row, in order; computed together with those of other callers. `costs`: tokens."""
        if len(rows) != len(costs):
            raise ValueError(f"{len(rows)} rows and {len(costs)} costs")
        return cast(list[NDArray[Any]], self._ask(_Work(model, costs, rows=rows))) if rows else []

    def run(self, job: Callable[[], T]) -> T:
        """The result of a job that has the device to itself. It may ask `cancel.check`, as on its caller's thread."""
        return cast(T, self._ask(_Work(job=partial(copy_context().run, job))))

    def _ask(self, work: _Work) -> Any:
        cancel.check()
        self.breaker.check()
        with self._changed:
            if threading.current_thread() in self._threads:
                raise RuntimeError("work on a device may not wait for other work on it")
            self._scheduler.add(work)
            while len(self._threads) < self._lanes:
                name = f"{self.name}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._serve, name=name, daemon=True))
                self._threads[-1].start()
            self._changed.notify_all()
        while not wait([work.future], _LOOK).done:
            if not work.alive():
                self._fail(work, Cancelled("nobody waits for this result any more"))
        return work.future.result()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (batch := self._next()) is None:
                    self._changed.wait()
            self._compute(batch)
            with self._changed:
                self._scheduler.done(batch)
                self._changed.notify_all()
            del batch  # nobody's rows live on until the next ones come

    def _next(self) -> Batch | None:
        for work in self._scheduler.queue:
            if not cast(_Work, work).alive():
                self._fail(work, Cancelled("nobody waits for this result any more"))
        return self._scheduler.next()

    def _compute(self, batch: Batch, halved: bool = False) -> None:
        """Runs what is still waited for, and hands over what comes of it."""
        items = tuple(item for item in batch.items if not cast(_Work, item[0]).future.done())
        if not items:
            return
        batch = Batch(batch.model, items)
        outcome = _outcome(batch)
        error = outcome.exception()
        if error is None:
            self.breaker.succeeded()
            self._deliver(batch, outcome.result())
        elif _is_memory(error):
            del outcome, error  # its frames hold what filled the memory
            _free()
            if halved or len(batch.items) == 1:
                self.breaker.failed()
                self._refuse(batch, Unavailable(f"device {self.name} ran out of memory"))
            else:
                for half in batch.halves():
                    self._compute(half, halved=True)
        elif len(parts := _by_request(batch)) > 1:  # one caller's row must not fail another's
            for part in parts:
                self._compute(part, halved)
        else:
            self._refuse(batch, error)

    def _deliver(self, batch: Batch, results: Sequence[Any]) -> None:
        with self._changed:
            for (request, row), result in zip(batch.items, results, strict=True):
                work = cast(_Work, request)
                work.results[row] = result
                if len(work.results) == max(1, len(work.rows)) and not work.future.done():
                    work.future.set_result([work.results[n] for n in range(len(work.rows))] if work.model else result)

    def _refuse(self, batch: Batch, error: BaseException) -> None:
        for request, _ in batch.items:
            self._fail(request, error)

    def _fail(self, request: Request, error: BaseException) -> None:
        work = cast(_Work, request)
        with self._changed:
            self._scheduler.drop(work)
            if not work.future.done():
                work.future.set_exception(error)


def device(name: str) -> Device:
    """The device of this name ("auto", "cpu", "cuda", "cuda:1", "mps"), kept for the life of the process.

    "auto" is a GPU where there is one, else the CPU. Raises `Unavailable` for what is not there.
    """
    found = place(name)
    with _lock:
        if found not in _devices:
            _devices[found] = Device(found, cores() if found == "cpu" else 1)
        return _devices[found]


def _outcome(batch: Batch) -> "Future[Any]":
    """What a batch gives or raises. What would end a thread or pass for a cancellation becomes an ordinary error."""
    future: Future[Any] = Future()
    try:
        works = [(cast(_Work, request), row) for request, row in batch.items]
        job = works[0][0].job
        made = [job()] if job else cast(RowModel[Any], batch.model).run([work.rows[row] for work, row in works])
        if len(made) != len(works):
            raise ValueError(f"{len(made)} results for {len(works)} rows")
        if job is None and any(np.isnan(row).any() for row in made):
            raise CompressionError("the model gave NaN for a score")
    except BaseException as error:  # noqa: BLE001  # not swallowed: raised where the result is awaited
        ordinary = isinstance(error, Exception) and not isinstance(error, CancelledError)
        future.set_exception(error if ordinary else CompressionError(f"the model ended with {type(error).__name__}"))
    else:
        future.set_result(made)
    return future


def _by_request(batch: Batch) -> list[Batch]:
    items = sorted(batch.items, key=lambda item: id(item[0]))
    return [Batch(batch.model, tuple(part)) for _, part in groupby(items, key=lambda item: id(item[0]))]


def _is_memory(error: BaseException) -> bool:
    """torch has a type of its own on a GPU only, ONNX Runtime has none."""
    return isinstance(error, MemoryError) or (
        not isinstance(error, CompressionError) and bool(_MEMORY.search(f"{type(error).__name__} {error}"))
    )


def _free() -> None:
    """Gives memory back that is held for later. Where torch is not loaded, it holds none."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
