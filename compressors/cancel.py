"""What a compressor may know of who waits for its result: whether anybody does, until when, and on whose behalf.

The caller sets it around `compress`; a compressor asks between steps, and hands it on with work for another thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic

from compressors.base import Cancelled

_alive: ContextVar[Callable[[], bool]] = ContextVar("alive", default=lambda: True)
_until: ContextVar[float] = ContextVar("until", default=inf)
_whose: ContextVar[bytes] = ContextVar("whose", default=b"")


@contextmanager
def watched(alive: Callable[[], bool], until: float = inf, whose: bytes = b"") -> Iterator[None]:
    """Until the block ends, `check` on this thread raises once `alive()` is false. `until`: when the result is no
    longer of use, by `time.monotonic`. `whose`: tells callers apart who must not notice each other."""
    before = _alive.set(alive), _until.set(until), _whose.set(whose)
    try:
        yield
    finally:
        _alive.reset(before[0])
        _until.reset(before[1])
        _whose.reset(before[2])


@contextmanager
def within(share: float) -> Iterator[None]:
    """Until the block ends, `remaining` tells of no more than this share of the time that is left."""
    before = _until.set(monotonic() + share * remaining())
    try:
        yield
    finally:
        _until.reset(before)


def watcher() -> Callable[[], bool]:
    """The `alive` of the caller, to be asked on another thread."""
    return _alive.get()


def check() -> None:
    """Raises `Cancelled` where nobody waits any more."""
    if not _alive.get()():
        raise Cancelled("nobody waits for this result any more")


def remaining() -> float:
    """Seconds until the result is no longer of use; infinite where nobody has said."""
    return _until.get() - monotonic()


def whose() -> bytes:
    """For whom the work is done; results of one must not show in the time that another waits."""
    return _whose.get()
