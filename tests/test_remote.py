"""A compressor in another process: the same results as here, and no request that waits for one that is not well."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import Register
from layouts import PASSAGES, QUESTION, SPECIAL
from provider import in_thread
from tiny_models import tiny

import compressors
from compressors import (
    Cancelled,
    CompressionError,
    Fallback,
    Kept,
    Overloaded,
    Rate,
    Task,
    Threshold,
    Tokens,
    Unavailable,
    cancel,
)
from compressors.classifier import ClassifierSettings
from proxy.loading import Compressors, Loading
from proxy.span_cache import SpanCache
from proxy.workers.compressing import Station
from proxy.workers.frames import LENGTH, LIMIT, BadFrame, Done, Open, State, asked, length, pack, question
from proxy.workers.remote import Gone, Remote, maker

HARD = f"{PASSAGES[0]} \ud800 lone, {SPECIAL}, 市议会批准了新的预算。 \U0001f6b2 {PASSAGES[1]}"
TASKS = [
    Task(HARD, Rate(0.5), "How long?\udfff", ((0, 4), (10, 20)), ((0, 50), (60, 90)), "cl100k_base", "before \ud801"),
    Task(PASSAGES[2], Tokens(40), QUESTION),
    Task(PASSAGES[3], Threshold(0.5)),
    Task("", Rate(1)),
]


@dataclass
class Slow:
    """A stand-in for a model, to be told what to do."""

    loaded: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    seen: list[Any] = field(default_factory=list)
    result: Callable[[Sequence[Task]], Any] = lambda tasks: [Kept(((0, 1),)) for _ in tasks]
    failing: str = ""
    version: str = "slow-1"

    def warm_up(self) -> None:
        self.loaded.wait(10)
        if self.failing:
            raise Unavailable(self.failing)

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        self.seen.append((list(tasks), cancel.remaining(), cancel.whose()))
        while not self.go_on.wait(0.01):
            cancel.check()
        return self.result(tasks)  # type: ignore[no-any-return]


@contextmanager
def station(folder: Path, places: int = 4, cache: SpanCache | None = None) -> Iterator[Path]:
    """The address of one that runs in a thread while the block lasts."""
    address = folder / "s"
    held = Compressors()
    with in_thread(asyncio.start_unix_server(Station(places, cache, held).answer, path=str(address))):
        yield address
    held.close()


def raising(error: BaseException) -> Callable[[Sequence[Task]], Any]:
    def fail(_: Sequence[Task]) -> Any:
        raise error

    return fail


@pytest.fixture
def slow(register: Register) -> Slow:
    it = Slow()
    it.loaded.set()
    it.go_on.set()
    register("slow", lambda: it)
    return it


@contextmanager
def answering(folder: Path, *answers: bytes) -> Iterator[Path]:
    """A station that says only this, whatever it is told; then it neither reads nor says more. One that has nothing to
    say hangs up."""
    address = folder / "odd"
    over = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(address))
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as connection:
                for data in answers:
                    connection.recv(65536)
                    connection.sendall(data)
                over.wait(10 if answers else 0)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield address
        over.set()


def started(address: Path, use: str = "slow", settings: msgspec.Struct | None = None) -> Remote:
    remote = Remote(address, use, settings)
    remote.warm_up()
    return remote


def test_a_real_model_gives_the_same_spans_from_there_as_from_here(tmp_path: Path) -> None:
    settings = ClassifierSettings(model=str(tiny("bert")), device="cpu")
    here = compressors.load("classifier", settings)
    with station(tmp_path) as address:
        there = maker(address)("classifier", settings)
        assert isinstance(there, Remote)
        there.warm_up()
        assert there.version == here.version  # type: ignore[attr-defined]
        assert there.compress(TASKS) == here.compress(TASKS)


def test_compressors_without_a_model_stay_here(tmp_path: Path) -> None:
    assert not isinstance(maker(tmp_path)("lexical", None), Remote)


@pytest.mark.parametrize("name", sorted(compressors.TABLE))
def test_settings_arrive_as_they_were(name: str) -> None:
    shape = compressors.settings_of(name)
    if shape is not None:
        assert msgspec.json.decode(msgspec.json.encode(shape()), type=shape) == shape()


def test_a_task_arrives_as_it_was_with_its_deadline_and_for_whom_it_is(tmp_path: Path, slow: Slow) -> None:
    slow.result = lambda tasks: [Kept(((0, np.int64(1)),), (np.float32(0.5),), (1, 0), Fallback.TIME) for _ in tasks]  # type: ignore[arg-type]
    with station(tmp_path) as address:
        remote = started(address)
        with cancel.watched(lambda: True, monotonic() + 5, b"ann"):
            kept = remote.compress(TASKS)
        assert remote.compress([]) == []
    assert kept == [Kept(((0, 1),), (0.5,), (1, 0), Fallback.TIME)] * len(TASKS)
    assert {one.fallback for one in kept} == {Fallback.TIME}
    (tasks, seconds, whose), (_, forever, nobody) = slow.seen
    assert tasks == TASKS
    assert 3 < seconds < 5
    assert (forever, whose, nobody) == (float("inf"), b"ann", b"")


def test_whoever_hangs_up_ends_the_work_there(tmp_path: Path, slow: Slow) -> None:
    slow.go_on.clear()
    ended = threading.Event()
    compress = slow.compress

    def watched(tasks: Sequence[Task]) -> list[Kept]:
        try:
            return compress(tasks)
        except Cancelled:
            ended.set()
            raise

    slow.compress = watched  # type: ignore[method-assign]
    with station(tmp_path) as address:
        remote = started(address)
        until = monotonic() + 0.2
        with pytest.raises(Cancelled), cancel.watched(lambda: monotonic() < until):
            remote.compress(TASKS)
        assert ended.wait(5)
        slow.go_on.set()
        assert len(remote.compress(TASKS)) == len(TASKS)


def test_a_process_that_reads_nothing_holds_nobody(tmp_path: Path) -> None:
    with answering(tmp_path, pack(State("1", ""))) as address:
        until = monotonic() + 0.2
        with pytest.raises(Cancelled), cancel.watched(lambda: monotonic() < until):
            Remote(address, "slow", None).compress([Task("x" * 10_000_000, Rate(0.5))])


def test_a_model_that_is_being_loaded_or_cannot_be_is_told_as_here(tmp_path: Path, slow: Slow) -> None:
    slow.loaded.clear()
    slow.failing = "no room on the device"
    with station(tmp_path) as address:
        with pytest.raises(Loading, match="being loaded"):
            Remote(address, "slow", None).compress(TASKS)
        slow.loaded.set()
        with pytest.raises(Unavailable, match="no room on the device"):
            started(address)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (lambda _: 1 / 0, "^ZeroDivisionError$"),
        (lambda _: ["my secret"], "^TypeError|^NotImplementedError|^DecodeError|understood"),
        (lambda _: None, "^TypeError$"),
        (raising(ValueError("near my secret")), "^ValueError$"),
        (raising(Overloaded("full")), "^full$"),
        (raising(SystemExit(3)), "^the job ended with SystemExit$"),
    ],
)
def test_what_goes_wrong_there_is_an_error_here_and_the_next_one_works(
    tmp_path: Path, slow: Slow, result: Any, says: str
) -> None:
    good = slow.result
    slow.result = result
    with station(tmp_path) as address:
        remote = started(address)
        with pytest.raises(CompressionError, match=says):
            remote.compress(TASKS)
        slow.result = good
        assert len(remote.compress(TASKS)) == len(TASKS)


def test_work_beyond_the_places_is_refused(tmp_path: Path, slow: Slow) -> None:
    slow.go_on.clear()
    errors: list[str] = []
    with station(tmp_path, places=1) as address:
        remote = started(address)

        def ask() -> None:
            try:
                remote.compress(TASKS)
            except Overloaded:
                errors.append("overloaded")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(errors) < 3:  # one runs, four wait
            assert any(thread.is_alive() for thread in threads)
        slow.go_on.set()
        for thread in threads:
            thread.join()
    assert len(errors) == 3


def test_what_one_worker_had_compressed_is_there_for_another_but_not_for_another_caller(
    tmp_path: Path, slow: Slow
) -> None:
    with station(tmp_path, cache=SpanCache(2**20)) as address:
        for remote in (started(address), started(address)):
            with cancel.watched(lambda: True, whose=b"ann"):
                remote.compress(TASKS[1:2])
        assert len(slow.seen) == 1
        with cancel.watched(lambda: True, whose=b"ben"):
            remote.compress(TASKS[1:2])
        assert len(slow.seen) == 2


def test_a_model_lives_as_long_as_a_worker_has_a_use_for_it(
    tmp_path: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.workers.compressing.KEPT_SECONDS", 0.05)
    address = tmp_path / "s"
    held = Compressors()

    async def story() -> None:
        server = await asyncio.start_unix_server(Station(4, None, held).answer, path=str(address))
        remote = await asyncio.to_thread(started, address)
        assert len(held._entries) == 1
        await asyncio.to_thread(remote.compress, TASKS)
        del remote
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not held._entries:
                break
        server.close()

    asyncio.run(story())
    assert not held._entries
    assert len(slow.seen) == 1


def test_nobody_there_and_nonsense_are_unavailable_at_once(tmp_path: Path) -> None:
    with pytest.raises(Gone, match="cannot be reached"):
        Remote(tmp_path / "none", "slow", None).compress(TASKS)
    with answering(tmp_path) as address, pytest.raises(Gone, match="has gone"):
        Remote(address, "slow", None).compress(TASKS)


@pytest.mark.parametrize(
    "answer",
    [
        LENGTH.pack(LIMIT + 1),
        LENGTH.pack(3) + b"\xc1\xc1\xc1",
        LENGTH.pack(0),
        pack(Open("x", b"", False)),
        pack(Done(())),
    ],
)
def test_nonsense_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer) as address, pytest.raises(Gone, match="cannot be understood"):
        Remote(address, "slow", None).compress(TASKS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        LENGTH.pack(LIMIT + 1),
        LENGTH.pack(5) + b"hello",
        LENGTH.pack(2**20),
        pack(Done(())),
    ],
)
def test_nonsense_from_a_worker_ends_its_connection_alone(tmp_path: Path, slow: Slow, data: bytes) -> None:
    with station(tmp_path) as address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as odd:
            odd.settimeout(5)
            odd.connect(str(address))
            odd.sendall(data)
            odd.shutdown(socket.SHUT_WR)
            assert odd.recv(16) == b""
        assert len(started(address).compress(TASKS)) == len(TASKS)


def test_a_frame_has_a_bound() -> None:
    assert length(LENGTH.pack(LIMIT)) == LIMIT
    with pytest.raises(BadFrame, match="allowed"):
        length(LENGTH.pack(LIMIT + 1))
    with pytest.raises(BadFrame):
        question(b"\x93\xa4Work")
    assert asked(TASKS[0]).task() == TASKS[0]
