"""Whether anybody still waits for a result, for compressors that work long enough to ask.

The caller sets it around `compress`; a compressor asks between steps, and hands it on with work for another thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from compressors.base import Cancelled

_alive: ContextVar[Callable[[], bool]] = ContextVar("alive", default=lambda: True)


@contextmanager
def watched(alive: Callable[[], bool]) -> Iterator[None]:
    """Until the block ends, `check` on this thread raises once `alive()` is false."""
    token = _alive.set(alive)
    try:
        yield
    finally:
        _alive.reset(token)


def watcher() -> Callable[[], bool]:
    """The `alive` of the caller, to be asked on another thread."""
    return _alive.get()


def check() -> None:
    """Raises `Cancelled` where nobody waits any more."""
    if not _alive.get()():
        raise Cancelled("nobody waits for this result any more")
