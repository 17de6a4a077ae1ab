"""Every candidate over every recorded request: what it saves, and how much of what matters it keeps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from time import monotonic, perf_counter

from compressors import Cancelled, CompressionError, Compressor, load
from compressors.cancel import watched
from policies.base import Mode
from proxy.loading import is_neural
from proxy.shorten import Shortened, Stages, shorten
from proxy.tune.candidates import Candidate
from proxy.tune.evidence import Mark, marks, survival
from proxy.tune.money import Rates, Saved
from proxy.tune.traffic import Recorded


@dataclass(frozen=True, slots=True)
class Tried:
    """`quality`: 0..1, of answers where a model was asked, else of evidence; `spread`: half of its 95 % interval where
    it is a mean of answers, None elsewhere."""

    candidate: Candidate
    saved: Saved
    quality: float
    spread: float | None = None


class OutOfTime(Exception):
    """The time for the sweep is over."""


class Sweep:
    """Tries candidates on the same requests, under the deadline that serving has. Where seconds cost money, nothing
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
        removed, seconds, there = [], [], []
        for request, found in zip(self.requests, self._marks, strict=True):
            if monotonic() > self._until:
                raise OutOfTime
            result, spent = self.shortened(candidate, request)
            measured = result.measured if result else None
            before, after = (measured.tokens_before, measured.tokens_after) if measured else (0, 0)
            removed.append((before or 0) - (after or 0))
            seconds.append(spent)
            there.append(survival(found, result.kept if result else {}))
            step()
        saved = self._rates.saved(self.requests, removed, seconds)
        return Tried(candidate, saved, sum(there) / len(there))

    def shortened(self, candidate: Candidate, request: Recorded) -> tuple[Shortened | None, float]:
        """The request under this candidate and the seconds that took; None where it would go as it came."""
        policy = candidate.policy
        if policy.mode is Mode.OFF:
            return None, 0.0
        for name in policy.compressors:
            self._load(name)
        started = perf_counter()
        try:
            whose = candidate.name.encode() if self._rates.usd_per_second else b""
            with watched(lambda: True, monotonic() + self._deadline, whose):
                result = shorten(request.body, policy, self._load, Stages())
        except Cancelled:
            return None, perf_counter() - started
        spent = perf_counter() - started
        return (result if spent <= self._deadline else None), spent


def _opened(name: str) -> Compressor:
    """Raises `CompressionError` where it cannot be had."""
    try:
        compressor = load(name)
        if is_neural(compressor):
            compressor.warm_up()
    except (ImportError, AttributeError) as error:
        raise CompressionError(f"{name} does not load: {error}") from None
    return compressor
