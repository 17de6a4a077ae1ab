"""Whatever goes wrong on the way, the bytes that the client sent go upstream, and the reason is said."""

import asyncio
import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from compressors import cancel
from compressors.base import Cancelled, CompressionError, Compressor, Kept, Rate, Task, UnknownCompressor
from policies.base import Kind, Mode, Plan, Segment, Step
from policies.presets import PRESETS
from policies.routes import Route
from proxy.pipeline import Pipeline, Prepared
from proxy.savings import Outcome
from proxy.settings import Compression, Settings

SENTENCES = [f"Sentence number {n} talks about the harbour and its {n} cranes." for n in range(40)]
BODY = json.dumps(
    {
        "model": "gpt-4o",
        "temperature": 1.0,
        "messages": [
            {"role": "system", "content": "Answer from the context only."},
            {"role": "user", "content": "Context:\n" + " ".join(SENTENCES) + "\n\nQuestion: How many cranes has it?"},
        ],
    }
).encode()


@dataclass(frozen=True)
class Everything:
    """A policy that sends every segment that may change through one compressor."""

    compressor: str = "test"
    mode: Mode = Mode.ON
    name: str = "everything"

    def plan(self, segments: Sequence[Segment]) -> Plan:
        able = [n for n, s in enumerate(segments) if s.may_change and s.kind is Kind.CONTEXT]
        steps = [
            Step(s.field, s.start, s.end, (n,), self.compressor, Rate(0.5), s.question)
            for n, s in enumerate(segments)
            if n in able
        ]
        return Plan(tuple(steps), tuple("planned" if n in able else "kept" for n, _ in enumerate(segments)))


@dataclass(frozen=True)
class Doing:
    """A compressor that does what it is told."""

    do: Callable[[Task], Kept]

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self.do(t) for t in tasks]


