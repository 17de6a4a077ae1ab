"""A device under real threads: rows of several callers together, cancellation, failures, memory that runs out."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compressors import cancel
from compressors.base import Cancelled, CompressionError, Unavailable
from compressors.breaker import Breaker
from compressors.device import Device, device

Row = int
"""The rows of these tests are numbers; the result of one is its square."""


class Squares:
    """Notes each batch; `before` may wait or raise."""

    fill = 0.0

    def __init__(self, budget: int = 100, parallel: bool = False) -> None:
        self.budget = budget
        self.parallel = parallel
        self.batches: list[list[Row]] = []
        self.before: Callable[[Sequence[Row]], None] = lambda rows: None

    def run(self, rows: Sequence[Row]) -> list[NDArray[Any]]:
        self.batches.append(list(rows))
        self.before(rows)
        return [np.array(row * row) for row in rows]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


class Held:
    """Keeps a device busy, so that what is asked meanwhile queues up."""

    def __init__(self, on: Device, pool: ThreadPoolExecutor) -> None:
        self._go, entered = threading.Event(), threading.Event()

        def hold() -> bool:
            entered.set()
            return self._go.wait(30)

        self._job = pool.submit(on.run, hold)
        assert entered.wait(10)
        self._on = on

    def release(self, waiting: int) -> None:
        """Once so many requests wait."""
        while len(self._on._scheduler.queue) < waiting:
            threading.Event().wait(0.001)
        self._go.set()
        assert self._job.result(10)


def squares(results: Sequence[NDArray[Any]]) -> list[int]:
    return [int(result) for result in results]


def test_results_come_in_the_order_of_the_rows() -> None:
    model = Squares(budget=20)
    assert squares(Device("x").rows(model, [3, 1, 2, 5], [3, 1, 2, 5])) == [9, 1, 4, 25]
    assert model.batches == [[5, 3, 2, 1]]
    assert Device("x").rows(model, [], []) == []


def test_rows_of_several_callers_run_in_one_batch_and_each_gets_its_own(pool: ThreadPoolExecutor) -> None:
    on, model = Device("x"), Squares()
    held = Held(on, pool)
    asked = [pool.submit(on.rows, model, [n, n + 10], [1, 1]) for n in range(5)]
    held.release(5)
    assert [squares(one.result(10)) for one in asked] == [[n**2, (n + 10) ** 2] for n in range(5)]
    assert [len(batch) for batch in model.batches] == [10]


def test_lanes_run_side_by_side(pool: ThreadPoolExecutor) -> None:
    """Both batches wait for each other: with one lane this would never end."""
    on, model = Device("x", lanes=2), Squares(budget=1, parallel=True)
    meet = threading.Barrier(2)

    def enter(rows: Sequence[Row]) -> None:
        meet.wait(10)

    model.before = enter
    assert squares(on.rows(model, [1, 2, 3, 4], [1, 1, 1, 1])) == [1, 4, 9, 16]


def test_a_job_has_the_device_to_itself(pool: ThreadPoolExecutor) -> None:
    on, model = Device("x", lanes=4), Squares(budget=1, parallel=True)
    inside: list[str] = []
    clashes: list[str] = []

    def alone() -> int:
        clashes.extend(inside)
        return 7

    def enter(rows: Sequence[Row]) -> None:
        inside.append("row")
        threading.Event().wait(0.002)
        inside.pop()

    model.before = enter
    asked: list[Future[Any]] = []
    for _ in range(6):
        asked += [pool.submit(on.rows, model, [1, 2, 3], [1, 1, 1]), pool.submit(on.run, alone)]
    assert all(one.result(10) for one in asked)
    assert clashes == []


def test_a_cancelled_callers_rows_are_not_computed_and_others_are(pool: ThreadPoolExecutor) -> None:
    on, model = Device("x"), Squares()
    gone = threading.Event()

    def leaver() -> list[NDArray[Any]]:
        with cancel.watched(lambda: not gone.is_set()):
            return on.rows(model, [6, 7], [1, 1])

    held = Held(on, pool)
    leaves, stays = pool.submit(leaver), pool.submit(on.rows, model, [1, 2], [1, 1])
    while len(on._scheduler.queue) < 2:
        threading.Event().wait(0.001)
    gone.set()
    with pytest.raises(Cancelled):  # at once, though the device is busy
        leaves.result(10)
    held.release(1)
    assert squares(stays.result(10)) == [1, 4]
    assert model.batches == [[1, 2]]


def test_between_batches_it_is_asked_whether_anybody_waits() -> None:
    on, model = Device("x"), Squares(budget=1)
    with cancel.watched(lambda: len(model.batches) < 2), pytest.raises(Cancelled):
        on.rows(model, [1, 2, 3, 4, 5], [1, 1, 1, 1, 1])
    on.run(lambda: 0)  # the lane is free again
    assert len(model.batches) == 2


def test_a_job_can_ask_whether_its_caller_waits() -> None:
    looks = iter([True, True, False])

    def job() -> None:
        while True:
            cancel.check()

    with cancel.watched(lambda: next(looks, False)), pytest.raises(Cancelled):
        Device("x").run(job)


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError, KeyboardInterrupt])
def test_a_model_that_raises_does_not_end_the_lane(error: type[BaseException]) -> None:
    on, model = Device("x"), Squares()

    def fail(rows: Sequence[Row]) -> None:
        raise error("bad row")

    model.before = fail
    expected = error if issubclass(error, Exception) else CompressionError
    for _ in range(4):  # and no breaker opens: the fault is the work's
        with pytest.raises(expected):
            on.rows(model, [1], [1])
    assert on.run(lambda: 7) == 7


def test_one_callers_bad_row_does_not_fail_the_other(pool: ThreadPoolExecutor) -> None:
    on, model = Device("x"), Squares()

    def fail(rows: Sequence[Row]) -> None:
        if 13 in rows:
            raise ValueError("bad row")

    model.before = fail
    held = Held(on, pool)
    bad, good = pool.submit(on.rows, model, [12, 13], [1, 1]), pool.submit(on.rows, model, [4, 5], [1, 1])
    held.release(2)
    assert squares(good.result(10)) == [16, 25]
    with pytest.raises(ValueError, match="bad row"):
        bad.result(10)
    assert sorted(map(sorted, model.batches)) == [[4, 5], [4, 5, 12, 13], [12, 13]]


def test_a_wrong_number_of_results_is_an_error() -> None:
    model = Squares()
    model.run = lambda rows: []  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="0 results for 1 rows"):
        Device("x").rows(model, [1], [1])
    with pytest.raises(ValueError, match="1 rows and 2 costs"):
        Device("x").rows(model, [1], [1, 1])


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which is raised on a GPU only."""


