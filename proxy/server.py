"""Runs the app: uvicorn on uvloop, a bounded drain on SIGTERM, a reload on SIGHUP."""

import asyncio
import ctypes
import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from proxy.admin import Beside
from proxy.app import App
from proxy.protocol import KEEP_ALIVE_SECONDS, Protocol, take_room
from proxy.settings import Limits

BACKLOG = 2048
START_SECONDS = 10
GC_THRESHOLDS = 20_000, 50, 1000
"""A prompt of 2 MB makes a million small tuples, which reference counting takes away again. At the usual thresholds the
collector walks all of them, again and again, and holds the interpreter for up to 130 ms each time."""


MALLOPT = (-3, 128 * 1024), (-8, 2)
"""M_MMAP_THRESHOLD, M_ARENA_MAX of glibc. Left to itself it keeps what large bodies took, for each thread apart: 2 MB
bodies made a process half as large again. With these the system has most of it back at once."""


def give_memory_back() -> None:
    """Where the C library can be told to."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for option in MALLOPT:
            library.mallopt(*option)


class Server(uvicorn.Server):
    """Turns `/readyz` red as soon as a signal to stop comes; then stops listening and lets open requests finish.

    A second SIGINT ends them. Signals are not raised again afterwards, so that the caller can still close its files.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: App,
        reload: Callable[[], object] | None,
        admin: socket.socket | None = None,
    ) -> None:
        super().__init__(config)
        self._app = app
        self._reload = reload
        self._admin = admin
        self._stopping = asyncio.Event()
        self.ready = threading.Event()

    def stop(self, force: bool = False) -> None:
        """For the event loop's own thread."""
        self._app.drain()
        self.config.timeout_graceful_shutdown = self._app.limits.drain_seconds  # type: ignore[assignment]  # as they are now
        self.force_exit = force and self._stopping.is_set()
        self._stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._admin is not None:
            await self.open_beside(self._app.beside, self._admin)
        self.ready.set()

    async def open_beside(self, app: Beside, listener: socket.socket) -> None:
        """Serves another app, on the same loop, for as long as this one is served."""
        config = _config(app, Limits())
        config.load()
        state = self.server_state  # the same, so that its open requests are drained, too
        self.servers.append(
            await self.loop.create_server(
                lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
                sock=listener,
                backlog=BACKLOG,
            )
        )

    async def main_loop(self) -> None:
        """Waits, where uvicorn would look around ten times a second."""
        await self._stopping.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: lambda: self.stop(force=True),
        }
        if self._reload is not None:
            reload = self._reload
            handlers[signal.SIGHUP] = lambda: loop.run_in_executor(None, reload)  # reads files: not on the loop
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)  # a supervisor starts its children with them blocked
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def serve(
    app: App,
    listener: socket.socket,
    limits: Limits,
    reload: Callable[[], object] | None = None,
    admin: socket.socket | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then up to `limits.drain_seconds` longer for what is open. `reload` is called, in
    a thread, for each SIGHUP. `admin`: a second listener, for metrics and reports."""
    take_room()
    give_memory_back()
    gc.collect()
    gc.freeze()  # modules and tables stay; looking at them again and again would stall requests for 20 ms
    gc.set_threshold(*GC_THRESHOLDS)
    Server(_config(app, limits), app, reload, admin).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


@contextmanager
def running(app: App, limits: Limits | None = None, admin: socket.socket | None = None) -> Iterator[str]:
    """Serves from a thread on a free local port while the block lasts. Gives the base URL, without a path."""
    listener = listen("127.0.0.1", 0)
    server = Server(_config(app, limits or Limits()), app, None, admin)
    thread = threading.Thread(target=server.run, args=([listener],), name="laconic-server", daemon=True)
    thread.start()
    server.ready.wait(START_SECONDS)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.loop.call_soon_threadsafe(server.stop)
        thread.join()


def _config(app: App | Beside, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=limits.drain_seconds,  # type: ignore[arg-type]  # a float will do
    )