def half(task: Task) -> Kept:
    return Kept(((0, len(task.text) // 2),))


def prepare(compressor: Compressor, policy: Everything = Everything(), deadline_ms: float = 5000) -> Prepared:
    async def run() -> Prepared:
        pipeline = Pipeline(Compression(deadline_ms=deadline_ms), lambda _: compressor)
        try:
            return await pipeline.prepare(BODY, policy)
        finally:
            pipeline.close()

    return asyncio.run(run())


def test_a_compressor_that_works_makes_the_body_shorter_and_is_accounted_for() -> None:
    prepared = prepare(Doing(half))
    measured = prepared.measured
    assert measured.outcome is Outcome.COMPRESSED
    before, after = json.loads(BODY), json.loads(prepared.body)
    assert after["messages"][0] == before["messages"][0]
    assert after["messages"][1]["content"].endswith("Question: How many cranes has it?")
    assert b'"temperature": 1.0' in prepared.body
    assert measured.tokens_before is not None
    assert measured.tokens_after is not None
    assert measured.tokens_after < measured.tokens_before
    assert {k.kind: k.after < k.before for k in measured.kinds}["context"]
    assert dict(measured.reasons)["compressed"] == 1
    assert [name for name, _ in measured.stages] == [
        "queue",
        "parse",
        "segment",
        "count",
        "plan",
        "compress",
        "verify",
    ]


def times_out(_: Task) -> Kept:
    raise TimeoutError  # of its own, not ours


def raises(_: Task) -> Kept:
    raise ZeroDivisionError(f"the prompt says: {SENTENCES[7]}")


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (raises, "error: ZeroDivisionError"),
        (lambda t: Kept(((0, len(t.text) + 1),)), "error: CompressionError"),
        (lambda t: Kept(((5, 9), (3, 4))), "error: CompressionError"),
        (lambda t: Kept(((-3, 4),)), "error: CompressionError"),
        (lambda t: Kept(((7, 7),)), "error: CompressionError"),
        (lambda t: None, "error: AttributeError"),
        (times_out, "error: TimeoutError"),
    ],
)
def test_a_compressor_that_breaks_leaves_the_body_as_it_was(do: Callable[[Task], Kept], reason: str) -> None:
    prepared = prepare(Doing(do))
    assert prepared.body == BODY
    assert (prepared.measured.outcome, prepared.measured.reason) == (Outcome.FAILED_OPEN, reason)
    assert prepared.measured.model == "gpt-4o"
    assert prepared.measured.tokens_before, "it had been counted before the compressor broke"
    assert prepared.measured.tokens_after is None


def abandoned(_: Task) -> Kept:
    while True:
        cancel.check()
        time.sleep(0.005)


@pytest.mark.parametrize(("do", "deadline_ms"), [(raises, 5000), (abandoned, 50)])
def test_what_failed_leaves_nothing_to_the_garbage_collector(do: Callable[[Task], Kept], deadline_ms: float) -> None:
    """Which comes so seldom that megabytes of each failed request would pile up until then."""

    def segments() -> int:
        return sum(isinstance(it, Segment) for it in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = segments()
        prepared = prepare(Doing(do), deadline_ms=deadline_ms)
        until = time.monotonic() + 5
        while segments() > before and time.monotonic() < until:
            time.sleep(0.01)  # the thread ends a moment later
        assert prepared.measured.outcome is Outcome.FAILED_OPEN
        assert segments() <= before
    finally:
        gc.enable()


def test_a_failure_is_logged_without_a_word_of_the_prompt(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        prepare(Doing(raises))
    assert "ZeroDivisionError" in caplog.text
    assert "cranes" not in caplog.text


@dataclass(frozen=True)
class Short:
    """A compressor that loses a task."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return []


def test_a_compressor_that_loses_a_task_leaves_the_body_as_it_was() -> None:
    prepared = prepare(Short())
    assert prepared.body == BODY
    assert (prepared.measured.outcome, prepared.measured.reason) == (Outcome.FAILED_OPEN, "error: CompressionError")


def test_a_compressor_that_gains_nothing_leaves_the_body_as_it_was_and_says_so() -> None:
    prepared = prepare(Doing(lambda t: Kept(((0, len(t.text)),))))
    assert prepared.body == BODY
    assert (prepared.measured.outcome, prepared.measured.reason) == (Outcome.UNTOUCHED, "no gain")
    assert prepared.measured.tokens_before == prepared.measured.tokens_after


def test_a_compressor_that_takes_too_long_is_left_behind() -> None:
    release = threading.Event()

    def hangs(task: Task) -> Kept:
        release.wait(10)
        return half(task)

    started = time.monotonic()
    prepared = prepare(Doing(hangs), deadline_ms=100)
    assert time.monotonic() - started < 5
    release.set()
    assert prepared.body == BODY
    assert (prepared.measured.outcome, prepared.measured.reason) == (Outcome.FAILED_OPEN, "deadline")


def test_work_that_nobody_waits_for_stops_where_it_asks_and_gives_its_thread_back() -> None:
    seen: list[type[BaseException]] = []
    entered = threading.Semaphore(0)

    def long(task: Task) -> Kept:
        entered.release()
        try:
            while True:
                cancel.check()
                time.sleep(0.005)
        except CompressionError as error:
            seen.append(type(error))
            raise

    async def run() -> list[Prepared]:
        compressors = iter([Doing(long), Doing(half)])
        made: dict[str, Doing] = {}

        def load(name: str) -> Compressor:
            return made.setdefault(name, next(compressors))

        pipeline = Pipeline(Compression(deadline_ms=1000, workers=1, queue=0), load)
        try:
            first = await pipeline.prepare(BODY, Everything("slow"))
            while not (seen and entered.acquire(blocking=False)):  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.005)
            while not (gone := await begun(pipeline)):
                pass
            gone.cancel()  # its client left
            while len(seen) < 2:  # noqa: ASYNC110  # set by another thread
                await asyncio.sleep(0.005)
            while (last := await pipeline.prepare(BODY, Everything("quick"))).measured.reason == "overloaded":
                pass  # the thread is about to take back its place
            return [first, last]
        finally:
            pipeline.close()

    async def begun(pipeline: Pipeline) -> "asyncio.Task[Prepared] | None":
        """A request that is being computed; None where the thread had not come back from the one before."""
        task = asyncio.ensure_future(pipeline.prepare(BODY, Everything("slow")))
        while not (task.done() or entered.acquire(blocking=False)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        return None if task.done() else task

    prepare(Doing(half))  # the tokenizer is loaded
    first, last = asyncio.run(run())
    assert (first.body, first.measured.reason) == (BODY, "deadline")
    assert last.measured.outcome is Outcome.COMPRESSED
    assert seen == [Cancelled, Cancelled]


def test_when_every_thread_hangs_and_the_queue_is_full_requests_go_on_without_waiting() -> None:
    release = threading.Event()

    def hangs(task: Task) -> Kept:
        release.wait(10)
        return half(task)

    async def run() -> list[Prepared]:
        pipeline = Pipeline(Compression(deadline_ms=300, workers=1, queue=1), lambda _: Doing(hangs))
        try:
            return await asyncio.gather(*(pipeline.prepare(BODY, Everything()) for _ in range(8)))
        finally:
            release.set()
            pipeline.close()

    prepared = asyncio.run(run())
    assert all(p.body == BODY for p in prepared)
    assert [p.measured.reason for p in prepared].count("overloaded") == 6


def test_a_body_that_is_no_chat_request_is_untouched_and_says_why() -> None:
    async def run() -> Prepared:
        pipeline = Pipeline(Compression())
        try:
            return await pipeline.prepare(b'{"messages": "none"}', Everything())
        finally:
            pipeline.close()

    prepared = asyncio.run(run())
    assert prepared.body == b'{"messages": "none"}'
    assert (prepared.measured.outcome, prepared.measured.reason) == (Outcome.UNTOUCHED, "expected a JSON list")


def test_audit_measures_and_sends_the_original() -> None:
    prepared = prepare(Doing(half), Everything(mode=Mode.AUDIT))
    assert prepared.body == BODY
    assert prepared.measured.outcome is Outcome.AUDITED
    assert (prepared.measured.tokens_after or 0) < (prepared.measured.tokens_before or 0)


def test_off_reads_nothing_but_the_model() -> None:
    prepared = prepare(Doing(raises), Everything(mode=Mode.OFF))
    assert (prepared.body, prepared.measured.outcome) == (BODY, Outcome.BYPASSED)
    assert prepared.measured.model == "gpt-4o"


def test_missing_names_the_compressors_that_cannot_run() -> None:
    pipeline = Pipeline(Compression())
    try:
        routes = (Route("all", "up", "mine"),)
        assert pipeline.missing(Settings({}, routes, {"mine": PRESETS["safe"]})) == ()
        rule = replace(PRESETS["safe"].rules[Kind.CONTEXT], compressor="nonsense")
        policy = replace(PRESETS["safe"], rules={**PRESETS["safe"].rules, Kind.CODE: rule})
        (problem,) = pipeline.missing(Settings({}, routes, {"mine": policy}))
        assert problem.startswith("nonsense: no compressor is called 'nonsense'")
    finally:
        pipeline.close()


def test_an_unknown_compressor_fails_open() -> None:
    def load(name: str) -> Compressor:
        raise UnknownCompressor(name)

    async def run() -> Prepared:
        pipeline = Pipeline(Compression(), load)
        try:
            return await pipeline.prepare(BODY, Everything())
        finally:
            pipeline.close()

    assert asyncio.run(run()).measured.reason == "error: UnknownCompressor"


def test_what_would_not_be_done_in_time_goes_on_without_waiting() -> None:
    release = threading.Event()

    def slow(task: Task) -> Kept:
        release.wait(10)
        return half(task)

    async def run() -> tuple[Prepared, float, list[asyncio.Task[Prepared]]]:
        pipeline = Pipeline(Compression(deadline_ms=5000, workers=1, queue=64), lambda _: Doing(slow))
        pipeline._worker._typical = 2.0  # as if jobs had taken two seconds each of late
        try:
            earlier = [asyncio.create_task(pipeline.prepare(BODY, Everything())) for _ in range(2)]
            await asyncio.sleep(0.05)
            began = time.monotonic()
            late = await pipeline.prepare(BODY, Everything())
            took = time.monotonic() - began
            release.set()
            await asyncio.gather(*earlier)
            return late, took, earlier
        finally:
            release.set()
            pipeline.close()

    late, took, earlier = asyncio.run(run())
    assert (late.body, late.measured.reason) == (BODY, "overloaded")
    assert took < 4, "it was not left to wait"
    assert [task.result().measured.outcome for task in earlier] == [Outcome.COMPRESSED] * 2