MEMORY = [
    MemoryError(),
    OutOfMemoryError("CUDA"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
]


@pytest.mark.parametrize("error", MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_batch_once(error: Exception) -> None:
    on, model = Device("x"), Squares()

    def fail(rows: Sequence[Row]) -> None:
        if len(rows) > 2:
            raise error

    model.before = fail
    assert squares(on.rows(model, [1, 2, 3, 4], [1, 1, 1, 1])) == [1, 4, 9, 16]
    assert model.batches == [[1, 2, 3, 4], [1, 2], [3, 4]]
    with pytest.raises(Unavailable, match="device x ran out of memory"):
        on.rows(model, list(range(8)), [1] * 8)
    assert [len(batch) for batch in model.batches[3:]] == [8, 4]


def test_out_of_memory_several_times_in_a_row_opens_the_breaker_and_a_success_closes_it() -> None:
    now = 0.0
    on = Device("x", breaker=Breaker("device x", failures=3, cooldown=30, clock=lambda: now))
    model = Squares()

    def fail(rows: Sequence[Row]) -> None:
        raise MemoryError

    model.before = fail
    for _ in range(3):
        with pytest.raises(Unavailable, match="ran out of memory"):
            on.rows(model, [1], [1])
    with pytest.raises(Unavailable, match="3 times in a row; tried again in 30 s"):
        on.run(lambda: 1)
    assert len(model.batches) == 3
    now = 31.0
    model.before = lambda rows: None
    assert squares(on.rows(model, [2], [1])) == [4]
    assert on.breaker.rests == 0


def test_a_job_that_runs_out_of_memory_is_refused() -> None:
    def job() -> None:
        raise MemoryError

    with pytest.raises(Unavailable, match="ran out of memory"):
        Device("x").run(job)


def test_work_that_waits_for_its_own_device_is_an_error_and_no_deadlock() -> None:
    on = Device("x")
    with pytest.raises(RuntimeError, match="may not wait for other work on it"):
        on.run(lambda: on.run(lambda: 1))


def test_many_callers_at_once_all_get_their_own(pool: ThreadPoolExecutor) -> None:
    on, model = Device("x", lanes=3), Squares(budget=7, parallel=True)
    asked = [pool.submit(on.rows, model, list(range(n, n + 9)), [1 + n % 4] * 9) for n in range(100)]
    assert [squares(one.result(20)) for one in asked] == [[k * k for k in range(n, n + 9)] for n in range(100)]
    assert sum(map(len, model.batches)) == 900


def test_devices_are_kept_by_name_and_unknown_ones_say_what_is_known() -> None:
    assert device("cpu") is device("cpu")
    assert device("cpu").name == "cpu"
    for name in ("gpu", "cuda:x", "cuda:9999", ""):
        with pytest.raises(Unavailable, match=r"no device .*known: auto, cpu, cuda"):
            device(name)
