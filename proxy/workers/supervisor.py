"""The parent of several processes: starts them, replaces those that die, hands signals on, and outlives none of them.

It has one thread, holds no model and has no file open, so that `fork` copies nothing that cannot be copied: the others
share the memory of all modules that were imported before. Each child reads a pipe whose other end only the parent has:
it ends when the parent has died, however that came. Signals are blocked in a child until it can deal with them.
"""

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPS = (signal.SIGTERM, signal.SIGINT)
SOON_SECONDS = 5.0
"""Who lives shorter than this has died at once."""
LONGEST_SECONDS = 5.0
_FIRST_SECONDS = 0.1
_HELPER_SECONDS = 2.0

log = logging.getLogger("laconic.supervisor")


@dataclass(frozen=True, slots=True)
class Role:
    """What a child does: `run` is called in the child with what to call once it is ready, and gives its exit status.
    `orphaned` is called there, in a thread, when the parent is gone. `helper`: is ended after those that are none."""

    name: str
    run: Callable[[Callable[[], object]], int]
    orphaned: Callable[[], object]
    helper: bool = False


@dataclass(slots=True)
class _Place:
    role: Role
    pid: int = 0  # 0: nobody
    since: float = 0.0
    deaths: int = 0  # in a row, each soon after the start
    due: float = 0.0
    status: int = field(default=0)


class Supervisor:
    """`patience`: seconds that an end may take. `reload` is called for SIGHUP, before the children have it; `closing`
    when the end begins."""

    def __init__(
        self, roles: Sequence[Role], patience: float, reload: Callable[[], None], closing: Callable[[], None]
    ) -> None:
        self._places = [_Place(role) for role in roles]
        self.patience = patience
        self._reload = reload
        self._closing = closing
        self._lifeline = os.pipe()
        self._ready = os.pipe()
        self._woken = os.pipe()
        for end in (*self._woken, self._ready[0]):
            os.set_blocking(end, False)

    def run(self, announce: Callable[[], None]) -> int:
        """Until a signal to stop. Each is started once the one before is ready; then `announce` is called. The exit
        status: 0, or that of a child that ended before it was ready for the first time: then all end."""
        with self._listening():
            for place in tuple(self._places):  # a reload may add one
                stopped = self._first(place)
                if stopped is not None:
                    return stopped
            announce()
            while True:
                self._reap()  # before the wait: who told of a death may have been heard already
                for place in self._places:
                    if not place.pid and place.due <= monotonic():
                        self._start(place)
                for number in self._signals(self._next_due()):
                    if number in STOPS:
                        return self._stop(number)
                    self._reload()
                    self._tell(number)

    def add(self, role: Role) -> None:
        """Started once what is being dealt with has been."""
        self._places.insert(0, _Place(role))

    def _first(self, place: _Place) -> int | None:
        """None once it is ready, or the exit status of all."""
        self._start(place)
        while place.pid:
            for number in self._signals(None, self._ready[0]):
                if number in STOPS:
                    return self._stop(number)
                self._reload()
                self._tell(number)
            if self._is_ready():
                return None
            self._reap(quiet=True)
        self._stop(signal.SIGTERM)
        return place.status or 1

    def _is_ready(self) -> bool:
        """Whether a child has said so since this was asked last."""
        with suppress(BlockingIOError):
            return bool(os.read(self._ready[0], 4096))
        return False

    def _start(self, place: _Place) -> None:
        self._is_ready()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
        except OSError as error:
            log.error("%s cannot be started: %s", place.role.name, error.strerror)
            place.pid, place.due, place.status = 0, monotonic() + LONGEST_SECONDS, 1
        else:
            if not pid:
                self._be(place.role)
            place.pid, place.since = pid, monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _be(self, role: Role) -> NoReturn:
        """In the child. Nothing of the parent's runs here again, whatever happens."""
        status = 1
        try:
            os.setpgid(0, 0)  # or Ctrl-C would come from the terminal and from the parent: twice, which means at once
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for end in (self._lifeline[1], self._ready[0], *self._woken):
                os.close(end)
            threading.Thread(target=self._watch_parent, args=(role,), name="laconic-parent", daemon=True).start()
            status = role.run(lambda: bool(os.write(self._ready[1], b".")))
        finally:
            if sys.exc_info()[0] is not None:
                sys.excepthook(*sys.exc_info())
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _watch_parent(self, role: Role) -> None:
        os.read(self._lifeline[0], 1)  # nobody ever writes
        role.orphaned()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        numbers = (*SIGNALS, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        waker = signal.set_wakeup_fd(self._woken[1], warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in (*self._lifeline, *self._ready, *self._woken):
                os.close(end)

    def _signals(self, seconds: float | None, *others: int) -> list[signal.Signals]:
        """Those that came, once there are any; none after so many seconds, or once another descriptor can be read, or
        a child has died."""
        select.select([self._woken[0], *others], [], [], seconds)
        try:
            came = os.read(self._woken[0], 4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in came if number in SIGNALS]

    def _next_due(self) -> float | None:
        due = [place.due for place in self._places if not place.pid]
        return max(0.0, min(due) - monotonic()) if due else None

    def _tell(self, number: signal.Signals, helpers: bool = True) -> None:
        for place in self._places:
            if place.pid and (helpers or not place.role.helper):
                os.kill(place.pid, number)  # it is there until it is reaped

    def _reap(self, quiet: bool = False) -> None:
        for place in self._places:
            if place.pid and (ended := os.waitpid(place.pid, os.WNOHANG))[0]:
                place.status = os.waitstatus_to_exitcode(ended[1])
                lived = monotonic() - place.since
                place.deaths = place.deaths + 1 if lived < SOON_SECONDS else 0
                wait = min(LONGEST_SECONDS, _FIRST_SECONDS * 2 ** (place.deaths - 2)) if place.deaths > 1 else 0.0
                place.due = monotonic() + wait
                if not quiet:
                    how = _how(place.status)
                    log.error("%s (process %d) %s; started anew in %.1f s", place.role.name, place.pid, how, wait)
                place.pid = 0

    def _stop(self, number: signal.Signals) -> int:
        self._closing()
        until = monotonic() + self.patience
        self._tell(number, helpers=False)
        self._reap(quiet=True)
        while any(place.pid and not place.role.helper for place in self._places) and monotonic() < until:
            for again in self._signals(until - monotonic()):
                if again in STOPS:
                    self._tell(again, helpers=False)
            self._reap(quiet=True)
        self._tell(signal.SIGTERM)
        until = monotonic() + _HELPER_SECONDS
        while any(place.pid for place in self._places) and monotonic() < until:
            self._signals(until - monotonic())
            self._reap(quiet=True)
        for place in self._places:
            if place.pid:
                log.error("%s (process %d) did not end and was killed", place.role.name, place.pid)
                os.kill(place.pid, signal.SIGKILL)
                os.waitpid(place.pid, 0)
        return 0


def _how(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with {status}"
