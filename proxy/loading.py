"""Which compressors are there to be used: each made once, those that run a model only after they have warmed up.

Loading a model takes seconds to minutes, so no request waits for it: until a model has run once, whoever asks for its
compressor is told `Loading` and goes on without. One thread warms up one model after the other. A model that cannot be
loaded is tried again, when it is asked for, after a while. The same compressor with the same settings is the same one,
so that a reload loads nothing twice.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeGuard

import msgspec

import compressors
from compressors import CompressionError, Compressor, Kept, Neural, Task, Unavailable
from compressors.worker import Worker
from proxy.settings import Chosen

log = logging.getLogger("laconic.loading")

AGAIN_SECONDS = 60.0
QUEUE = 1000
_LOOK_SECONDS = 0.2

Make = Callable[[str, msgspec.Struct | None], Compressor]
Key = tuple[str, bytes]


class Loading(Unavailable):
    """The model is being loaded."""


@dataclass(slots=True)
class Entry:
    """A compressor and how it fares. `warming`: None for those without a model. `trouble`: why its last use failed."""

    compressor: Compressor
    warming: "Future[None] | None" = None
    ended: float = field(default_factory=monotonic)
    trouble: str = ""

    def state(self) -> str:
        """ "" where it can be used, else why not."""
        if self.warming is None:
            return ""
        if not self.warming.done():
            return "its model is being loaded"
        if self.warming.cancelled():
            return "shutting down"
        error = self.warming.exception()
        return "" if error is None else f"{error}" or type(error).__name__


@dataclass(frozen=True, slots=True)
class Watched:
    """A compressor whose failures for want of a model or a device are remembered until it works again."""

    name: str
    entry: Entry

    @property
    def compressor(self) -> Compressor:
        return self.entry.compressor

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        try:
            kept = self.entry.compressor.compress(tasks)
        except Unavailable as error:
            if not self.entry.trouble:  # once, not for every request
                log.warning("%s: %s; requests go on without", self.name, error)
            self.entry.trouble = str(error) or type(error).__name__
            raise
        if self.entry.trouble:
            self.entry.trouble = ""
            log.info("%s works again", self.name)
        return kept


class Compressors:
    """Makes compressors and warms them up. Safe in any thread."""

    def __init__(self, make: Make = compressors.load) -> None:
        self._make = make
        self._entries: dict[Key, Entry] = {}
        self._lock = threading.RLock()
        self._worker = Worker(1, QUEUE)
        self._closed = threading.Event()

    def get(self, name: str, chosen: Mapping[str, Chosen]) -> Watched:
        """The compressor that `name` stands for, if it can be used now.

        Raises `Loading`, `Unavailable`, or what making it raises.
        """
        entry = self._entry(name, chosen)
        if (warming := entry.warming) and (why := entry.state()):
            raise (Unavailable if warming.done() else Loading)(f"{name}: {why}")
        return Watched(name, entry)

    def obstacles(self, names: Iterable[str], chosen: Mapping[str, Chosen]) -> tuple[str, ...]:
        """Why compressors of these names cannot run now, one sentence each. Begins to load what is not loaded."""
        return tuple(f"{name}: {why}" for name in names if (why := self._state(name, chosen)))

    def troubles(self, names: Iterable[str], chosen: Mapping[str, Chosen]) -> tuple[str, ...]:
        """Which of them do without their model, or failed when last used: a breaker is open, a device is lost."""
        known = [(name, entry) for name in names if (entry := self._entries.get(key_of(name, chosen)))]
        lacking = [(name, why) for name, entry in known if (why := getattr(entry.compressor, "lacks", ""))]
        failed = [(name, f"when last used: {entry.trouble}") for name, entry in known if entry.trouble]
        return tuple(f"{name}: {why}" for name, why in lacking + failed)

    def settle(self, names: Iterable[str], chosen: Mapping[str, Chosen]) -> tuple[str, ...]:
        """`obstacles`, once all of them are loaded or have failed to. Returns early when closed."""
        names = tuple(names)
        self.obstacles(names, chosen)
        found = [self._entries.get(key_of(name, chosen)) for name in names]
        pending: set[Future[None]] = {entry.warming for entry in found if entry and entry.warming}
        while pending and not self._closed.is_set():
            pending = wait(pending, _LOOK_SECONDS).not_done
        return self.obstacles(names, chosen)

    def keep_only(self, names: Iterable[str], chosen: Mapping[str, Chosen]) -> None:
        """Lets go of the compressors that nobody calls for any more; those in use live until they are done."""
        wanted = {key_of(name, chosen) for name in names}
        with self._lock:
            self._entries = {key: entry for key, entry in self._entries.items() if key in wanted}

    def close(self) -> None:
        """Loads nothing more. What is being loaded is not waited for."""
        self._closed.set()
        self._worker.close()

    def _state(self, name: str, chosen: Mapping[str, Chosen]) -> str:
        try:
            return self._entry(name, chosen).state()
        except (CompressionError, ImportError, AttributeError) as error:
            return str(error)

    def _entry(self, name: str, chosen: Mapping[str, Chosen]) -> Entry:
        key = key_of(name, chosen)
        entry = self._entries.get(key)
        if entry is None or (entry.warming and self._stale(entry)):
            with self._lock:
                entry = self._entries.get(key) or self._made(key, chosen.get(name, Chosen(name)))
                if self._stale(entry):
                    self._warm(entry)
        return entry

    def _stale(self, entry: Entry) -> bool:
        warming = entry.warming
        if self._closed.is_set() or warming is None or not warming.done():
            return False
        return bool(warming.exception()) and monotonic() - entry.ended > AGAIN_SECONDS

    def _made(self, key: Key, one: Chosen) -> Entry:
        entry = self._entries[key] = Entry(self._make(one.use, one.settings))
        if is_neural(entry.compressor):
            self._warm(entry)
        return entry

    def _warm(self, entry: Entry) -> None:
        entry.warming = self._worker.submit(_warm_up, entry)
        entry.warming.add_done_callback(lambda _: _told(entry))


def is_neural(compressor: object) -> TypeGuard[Neural]:
    """`isinstance(compressor, Neural)`, which would read `version` and with it the whole model (Python 3.11)."""
    return callable(getattr(compressor, "warm_up", None))


def _warm_up(entry: Entry) -> None:
    assert is_neural(entry.compressor)
    try:
        entry.compressor.warm_up()
        _ = entry.compressor.version  # reads the whole model once: no request shall wait for that
    finally:
        entry.ended = monotonic()


def _told(entry: Entry) -> None:
    called = getattr(entry.compressor, "called", type(entry.compressor).__name__)
    if why := entry.state():
        log.warning("%s cannot be used: %s", called, why)
    else:
        log.info("%s is loaded", called)


def key_of(name: str, chosen: Mapping[str, Chosen]) -> Key:
    """The same for names that stand for the same compressor with the same settings."""
    one = chosen.get(name)
    if one is None or one.settings is None:
        return (one.use if one else name, b"")
    return one.use, msgspec.json.encode(one.settings)
