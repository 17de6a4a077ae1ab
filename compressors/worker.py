"""A bounded worker: a few threads, and a short queue in front of them.

`asyncio.to_thread` and `ThreadPoolExecutor` take any amount of work, and the interpreter waits at exit for a thread
that hangs. Here a job that hangs keeps its place, so that once all places are taken the next job is refused at once;
and the threads are daemons, so that the process can always end.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from time import monotonic
from typing import Any, TypeVar, TypeVarTuple

from compressors.base import CompressionError, Overloaded

Args = TypeVarTuple("Args")
T = TypeVar("T")
Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]

_NEW = 0.2  # the weight of the job that ended last


class Worker:
    """Runs jobs on at most `threads` threads, started when first needed; at most `queue` more jobs wait, in order."""

    def __init__(self, threads: int, queue: int) -> None:
        if threads < 1 or queue < 0:
            raise ValueError(f"a worker needs threads >= 1 and queue >= 0, not {threads} and {queue}")
        self._threads = threads
        self._room = threads + queue
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._started = 0
        self._busy = 0
        self._closed = False
        self._typical = 0.0  # seconds that jobs took of late
        self._begun = 0.0  # when the youngest job began

    def submit(self, work: Callable[[*Args], T], *args: *Args) -> "Future[T]":
        """The result to come of `work(*args)`. Cancelling it while it waits gives its place back.

        Raises `Overloaded` at once where every thread and every place in the queue is taken, or the worker is closed.
        """
        future: Future[T] = Future()
        with self._changed:
            self._drop_cancelled()
            if self._closed:
                raise Overloaded("the worker is closed")
            if self._busy + len(self._waiting) >= self._room:
                raise Overloaded(f"{self._busy} jobs run and {len(self._waiting)} wait: no room for another")
            self._waiting.append((future, work, args))
            if self._started < min(self._threads, self._busy + len(self._waiting)):
                self._begin()
            self._changed.notify()
        return future

    def _begin(self) -> None:
        """Another thread. Raises `Overloaded` where the system has none left, and no other serves."""
        self._started += 1
        try:
            threading.Thread(target=self._serve, name=f"compressor-{self._started}", daemon=True).start()
        except RuntimeError:
            self._started -= 1
            if not self._started:
                self._waiting.pop()
                raise Overloaded("the system has no thread left") from None

    def seconds(self) -> float:
        """How long a job that is submitted now would take until its end, judged by those that ended of late; 0 where a
        thread is free. Where all threads hang, as long as the youngest of them has, at least."""
        with self._changed:
            self._drop_cancelled()
            ahead = self._busy + len(self._waiting) + 1 - self._threads
            if ahead <= 0:
                return 0.0
            each = max(self._typical, monotonic() - self._begun if self._busy else 0.0)
            return each * (1 + ahead / self._threads)

    def close(self) -> None:
        """Cancels what waits and ends each thread with its job; returns at once."""
        with self._changed:
            self._closed = True
            for future, *_ in self._waiting:
                future.cancel()
            self._waiting.clear()
            self._changed.notify_all()

    def _drop_cancelled(self) -> None:
        self._waiting = deque(job for job in self._waiting if not job[0].cancelled())

    def _serve(self) -> None:
        busy = 0
        try:
            while job := self._next():
                busy, began = 1, monotonic()
                _deliver(*job)
                del job  # a result that nobody holds any more must not live until the next job
                with self._changed:
                    self._busy -= 1
                    busy = 0
                    self._typical += _NEW * (monotonic() - began - self._typical)
        finally:  # by whatever the thread ends: its place is given back, and the next job starts another
            with self._changed:
                self._started -= 1
                self._busy -= busy

    def _next(self) -> Job | None:
        with self._changed:
            while True:
                while self._waiting:
                    job = self._waiting.popleft()
                    if job[0].set_running_or_notify_cancel():
                        self._busy += 1
                        self._begun = monotonic()
                        return job
                if self._closed:
                    return None
                self._changed.wait()


def _deliver(future: Future[Any], work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        result = work(*args)
    except BaseException as error:  # noqa: BLE001  # not swallowed: raised where the result is awaited
        ordinary = isinstance(error, Exception) and not isinstance(error, CancelledError)
        # The others would end the server, or look as if the request had been called off.
        future.set_exception(error if ordinary else CompressionError(f"the job ended with {type(error).__name__}"))
        del future  # or a cycle: the error's traceback holds this frame, and with it all that the job worked on
    else:
        future.set_result(result)
