"""Runs the app: uvicorn on uvloop, a bounded drain on SIGTERM, a reload on SIGHUP."""

import asyncio
import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from proxy.app import App
from proxy.errors import AmbiguousRequest, HeadersTooLarge, LaconicError
from proxy.settings import Limits
from proxy.strict import StrictProtocol

BACKLOG = 2048
START_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none is closed just as a request goes out on it."""
HEAD_BOUND = 1024 * 1024
"""Bytes of headers that are read at all; the configured limit is checked once they are complete."""
GC_THRESHOLDS = 20_000, 50, 1000
"""A prompt of 2 MB makes a million small tuples, which reference counting takes away again. At the usual thresholds the
collector walks all of them, again and again, and holds the interpreter for up to 130 ms each time."""


class Protocol(StrictProtocol):
    """uvicorn's, with a bound on headers that do not end, and errors in OpenAI's shape."""

    head_bytes = 0  # or of trailers, or of what stands beside the sizes of chunks

    def on_message_begin(self) -> None:
        self.head_bytes = 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self.head_bytes = 0
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.head_bytes += len(data)
        if self.head_bytes > HEAD_BOUND and not self.transport.is_closing():
            self._refuse(HeadersTooLarge(f"the headers take more than {HEAD_BOUND} bytes"))

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(AmbiguousRequest("the request is not well-formed HTTP/1.1"))

    def _refuse(self, error: LaconicError) -> None:
        if self.finish_first():
            return
        body = error.body()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(STATUS_LINE[error.status] + head + body)
        self.transport.close()


class Server(uvicorn.Server):
    """Turns `/readyz` red as soon as a signal to stop comes; then stops listening and lets open requests finish.

    A second SIGINT ends them. Signals are not raised again afterwards, so that the caller can still close its files.
    """

    def __init__(self, config: uvicorn.Config, app: App, reload: Callable[[], object] | None) -> None:
        super().__init__(config)
        self._app = app
        self._reload = reload
        self._stopping = asyncio.Event()
        self.ready = threading.Event()

    def stop(self, force: bool = False) -> None:
        """For the event loop's own thread."""
        self._app.drain()
        self.force_exit = force and self._stopping.is_set()
        self._stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

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
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


def serve(app: App, listener: socket.socket, limits: Limits, reload: Callable[[], object] | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then up to `limits.drain_seconds` longer for what is open. `reload` is called, in
    a thread, for each SIGHUP."""
    gc.collect()
    gc.freeze()  # modules and tables stay; looking at them again and again would stall requests for 20 ms
    gc.set_threshold(*GC_THRESHOLDS)
    Server(_config(app, limits), app, reload).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


@contextmanager
def running(app: App, limits: Limits | None = None) -> Iterator[str]:
    """Serves from a thread on a free local port while the block lasts. Gives the base URL, without a path."""
    listener = listen("127.0.0.1", 0)
    server = Server(_config(app, limits or Limits()), app, None)
    thread = threading.Thread(target=server.run, args=([listener],), name="laconic-server", daemon=True)
    thread.start()
    server.ready.wait(START_SECONDS)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.loop.call_soon_threadsafe(server.stop)
        thread.join()


def _config(app: App, limits: Limits) -> uvicorn.Config:
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
