"""One request's way through compression, within its deadline. The only place that fails open."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from time import monotonic, perf_counter

import compressors
from compressors import Cancelled, Compressor, Overloaded, Unavailable
from compressors.cancel import watched
from compressors.damage import Damage
from compressors.worker import Worker
from policies.base import Mode, Policy, Recovers
from policies.cachesafe import Market
from proxy.arm import BYPASS, assigned
from proxy.chosen import called_for
from proxy.loading import Compressors, Loading, Make, is_neural, key_of
from proxy.pace import Pace, Timed
from proxy.recognised import Recognised, Seen
from proxy.savings import QUEUE, Measured, Outcome
from proxy.settings import Chosen, Compression, Settings
from proxy.shorten import Abandoned, Examined, Shortened, Stages, shorten
from proxy.sketch import Sketch
from proxy.span_cache import Remembering, SpanCache
from proxy.wire import UnknownShape, peek

log = logging.getLogger("laconic.pipeline")

WORKERS = 2
REMEMBERED = frozenset(("lexical", "structured"))
"""Compressors without a model whose results are kept, too: looking them up takes a hundredth of the time."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What goes upstream, and what was found out on the way. `shortened`: where a shorter body goes, all about it;
    `damage`: what answers to it are to be recovered by, where the policy says so and they may be touched."""

    body: bytes
    measured: Measured
    shortened: Shortened | None = None
    damage: Damage | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """By whom and under which settings. `tenant` tells callers apart: their credentials, and where they came in.
    `compressors` are those of the settings that the request began with, `until` is when the deadline passes."""

    tenant: bytes = field(default=b"", repr=False)
    compressors: Mapping[str, Chosen] = field(default_factory=dict)
    until: float = inf
    route: str = ""


class Pipeline:
    """Runs bodies through their policies on a bounded set of threads. `load` stands in for the table of compressors;
    settings of their own then count for nothing. `sketch`: what was seen before; None: nothing, by nobody else.
    `market`: what input costs on a route for a model. `make`: how compressors are made, with their settings."""

    def __init__(
        self,
        compression: Compression,
        load: Callable[[str], Compressor] | None = None,
        sketch: Sketch | None = None,
        market: Callable[[str, str], Market] = lambda *_: Market(),
        make: Make = compressors.load,
    ) -> None:
        self._compressors = Compressors((lambda use, _: load(use)) if load else make)
        self.deadline = compression.deadline_ms / 1000  # seconds
        self._share = compression.bypass_share
        self._worker = Worker(compression.workers or WORKERS, compression.queue)
        self.cache = SpanCache(compression.cache_mb * 2**20) if compression.cache_mb else None
        self._pace = Pace()
        self._recognised = Recognised(sketch or Sketch(), self._pace)
        self._market = market

    async def prepare(self, body: bytes, policy: Policy, asked: Asked = Asked()) -> Prepared:
        """The body to send. Never raises; on any trouble it is the very bytes that came."""
        if policy.mode is Mode.OFF:
            return Prepared(body, Measured(Outcome.BYPASSED, "policy off", peek(body).model))
        started = perf_counter()
        gone = threading.Event()
        stages = Stages(lambda: not gone.is_set())
        work: Future[Prepared] | None = None
        deadline: asyncio.Timeout | None = None
        seen = Seen(self._recognised, policy.mode.encode() + asked.tenant, partial(self._market, asked.route))
        try:
            until = monotonic() + self.deadline
            if self._worker.seconds() > self.deadline:
                raise Overloaded("it would not be done in time")
            work = self._worker.submit(self._story, body, policy, stages, replace(asked, until=until), seen)
            async with asyncio.timeout(self.deadline) as deadline:
                prepared = await asyncio.wrap_future(work)
            _remember(seen, prepared.measured)
            return prepared
        except UnknownShape as error:
            outcome, reason = Outcome.UNTOUCHED, str(error)
        except Overloaded:
            outcome, reason = Outcome.FAILED_OPEN, "overloaded"
        except Loading:
            outcome, reason = Outcome.FAILED_OPEN, "model loading"
        except Unavailable:  # the log has told why, once, and /readyz tells
            outcome, reason = Outcome.FAILED_OPEN, "model unavailable"
        except Exception as error:  # noqa: BLE001  whatever a compressor or a rule does, the request goes on
            late = (deadline is not None and deadline.expired()) or isinstance(error, (Abandoned, Cancelled))
            outcome, reason = Outcome.FAILED_OPEN, "deadline" if late else f"error: {type(error).__name__}"
            # The message may quote the prompt: the type and the places are enough to find the fault.
            if not late:
                log.error("compression failed: %s\n%s", reason, "".join(traceback.format_tb(error.__traceback__)))
        finally:
            gone.set()
            if work is not None:
                work.cancel()
                work = None  # or a cycle: the traceback of its error holds this frame, and megabytes with it
        spent = (perf_counter() - started) * 1000
        failed = Measured(outcome, reason, peek(body).model, stages=(("failed", spent),))
        failed = self._placed(failed, policy, stages, asked)
        if outcome is Outcome.FAILED_OPEN and failed.arm != BYPASS:
            seen.failed(body)
        return Prepared(body, failed)

    def _story(self, body: bytes, policy: Policy, stages: Stages, asked: Asked, seen: Seen) -> Prepared:
        stages.lap(QUEUE)
        with watched(stages.alive, asked.until, asked.tenant):
            result = shorten(body, policy, lambda name: self._use(name, asked), stages, seen.settle)
        measured = self._placed(result.measured, policy, stages, asked)
        if measured.outcome is Outcome.COMPRESSED and (policy.mode is Mode.AUDIT or measured.arm == BYPASS):
            reason = "bypass arm" if measured.arm == BYPASS else "audit: the original was sent"
            measured = replace(measured, outcome=Outcome.AUDITED, reason=reason)
        compressed = measured.outcome is Outcome.COMPRESSED
        if not compressed:
            return Prepared(body, measured)
        if not (isinstance(policy, Recovers) and policy.recover and result.examined.request.prose):
            return Prepared(result.body, measured, result)
        damage = _damage(result)
        stages.lap("damage")
        return Prepared(result.body, replace(measured, stages=tuple(stages.laps)), result, damage)

    def _placed(self, measured: Measured, policy: Policy, stages: Stages, asked: Asked) -> Measured:
        """`measured` with its arm of the trial; what failed after its text was counted keeps the count."""
        examined = stages.examined
        if examined is None:
            return measured
        if measured.tokens_before is None:
            tokens = sum(segment.tokens for segment in examined.segments)
            found = (examined.request.model, examined.encoding, examined.estimated)
            measured = Measured(measured.outcome, measured.reason, *found, tokens, stages=measured.stages)
        share = self._share if policy.mode is Mode.ON and not _shared(examined) else 0
        return assigned(measured, examined.request, asked.tenant, share)

    def _use(self, name: str, asked: Asked) -> Compressor:
        """The compressor of this name, with what it found before where looking that up is quicker than finding it."""
        found = self._compressors.get(name, asked.compressors)
        use, settings = key_of(name, asked.compressors)
        timed = Timed(found, name, self._pace)
        if self.cache is None or not (is_neural(found.compressor) or use in REMEMBERED):
            return timed
        version = found.compressor.version if is_neural(found.compressor) else ""
        whose = self.cache.digest(asked.tenant, use.encode(), settings, version.encode())
        return Remembering(timed, self.cache, whose)

    def missing(self, settings: Settings) -> tuple[str, ...]:
        """Why compressors that a route can call for cannot run now, one sentence each. Begins to load their models."""
        return self._compressors.obstacles(called_for(settings), settings.compressors)

    def troubles(self, settings: Settings) -> tuple[str, ...]:
        """Which of them are loaded and have failed all the same when last used, one sentence each."""
        return self._compressors.troubles(called_for(settings), settings.compressors)

    def settle(self, settings: Settings) -> tuple[str, ...]:
        """`missing`, once every model has been loaded or has failed to. Waits: not for the event loop."""
        return self._compressors.settle(called_for(settings), settings.compressors)

    def keep_only(self, settings: Settings) -> None:
        """Lets go of compressors that no route of these settings calls for."""
        self._compressors.keep_only(called_for(settings), settings.compressors)

    def close(self) -> None:
        """Drops queued work and ends the threads."""
        self._worker.close()
        self._compressors.close()


def _shared(examined: Examined) -> bool:
    """Whether something may change in a text that other conversations bring, too. Those in the bypass arm would then be
    the only ones to bring it whole, find no cache, and look dear: such conversations are left out of the trial."""
    return any(s.may_change and s.role in ("system", "developer") for s in examined.segments)


def _remember(seen: Seen, measured: Measured) -> None:
    """How the texts left. An audit remembers, apart, how they would have; a conversation of the bypass arm, nothing."""
    if measured.arm != BYPASS:
        seen.left(measured.outcome in (Outcome.COMPRESSED, Outcome.AUDITED, Outcome.UNTOUCHED))


def _damage(result: Shortened) -> Damage:
    fields = result.examined.request.fields
    return Damage([(field.text, result.kept.get(n, ((0, len(field.text)),))) for n, field in enumerate(fields)])
