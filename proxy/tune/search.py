"""One knob after the other: each turned as far as the quality allows with those before it."""

from collections.abc import Callable, Sequence

from compressors import CompressionError
from proxy.tune.candidates import BASE, BLIND, Candidate, candidates, combined
from proxy.tune.sweep import OutOfTime, Sweep, Tried

Step = Callable[[], object]


class Search:
    """`tried`: all that were, in order; `missing`: why others could not be; `late`: the time was over before the end.
    `step` is called with the name of each candidate that begins and gives what is to be called after each request."""

    def __init__(self, sweep: Sweep, models: bool, step: Callable[[str], Step] = lambda _: lambda: None) -> None:
        self._sweep = sweep
        self._models = models
        self._step = step
        self.tried: list[Tried] = []
        self.missing: list[str] = []
        self.late = False

    def run(self, quality: float) -> None:
        """Tries the candidates to begin with; then puts their knobs together, the one that saves most first."""
        first = candidates(self._models)
        for candidate in first:
            self._try(candidate)
        turned: dict[str, list[Tried]] = {}
        for one in self.tried:
            turned.setdefault(one.candidate.knob, []).append(one)
        turned.pop("", None)
        chosen: list[Candidate] = []
        for options in sorted(turned.values(), key=lambda options: -_range(options)):
            if _range(options) > 0:
                chosen += self._farthest(chosen, options, quality)

    def _farthest(self, chosen: Sequence[Candidate], options: Sequence[Tried], quality: float) -> list[Candidate]:
        """The option that saves most and, with those chosen already, is of this quality; none where none is."""
        base = BASE if self._models else BLIND
        for option in sorted(options, key=lambda one: -one.saved.net):
            found = self._try(combined(base, [*chosen, option.candidate])) if chosen else option
            if found and found.quality >= quality:
                return [option.candidate]
        return []

    def _try(self, candidate: Candidate) -> Tried | None:
        if self.late:
            return None
        try:
            found = self._sweep.run(candidate, self._step(candidate.name))
        except OutOfTime:
            self.late = True
            return None
        except CompressionError as error:
            self.missing.append(f"{candidate.name}: {error}")
            return None
        self.tried.append(found)
        return found


def _range(options: Sequence[Tried]) -> float:
    """USD between the least and the most that a knob brings; gross, since seconds differ from run to run anyway."""
    gross = [one.saved.gross for one in options]
    return max(gross) - min(gross)
