"""Compressors that do what no compressor should: the request arrives byte for byte, and the next one is compressed."""

import asyncio
import ctypes
import itertools
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

import pytest
from conftest import UNDRAWN, Service, Told
from layouts import LAYOUTS, body
from provider import Provider, provider
from raw import ask, chat, value

from compressors import Compressor, Kept, Task
from compressors.spans import merge
from compressors.worker import Worker
from policies.presets import PRESETS
from policies.routes import Route
from proxy.headers import printable
from proxy.pipeline import Pipeline
from proxy.settings import Compression, Settings, Upstream

RAW = body(LAYOUTS["labels"])
PATIENT_MS, HASTY_MS = 60_000, 800
Does = Callable[[Sequence[Task]], Any]


def good(tasks: Sequence[Task]) -> list[Kept]:
    """What is protected, and the first half."""
    return [Kept(merge([*t.protected, (0, len(t.text) // 2)])) for t in tasks]


@dataclass
class Faulty:
    """Does what it is told once, then what it should."""

    does: list[Does] = field(default_factory=list)

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        does = self.does.pop() if self.does else good
        return does(tasks)


@dataclass
class Place:
    fake: Provider
    url: str
    told: Told
    compressor: Faulty


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """One service for all: what one fault leaves behind would meet the next."""
    with serving(PATIENT_MS) as it:
        yield it


@pytest.fixture
def hasty() -> Iterator[Place]:
    """Its deadline is short."""
    with serving(HASTY_MS) as it:
        yield it


@contextmanager
def serving(deadline_ms: float) -> Iterator[Place]:
    with ExitStack() as stack:
        fake = stack.enter_context(provider())
        compressor, told = Faulty(), Told()
        it = Settings({"fake": Upstream("fake", fake.url)}, (Route("all", "fake", "balanced"),), PRESETS)
        terms = Compression(deadline_ms, workers=2, queue=4, cache_mb=0, bypass_share=0)
        url = Service(told, stack).start_with(it, Pipeline(terms, lambda name: compressor))
        ask(url, chat(RAW))  # what is read once has then been read
        told.one()
        yield Place(fake, url, told, compressor)


def holds(place: Place, does: Does) -> tuple[bytes, bytes]:
    """Outcome and reason of the request that met the fault; the next one is compressed."""
    hits = len(place.fake.requests)
    outcome, reason = sent(place, does)
    assert place.fake.last.body == RAW
    assert len(place.fake.requests) == hits + 1
    assert reason
    assert sent(place, good) == (b"compressed", b"")
    assert len(place.fake.last.body) < len(RAW)
    return outcome, reason


def sent(place: Place, does: Does) -> tuple[bytes, bytes]:
    """Outcome and reason of one request, as its client and as the meter was told."""
    place.told.records.clear()
    place.compressor.does = [does]
    status, headers, _ = ask(place.url, chat(RAW))
    assert status == 200
    outcome, reason = value(headers, b"x-laconic-outcome") or b"", value(headers, b"x-laconic-reason") or b""
    measured = place.told.one().measured
    assert (measured.outcome.value.encode(), printable(measured.reason)) == (outcome, reason)
    return outcome, reason


# What it raises


def overflows(tasks: Sequence[Task]) -> object:
    return overflows(tasks)


def needs_memory(tasks: Sequence[Task]) -> object:
    return bytes(1 << 60)


class Base(BaseException):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


SPLITTING = type("X\r\nx-laconic-outcome: compressed", (Exception,), {})
RAISED = [
    Base(), Mute(), SPLITTING(), ExceptionGroup("a", [ValueError()]), BaseExceptionGroup("b", [SystemExit()]),
    asyncio.CancelledError(), SystemExit(0), KeyboardInterrupt(), GeneratorExit(), StopAsyncIteration(),
    TimeoutError(), AssertionError(), OSError(24, "files"), UnicodeError(),
]  # fmt: skip


@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__.split("\r")[0])
def test_whatever_it_raises(place: Place, error: BaseException) -> None:
    def raises(tasks: Sequence[Task]) -> object:
        raise error

    outcome, reason = holds(place, raises)
    assert outcome == b"failed_open"
    assert reason.startswith(b"error: ")


@pytest.mark.parametrize(
    ("does", "reason"), [(overflows, b"error: RecursionError"), (needs_memory, b"error: MemoryError")]
)
def test_real_exhaustion(place: Place, does: Does, reason: bytes) -> None:
    assert holds(place, does) == (b"failed_open", reason)


# What it returns


class Lying:
    """Says that it holds one result and never stops giving them."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Kept]:
        return itertools.repeat(Kept(((0, 1),)))


class Trap:
    """A result that breaks when it is looked at."""

    order = ()

    @property
    def spans(self) -> object:
        raise KeyboardInterrupt


RESULTS: dict[str, Does] = {
    "nothing": lambda tasks: None,
    "a number": lambda tasks: 5,
    "a text": lambda tasks: "kept" * len(tasks),
    "a table": lambda tasks: {n: Kept(((0, 1),)) for n in range(len(tasks))},
    "results without end": lambda tasks: (Kept(((0, 1),)) for _ in itertools.count()),
    "a lie about their number": lambda tasks: Lying(),
    "too many": lambda tasks: good(tasks) + good(tasks),
    "none": lambda tasks: [],
    "none for a task": lambda tasks: [None] * len(tasks),
    "spans for a result": lambda tasks: [((0, 5),)] * len(tasks),
    "a trap": lambda tasks: [Trap()] * len(tasks),
}


@pytest.mark.parametrize("does", RESULTS.values(), ids=RESULTS)
def test_whatever_it_returns(place: Place, does: Does) -> None:
    assert holds(place, does)[0] == b"failed_open"


SPANS: dict[str, Callable[[int], Any]] = {
    "none": lambda n: None,
    "a number": lambda n: 7,
    "a text": lambda n: "abc",
    "single": lambda n: ((0,),),
    "triples": lambda n: ((0, 1, 2),),
    "texts": lambda n: (("0", "9"),),
    "halves": lambda n: ((0.5, n - 0.5),),
    "whole floats": lambda n: ((0.0, n / 2),),
    "not a number": lambda n: ((nan, nan),),
    "to not a number": lambda n: ((0, nan),),
    "to infinity": lambda n: ((0, inf),),
    "nones": lambda n: ((None, None),),
    "out of range": lambda n: ((0, n + 1),),
    "far out of range": lambda n: ((0, 1 << 70),),
    "overlapping": lambda n: ((0, 9), (5, 12)),
    "twice": lambda n: ((0, 9), (0, 9)),
    "out of order": lambda n: ((9, 12), (0, 5)),
    "reversed": lambda n: ((9, 0),),
    "negative": lambda n: ((-9, -1),),
    "to the last but one": lambda n: ((0, -1),),
    "empty": lambda n: ((0, 5), (5, 5)),
    "the same without end": lambda n: itertools.repeat((0, 1)),
    "one after the other without end": lambda n: ((i, i + 1) for i in itertools.count()),
}


@pytest.mark.parametrize("spans", SPANS.values(), ids=SPANS)
def test_spans_that_are_none(place: Place, spans: Callable[[int], Any]) -> None:
    outcome, reason = holds(place, lambda tasks: [Kept(spans(len(t.text))) for t in tasks])
    assert outcome in (b"failed_open", b"untouched")
    assert reason.startswith((b"error: ", b"restored: "))


def test_spans_that_leave_out_protected_text_are_put_back(place: Place) -> None:
    def cuts(tasks: Sequence[Task]) -> list[Kept]:
        assert all(t.protected for t in tasks)
        return [Kept(((0, t.protected[0][0] + 1),) if t.protected[0][1] > 1 else ((1, 2),)) for t in tasks]

    assert holds(place, cuts) == (b"untouched", b"restored: it would have lost protected text")


def test_spans_that_can_be_read_once_mean_what_they_say(place: Place) -> None:
    """Read a second time they would mean that everything goes."""
    sent(place, good)
    plain = place.fake.last.body
    sent(place, lambda tasks: [Kept(iter(k.spans)) for k in good(tasks)])  # type: ignore[arg-type]
    assert place.fake.last.body == plain


@pytest.mark.parametrize("scores", [(nan,), (inf, -inf), ("a",), None, (nan,) * 9])
def test_scores_decide_nothing_that_goes(place: Place, scores: Any) -> None:
    """Spans are what counts; scores are only told."""
    assert sent(place, lambda tasks: [Kept(k.spans, scores) for k in good(tasks)])[0] == b"compressed"


# What it does to its thread


def test_a_hang_costs_one_request_its_deadline(hasty: Place) -> None:
    release = threading.Event()
    try:
        assert holds(hasty, lambda tasks: release.wait(20)) == (b"failed_open", b"deadline")
    finally:
        release.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_ended_between_two_jobs_is_replaced() -> None:
    worker = Worker(threads=1, queue=0)
    for _ in range(3):
        thread = worker.submit(threading.current_thread).result(5)
        assert thread.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        with worker._changed:
            worker._changed.notify_all()  # it notices when it is woken
        thread.join(5)
        assert not thread.is_alive()
    assert worker.submit(lambda: 7).result(5) == 7
    worker.close()


EXIT = {"x86_64": 60, "aarch64": 93}.get(platform.machine())  # the number of the system call that ends one thread


@pytest.mark.skipif(sys.platform != "linux" or EXIT is None, reason="ends a thread by a Linux system call")
def test_a_thread_that_is_gone_without_a_word_costs_one_place(hasty: Place) -> None:
    """As after a fault in a library: nothing is cleaned up. It counts as one that hangs; the other threads go on."""
    assert EXIT is not None
    libc = ctypes.CDLL(None)
    assert holds(hasty, lambda tasks: libc.syscall(EXIT, 0)) == (b"failed_open", b"deadline")


# How it is loaded


@pytest.mark.parametrize("error", [SystemExit(), MemoryError(), ImportError("no"), Base()], ids=repr)
def test_a_compressor_that_cannot_be_made(service: Service, fake: Provider, error: BaseException) -> None:
    faults = [error]

    def load(name: str) -> Compressor:
        if faults:
            raise faults.pop()
        return Faulty()

    it = Settings({"fake": Upstream("fake", fake.url)}, (Route("all", "fake", "balanced"),), PRESETS)
    url = service.start_with(it, Pipeline(UNDRAWN, load))
    status, headers, _ = ask(url, chat(RAW))
    assert (status, fake.last.body, value(headers, b"x-laconic-outcome")) == (200, RAW, b"failed_open")
    assert ask(url, chat(RAW))[0] == 200
