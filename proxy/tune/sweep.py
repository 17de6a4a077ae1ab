"""Every candidate over every recorded request: what it saves, and how much of what matters it keeps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from time import monotonic, perf_counter

from compressors import Cancelled, CompressionError, Compressor, load
from compressors.cancel import watched
from policies.base import Mode
from policies.cachesafe import Market
from policies.rules import RulePolicy
from proxy.loading import is_neural
from proxy.pace import Pace, Timed
from proxy.recognised import Recognised, Seen
from proxy.savings import Outcome
from proxy.shorten import Shortened, Stages, shorten
from proxy.sketch import Sketch
from proxy.tune.candidates import Candidate
from proxy.tune.evidence import Mark, marks, survival
from proxy.tune.money import Rates, Saved
from proxy.tune.traffic import Recorded


@dataclass(frozen=True, slots=True)
class Tried:
    """`quality`: 0..1, of answers where a model was asked, else of evidence; `spread`: half of its 95 % interval where
    it is a mean of answers, None elsewhere; `late`: so many requests were past the deadline and count as sent whole."""

    candidate: Candidate
    saved: Saved
    quality: float
    spread: float | None = None
    late: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one request: `result` None where it would go as it came; `late`: since the deadline was over."""

    result: Shortened | None
    seconds: float
    late: bool = False


class OutOfTime(Exception):
    """The time for the sweep is over."""


class Sweep:
    """Tries candidates on the same requests, under the deadline that serving has, and with what serving would remember
    of those before: a text that others ask of, too, goes whole. Where seconds cost money, nothing
    that a model has read for one candidate is there for the next, as if each were served alone."""

    def __init__(self, requests: Sequence[Recorded], rates: Rates, deadline: float, until: float) -> None:
        """`deadline` in seconds for one request; `until` by `time.monotonic` for all of it."""
        self.requests = requests
        self._rates = rates
        self._deadline = deadline
        self._until = until
        self._marks: list[tuple[Mark, ...]] = [marks(request.examined.segments) for request in requests]
        self._load = cache(_opened)

    def run(self, candidate: Candidate, step: Callable[[], object] = lambda: None) -> Tried:
        """`step` is called after each request. Raises `OutOfTime`, and `CompressionError` where it cannot run here."""
        removed, seconds, there, late = [], [], [], 0
        served = self.served(candidate)
        for found in self._marks:
            if monotonic() > self._until:
                raise OutOfTime
            sent = next(served)
            measured = sent.result.measured if sent.result else None
            before, after = (measured.tokens_before, measured.tokens_after) if measured else (0, 0)
            removed.append((before or 0) - (after or 0))
            seconds.append(sent.seconds)
            there.append(survival(found, sent.result.kept if sent.result else {}))
            late += sent.late
            step()
        saved = self._rates.saved(self.requests, removed, seconds)
        return Tried(candidate, saved, sum(there) / len(there), late=late)

    def served(self, candidate: Candidate) -> Iterator[Sent]:
        """The requests in their order, as one proxy with this policy would send them. Callers are not told apart."""
        policy, pace = candidate.policy, Pace()
        if policy.mode is Mode.OFF:
            yield from (Sent(None, 0.0) for _ in self.requests)
            return
        for name in policy.compressors:
            self._load(name)
        clock = _Clock()
        recognised = Recognised(Sketch(now=clock), pace)
        whose = candidate.name.encode() if self._rates.usd_per_second else b""
        for request, market in zip(self.requests, self._rates.markets, strict=True):
            clock.at = request.at
            seen = Seen(recognised, request.route.encode(), _always(market))
            sent = self._sent(request, policy, seen, (pace, whose))
            seen.left(sent.result is not None and sent.result.measured.outcome is Outcome.COMPRESSED)
            yield sent

    def _sent(self, request: Recorded, policy: RulePolicy, seen: Seen, how: tuple[Pace, bytes]) -> Sent:
        pace, whose = how
        started = perf_counter()
        try:
            with watched(lambda: True, monotonic() + self._deadline, whose):
                result = shorten(
                    request.body, policy, lambda name: Timed(self._load(name), name, pace), Stages(), seen.settle
                )
        except Cancelled:
            return Sent(None, perf_counter() - started, True)
        spent = perf_counter() - started
        late = spent > self._deadline
        return Sent(None if late else result, spent, late)


@dataclass(slots=True)
class _Clock:
    """Stands where the requests do, not where this run does."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def _always(market: Market) -> Callable[[str], Market]:
    return lambda _: market


def _opened(name: str) -> Compressor:
    """Raises `CompressionError` where it cannot be had."""
    try:
        compressor = load(name)
        if is_neural(compressor):
            compressor.warm_up()
    except (ImportError, AttributeError) as error:
        raise CompressionError(f"{name} does not load: {error}") from None
    return compressor
