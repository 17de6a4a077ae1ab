"""One request's way through compression, within its deadline. The only place that fails open."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from time import perf_counter

import compressors
from compressors.base import CompressionError, Compressor, Overloaded
from compressors.worker import Worker
from policies.base import Mode, Policy
from proxy.savings import Measured, Outcome
from proxy.settings import Compression
from proxy.shorten import Stages, shorten
from proxy.wire import UnknownShape, peek

log = logging.getLogger("laconic.pipeline")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What goes upstream, and what was found out on the way."""

    body: bytes
    measured: Measured


class Pipeline:
    """Runs bodies through their policies on a bounded set of threads."""

    def __init__(self, compression: Compression, load: Callable[[str], Compressor] = compressors.load) -> None:
        self._load = load
        self._deadline = compression.deadline_ms / 1000
        self._worker = Worker(compression.workers, compression.queue)
        self._loaded: dict[str, Compressor] = {}

    async def prepare(self, body: bytes, policy: Policy) -> Prepared:
        """The body to send. Never raises; on any trouble it is the very bytes that came."""
        if policy.mode is Mode.OFF:
            return Prepared(body, Measured(Outcome.BYPASSED, "policy off", peek(body).model))
        started = perf_counter()
        gone = threading.Event()
        stages = Stages(lambda: not gone.is_set())
        work: Future[Prepared] | None = None
        deadline: asyncio.Timeout | None = None
        try:
            work = self._worker.submit(self._story, body, policy, stages)
            async with asyncio.timeout(self._deadline) as deadline:
                return await asyncio.wrap_future(work)
        except UnknownShape as error:
            outcome, reason = Outcome.UNTOUCHED, str(error)
        except Overloaded:
            outcome, reason = Outcome.FAILED_OPEN, "overloaded"
        except Exception as error:  # noqa: BLE001  whatever a compressor or a rule does, the request goes on
            late = deadline is not None and deadline.expired()
            outcome, reason = Outcome.FAILED_OPEN, "deadline" if late else f"error: {type(error).__name__}"
            # The message may quote the prompt: the type and the places are enough to find the fault.
            if not late:
                log.error("compression failed: %s\n%s", reason, "".join(traceback.format_tb(error.__traceback__)))
        finally:
            gone.set()
            if work is not None:
                work.cancel()
        spent = (perf_counter() - started) * 1000
        return Prepared(body, Measured(outcome, reason, peek(body).model, stages=(("failed", spent),)))

    def _story(self, body: bytes, policy: Policy, stages: Stages) -> Prepared:
        stages.lap("queue")
        result = shorten(body, policy, self.load, stages)
        measured = result.measured
        if policy.mode is Mode.AUDIT and measured.outcome is Outcome.COMPRESSED:
            measured = replace(measured, outcome=Outcome.AUDITED, reason="audit: the original was sent")
        compressed = measured.outcome is Outcome.COMPRESSED
        return Prepared(result.body if compressed else body, measured)

    def load(self, name: str) -> Compressor:
        """The compressor of this name, made once."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Why compressors of these names cannot run, one sentence each; nothing where all can."""
        problems = []
        for name in names:
            try:
                self.load(name)
            except (CompressionError, ImportError) as error:
                problems.append(f"{name}: {error}")
        return tuple(problems)

    def close(self) -> None:
        """Drops queued work and ends the threads."""
        self._worker.close()
