"""The bounded worker: refuses at once, gives places back, never keeps the process alive."""

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from compressors.base import CompressionError, Overloaded
from compressors.worker import Worker


class Gate:
    """Jobs that hang until told otherwise."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def job(self, value: int) -> int:
        self.entered.release()
        assert self.open.wait(30)
        return value


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def test_results_and_errors_reach_whoever_waits() -> None:
    worker = Worker(threads=2, queue=8)
    assert [worker.submit(pow, 2, n).result(10) for n in range(5)] == [1, 2, 4, 8, 16]
    with pytest.raises(ZeroDivisionError):
        worker.submit(divmod, 1, 0).result(10)
    assert worker.submit(pow, 3, 2).result(10) == 9
    worker.close()


@pytest.mark.parametrize(
    "end", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, concurrent.futures.CancelledError]
)
def test_what_would_end_the_server_or_call_off_the_request_is_an_error_like_any_other(end: type[BaseException]) -> None:
    def job() -> None:
        raise end

    worker = Worker(threads=1, queue=1)
    with pytest.raises(CompressionError, match=end.__name__):
        worker.submit(job).result(10)
    assert worker.submit(pow, 3, 2).result(10) == 9
    worker.close()


def test_a_full_worker_refuses_and_recovers(gate: Gate) -> None:
    worker = Worker(threads=1, queue=1)
    jobs = [worker.submit(gate.job, 0)]
    assert gate.entered.acquire(timeout=10)
    jobs.append(worker.submit(gate.job, 1))
    with pytest.raises(Overloaded, match="no room"):
        worker.submit(gate.job, 2)
    gate.open.set()
    assert [job.result(10) for job in jobs] == [0, 1]
    assert worker.submit(gate.job, 3).result(10) == 3
    worker.close()


def test_a_cancelled_job_gives_its_place_back_and_never_runs(gate: Gate) -> None:
    worker = Worker(threads=1, queue=1)
    worker.submit(gate.job, 0)
    assert gate.entered.acquire(timeout=10)
    ran = threading.Event()
    assert worker.submit(ran.set).cancel()
    after = worker.submit(gate.job, 1)
    gate.open.set()
    assert after.result(10) == 1
    assert not ran.is_set()
    worker.close()


def test_how_long_a_job_would_take_is_told_by_those_before_it(gate: Gate) -> None:
    worker = Worker(threads=2, queue=8)
    assert worker.seconds() == 0
    jobs = [worker.submit(gate.job, 1)]
    gate.entered.acquire()
    assert worker.seconds() == 0, "a thread is free"
    jobs += [worker.submit(gate.job, n) for n in range(3)]
    gate.entered.acquire()
    time.sleep(0.1)
    assert worker.seconds() >= 0.1 * (1 + 3 / 2), "both hang, two wait before it"
    gate.open.set()
    for job in jobs:
        job.result(10)
    worker.close()


def test_close_cancels_what_waits_and_ends_every_thread(gate: Gate) -> None:
    before = set(threading.enumerate())
    worker = Worker(threads=3, queue=2)
    running = [worker.submit(gate.job, n) for n in range(3)]
    for _ in running:
        assert gate.entered.acquire(timeout=10)
    waiting = worker.submit(gate.job, 3)
    worker.close()
    assert waiting.cancelled()
    with pytest.raises(Overloaded, match="closed"):
        worker.submit(gate.job, 4)
    gate.open.set()
    assert [job.result(10) for job in running] == [0, 1, 2]
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_no_more_threads_than_asked_for(gate: Gate) -> None:
    before = set(threading.enumerate())  # those of earlier tests may end meanwhile
    worker = Worker(threads=2, queue=20)
    jobs = [worker.submit(gate.job, n) for n in range(20)]
    assert len(set(threading.enumerate()) - before) == 2
    gate.open.set()
    assert [job.result(10) for job in jobs] == list(range(20))
    worker.close()


def test_a_job_that_hangs_does_not_keep_the_process_from_ending() -> None:
    script = (
        "import threading; from compressors.worker import Worker\n"
        "entered = threading.Event()\n"
        "def hang(): entered.set(); threading.Event().wait()\n"
        "Worker(1, 0).submit(hang); entered.wait(10)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 0


@pytest.mark.parametrize(("threads", "queue"), [(0, 1), (1, -1)])
def test_impossible_sizes_are_named(threads: int, queue: int) -> None:
    with pytest.raises(ValueError, match="threads >= 1 and queue >= 0"):
        Worker(threads, queue)


def test_where_no_thread_can_be_started_jobs_are_refused_and_later_ones_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker(threads=1, queue=2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none)
        for _ in range(3):
            with pytest.raises(Overloaded, match="no thread"):
                worker.submit(pow, 2, 2)
    assert worker.submit(pow, 2, 3).result(10) == 8
    worker.close()
