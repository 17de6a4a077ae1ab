"""`/metrics` of several processes: whoever is asked answers for all.

Each process writes what it has counted into a file of its own whenever anybody asks for metrics, and whoever was asked
adds the files up. What was once shown is in a file, so no total goes back where a process dies: it keeps counting with
what it had counted when metrics were last asked for. Gauges of a process count while it lives.
"""

import logging
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy.serving import Render

PATIENCE_SECONDS = 1.0
"""For a process that does not answer; what it wrote last counts then."""
_PAUSE_SECONDS = 0.1
_SAME = frozenset(("laconic_guard_level",))
"""Gauges of what all processes share: each shows the same."""
_ADDED = frozenset(("counter", "histogram", "summary"))

log = logging.getLogger("laconic.metrics")


class Totals:
    """`folder`: of these processes only. `own`: what this one has counted, and the type of that text."""

    def __init__(self, folder: Path, name: str, own: Render) -> None:
        """`name`: no other process has it or had it. Raises `OSError`."""
        self._folder = folder
        self._name = name
        self._own = own
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        place = folder / f"{name}.bound"
        self._listener.bind(str(place))
        self._listener.listen(64)
        place.rename(place.with_suffix(".sock"))  # now: one that nobody listens at is taken for that of a dead process
        threading.Thread(target=self._answer, name="laconic-metrics", daemon=True).start()

    def render(self) -> tuple[bytes, str]:
        """The totals, and the type of the text. Waits for the others: not for the event loop."""
        text, kind = self._written()
        living = {place.stem for place in self._folder.glob("*.sock") if place.stem != self._name and _asked(place)}
        told = []
        for place in self._folder.glob("*.prom"):
            if place.stem != self._name:
                with suppress(OSError):
                    told.append(_Told(place.read_text("utf-8"), place.stem in living))
        return add_up(text.decode(), told), kind

    def close(self) -> None:
        """It answers no more."""
        self._listener.shutdown(socket.SHUT_RDWR)  # or the thread would go on waiting for somebody to ask
        self._listener.close()

    def _written(self) -> tuple[bytes, str]:
        with self._lock:
            text, kind = self._own()
            new = self._folder / f"{self._name}.new"
            try:
                new.write_bytes(text)
                new.replace(new.with_suffix(".prom"))
            except OSError as error:
                log.warning("%s: metrics of the other processes may go back: %s", new, error.strerror or error)
            return text, kind

    def _answer(self) -> None:
        while True:
            try:
                with self._listener.accept()[0] as connection:
                    self._written()
                    connection.settimeout(PATIENCE_SECONDS)
                    connection.sendall(b"written")
            except OSError:
                if self._listener.fileno() < 0:
                    return
                sleep(_PAUSE_SECONDS)  # it has hung up, or there is no descriptor left


@dataclass(frozen=True, slots=True)
class _Told:
    text: str
    lives: bool


def _asked(place: Path) -> bool:
    """Whether the process that listens there has written what it counted."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.connect(str(place))
            return bool(connection.recv(16))
        except ConnectionRefusedError:
            place.unlink(missing_ok=True)  # it is dead
        except OSError:
            pass
        return False


@dataclass(frozen=True, slots=True)
class _Family:
    metric: Metric
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)

    def add(self, samples: Iterable[tuple[str, dict[str, str], float]]) -> None:
        for name, labels, value in samples:
            key = name, tuple(labels.items())
            self.values[key] = self.values.get(key, 0.0) + value

    def whole(self) -> Metric:
        for (name, labels), value in self.values.items():
            self.metric.add_sample(name, dict(labels), value)
        return self.metric


class _Families(dict[str, _Family]):
    """What `generate_latest` takes."""

    def collect(self) -> Iterator[Metric]:
        return (family.whole() for family in self.values())


def add_up(own: str, others: Sequence[_Told] = ()) -> bytes:
    """Counters and histograms of all, gauges of those that live; of what all share, our own gauge."""
    families = _Families()
    for told in (_Told(own, True), *others):
        for family in text_string_to_metric_families(told.text):
            left_out = not told.lives or (told.text is not own and family.name in _SAME)
            if family.type in _ADDED or not left_out:
                kept = families.setdefault(family.name, _Family(Metric(family.name, family.documentation, family.type)))
                kept.add((sample.name, sample.labels, sample.value) for sample in family.samples)
    return generate_latest(families)
