"""`laconic serve --workers N`: which processes there are, and what they share."""

import fcntl
import gc
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from proxy.chosen import runs_models
from proxy.config import ConfigError
from proxy.loading import Compressors
from proxy.pipeline import WORKERS
from proxy.reload import AT_START
from proxy.server import BACKLOG, give_memory_back, listen
from proxy.serving import (
    KEYS,
    Load,
    Render,
    Shared,
    admin_listener,
    announce,
    places,
    refused,
    serve_one,
    sketch,
    threads,
    unexposed,
    warm_up,
)
from proxy.settings import Settings
from proxy.span_cache import SpanCache
from proxy.workers.compressing import Station
from proxy.workers.compressing import run as run_station
from proxy.workers.remote import maker
from proxy.workers.supervisor import Role, Supervisor
from proxy.workers.totals import Totals

SPARE_SECONDS = 10.0
"""Beyond the drain, for a worker to write out what it holds."""
_INSTANCE = "OTEL_RESOURCE_ATTRIBUTES"


def serve_together(settings: Settings, load: Load) -> int:
    """As `proxy.serving.serve`, in `settings.workers` processes beside this one, which serves nothing itself."""
    with ExitStack() as stack:
        try:
            listeners = listen_often(settings.host, settings.port, settings.workers)
            admin = admin_listener(settings, stack)
        except OSError as error:
            return refused(f"cannot listen on {places(settings)}: {error.strerror}")
        return _serve(settings, load, listeners, admin)


def _serve(settings: Settings, load: Load, listeners: list[socket.socket], admin: socket.socket | None) -> int:
    try:
        folder = Path(tempfile.mkdtemp(prefix="laconic-"))  # nobody else may enter it
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)  # or what tidies up old temporary files removes it
        together = Together(settings, load, listeners, admin, folder)
    except OSError as error:
        return refused(f"several processes need a folder for temporary files: {error.strerror or error}")
    try:
        return together.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Together:
    """What the parent holds. Its methods with `ready` run in the children."""

    def __init__(
        self,
        settings: Settings,
        load: Load,
        listeners: list[socket.socket],
        admin: socket.socket | None,
        folder: Path,
    ) -> None:
        self._started = self._settings = settings
        self._load = load
        self._listeners = listeners
        self._admin = admin  # the first worker's, for all
        self._folder = folder
        self._sketch = sketch(settings)  # mapped memory: the same in every child
        self._address = folder / "compressors.sock"
        self._station = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._station.bind(str(self._address))
        self._station.listen(BACKLOG)
        self._compressor = Role("the compressor process", self._compress, self._end, helper=True)
        self._has_compressor = runs_models(settings)
        workers = [Role(f"worker {n}", partial(self._work, n), self._drain) for n in range(settings.workers)]
        roles = [self._compressor] * self._has_compressor + workers
        patience = settings.limits.drain_seconds + SPARE_SECONDS
        self._supervisor = Supervisor(roles, patience, self._reload, self._close)

    def run(self) -> int:
        warm_up(self._started)  # before the children are made, so that they share it
        gc.collect()
        gc.freeze()  # a collection in a child would write to, and so copy, every page of what is shared
        port = self._listeners[0].getsockname()[1]
        return self._supervisor.run(lambda: announce(replace(self._started, port=port)))

    def _reload(self) -> None:
        """Those that are started from now on begin with what the others, too, read anew."""
        try:
            new = unexposed(self._load(), self._started.host)
        except ConfigError:  # the workers say so
            return
        self._settings = replace(new, **{name: getattr(self._started, name) for name in AT_START})
        self._supervisor.patience = new.limits.drain_seconds + SPARE_SECONDS
        if not self._has_compressor and runs_models(new):
            self._has_compressor = True
            self._supervisor.add(self._compressor)

    def _close(self) -> None:
        for listener in (*self._listeners, self._admin):
            if listener:
                listener.close()

    def _work(self, n: int, ready: Callable[[], object]) -> int:
        for listener in (*self._listeners[:n], *self._listeners[n + 1 :], self._station):
            listener.close()
        admin = self._admin if n == 0 else None
        if self._admin and not admin:
            self._admin.close()
        _be_an_instance()
        self._folder.mkdir(0o700, exist_ok=True)  # whoever removed it, this worker must be able to start
        guard = self._settings.ledger or str(self._folder / "guard.sqlite3")
        files = guard, (self._settings.ledger or str(self._folder / "ledger")) + KEYS
        given = self._sketch, *files, maker(self._address), self._total(n), ready
        shared = Shared(self._listeners[n], admin, *given)
        return serve_one(self._settings, self._load, shared)

    def _total(self, n: int) -> Callable[[Render], Render]:
        return lambda own: Totals(self._folder, f"{n}-{os.getpid()}", own).render

    def _compress(self, ready: Callable[[], object]) -> int:
        self._close()
        give_memory_back()
        compression = threads(self._settings)
        places = self._settings.workers * (compression.workers or WORKERS)
        cache = SpanCache(compression.cache_mb * 2**20) if compression.cache_mb else None
        station = Station(places, cache, Compressors())
        station.call_for(self._settings)

        def reload() -> None:
            self._reload()
            station.call_for(self._settings)

        run_station(station, self._station, reload, ready)
        return 0

    def _drain(self) -> None:
        """In a worker whose parent is gone: what is open may end."""
        shutil.rmtree(self._folder, ignore_errors=True)
        last = threading.Timer(self._started.limits.drain_seconds + SPARE_SECONDS, os._exit, (1,))
        last.daemon = True
        last.start()
        os.kill(os.getpid(), signal.SIGTERM)

    def _end(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(1)


def listen_often(host: str, port: int, times: int) -> list[socket.socket]:
    """Bound sockets of one address, among which the system deals out connections; port 0 takes a free one. Raises
    `OSError`, also where another service of this user shares its port in the same way."""
    with listen(host, port) as alone:
        port = alone.getsockname()[1]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return [socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) for _ in range(times)]


def _be_an_instance() -> None:
    """To a collector of telemetry, each process is one: counters of the same instance would overwrite each other."""
    said = os.environ.get(_INSTANCE, "")
    if "service.instance.id=" not in said:
        own = f"service.instance.id={os.uname().nodename}-{os.getpid()}"
        os.environ[_INSTANCE] = f"{said},{own}" if said else own
