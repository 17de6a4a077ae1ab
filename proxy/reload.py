"""The settings in force, and how new ones take their place without a request noticing."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.config import ConfigError, Problem
from proxy.settings import Settings

log = logging.getLogger("laconic.reload")

AT_START = ("host", "port", "workers", "admin", "compression", "ledger", "prices", "recording")
"""Settings that are read once, when the server starts."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a reload. `problems`: why the old settings stay in force, nothing where the new ones are;
    `waiting`: settings that have changed and count from the next start only."""

    settings: Settings
    problems: tuple[Problem, ...] = ()
    waiting: tuple[str, ...] = ()


class Current:
    """Holds the settings in force. A request that asks once sees one version of them to its end, since settings never
    change and a reload only puts others in their place."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        settle: Callable[[Settings], Sequence[str]] = lambda _: (),
    ) -> None:
        """`settle` loads the models that settings call for, waits, and says which cannot be had."""
        self._started = self._settings = settings
        self._load = load
        self._settle = settle
        self._lock = threading.Lock()  # of two reloads, the one that read the file later must win

    def current(self) -> Settings:
        return self._settings

    def reload(self) -> Reloaded:
        """Loads anew. Settings with problems change nothing; what is wrong is logged. Nor do settings that call for a
        model that cannot be loaded, unless the old ones did so too. Safe in any thread; waits for the models."""
        with self._lock:
            try:
                new = self._load()
            except ConfigError as error:
                for problem in error.problems:
                    log.error("not reloaded: %s", problem)
                return Reloaded(self._settings, error.problems)
            if missing := self._newly_missing(new):
                for lacking in missing:
                    log.error("not reloaded: %s", lacking)
                return Reloaded(self._settings, tuple(Problem("models", None, "", lacking) for lacking in missing))
            waiting = tuple(name for name in AT_START if getattr(new, name) != getattr(self._started, name))
            self._settings = new
        log.info("reloaded: %d routes, %d policies", len(new.routes), len(new.policies))
        for name in waiting:
            log.warning("the new value of %s counts from the next start", name)
        return Reloaded(new, (), waiting)

    def _newly_missing(self, new: Settings) -> list[str]:
        """What the new settings call for and cannot have, the old ones apart: a model that was not there before must
        not keep an operator from changing something else. Loaded before they count, so that no request goes without."""
        missing = self._settle(new)
        known = set(self._settle(self._settings)) if missing else set()
        return [problem for problem in missing if problem not in known]
