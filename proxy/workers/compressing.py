"""The compressor process: it owns the models, and serves them to the workers over a socket.

One loop reads and writes; a bounded set of threads computes, so that what workers bring together is computed together,
as with threads of one process. A worker that hangs up is nobody who waits (`compressors.cancel`). A model lives as long
as the configuration calls for it or a worker holds a connection for it.
"""

import asyncio
import logging
import signal
import socket
import traceback
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from time import monotonic

import msgspec

import compressors
from compressors import CompressionError
from compressors.cancel import watched
from compressors.worker import Worker
from proxy.chosen import called_for
from proxy.loading import Compressors, Key, Loading, Watched, key_of
from proxy.settings import Chosen, Settings
from proxy.span_cache import Remembering, SpanCache
from proxy.workers.frames import LENGTH, BadFrame, Done, Open, Refused, State, Work, length, pack, question

LOOK_SECONDS = 0.05
KEPT_SECONDS = 60.0
"""That a model outlives the last connection for it: who was told that it is being loaded hangs up, and comes again."""
BUFFER = 2**20
QUEUE = 4
"""Times the places: jobs may wait whose worker has hung up and that have not noticed yet."""

log = logging.getLogger("laconic.compressing")


class Station:
    """`places`: how many jobs may run at once. `cache`: what was found before, for all workers."""

    def __init__(self, places: int, cache: SpanCache | None, held: Compressors) -> None:
        self._pool = Worker(places, QUEUE * places)
        self._cache = cache
        self._held = held
        self._called: dict[Key, Chosen] = {}
        self._open: Counter[Key] = Counter()
        self._left: dict[Key, float] = {}  # when the last connection for it ended
        self._known: dict[Key, Chosen] = {}

    def call_for(self, settings: Settings) -> None:
        """Begins to load what these settings call for, and lets go of what nobody wants any more."""
        names, chosen = called_for(settings), settings.compressors
        self._called = {key_of(name, chosen): chosen.get(name, Chosen(name)) for name in names}
        self._held.obstacles(names, chosen)
        self._let_go()

    async def answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection, until the worker ends it."""
        key: Key | None = None
        try:
            opening = question(await _read(reader))
            if not isinstance(opening, Open):
                raise BadFrame("a connection begins with what it is for")
            one = _chosen(opening)
            key = key_of(one.use, {one.use: one})
            self._open[key] += 1
            self._known[key] = one
            await _write(writer, await self._state(one, opening.wait, reader))
            while True:
                work = question(await _read(reader))
                if not isinstance(work, Work):
                    raise BadFrame("a connection is for one compressor")
                await _write(writer, await self._done(one, work, reader))
        except (IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the worker has hung up, or this process ends
        except BadFrame as error:
            log.warning("a worker cannot be understood: %s", error)
        finally:
            writer.close()
            if key is not None:
                self._open[key] -= 1
                self._left[key] = monotonic()
                asyncio.get_running_loop().call_later(KEPT_SECONDS, self._let_go)

    async def _state(self, one: Chosen, wait: bool, reader: StreamReader) -> State | Refused:
        while True:
            try:
                found = self._held.get(one.use, {one.use: one})
            except Loading as error:
                if not wait or reader.at_eof():
                    return _refused(error)
            except (CompressionError, ImportError, AttributeError) as error:
                return _refused(error)
            else:
                return State(_version(found), getattr(found.compressor, "lacks", ""))
            await asyncio.sleep(LOOK_SECONDS)

    async def _done(self, one: Chosen, work: Work, reader: StreamReader) -> bytes | Refused:
        until = inf if work.seconds is None else monotonic() + work.seconds
        try:
            found = self._held.get(one.use, {one.use: one})
            job = asyncio.wrap_future(self._pool.submit(self._compress, found, work, until, partial(_waits, reader)))
        except (CompressionError, ImportError, AttributeError) as error:
            return _refused(error)
        await asyncio.wait([job])
        failed = job.exception()
        return job.result() if failed is None else _refused(failed)

    def _compress(self, found: Watched, work: Work, until: float, alive: Callable[[], bool]) -> bytes:
        """A frame."""
        tasks = [asked.task() for asked in work.tasks]
        with watched(alive, until, work.whose):
            if self._cache is None:
                return pack(Done(tuple(found.compress(tasks))))
            whose = self._cache.digest(work.whose, _version(found).encode())
            return pack(Done(tuple(Remembering(found, self._cache, whose).compress(tasks))))

    def _let_go(self) -> None:
        self._open = +self._open
        since = monotonic() - KEPT_SECONDS
        self._left = {key: at for key, at in self._left.items() if at > since}
        self._known = {key: one for key, one in self._known.items() if key in self._open or key in self._left}
        wanted: Mapping[Key, Chosen] = self._called | self._known
        named = {f"{n}": one for n, one in enumerate(wanted.values())}
        self._held.keep_only(named, named)


def run(station: Station, listener: socket.socket, reload: Callable[[], None], ready: Callable[[], object]) -> None:
    """Serves until SIGTERM; `reload` is called for each SIGHUP."""
    asyncio.run(_run(station, listener, reload, ready))


async def _run(
    station: Station, listener: socket.socket, reload: Callable[[], None], ready: Callable[[], object]
) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    handlers: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGTERM: over.set,
        signal.SIGINT: over.set,
        signal.SIGHUP: reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
    server = await asyncio.start_unix_server(station.answer, sock=listener, limit=BUFFER)
    ready()
    await over.wait()
    server.close()


async def _read(reader: StreamReader) -> bytes:
    return await reader.readexactly(length(await reader.readexactly(LENGTH.size)))


async def _write(writer: StreamWriter, message: bytes | State | Refused) -> None:
    writer.write(message if isinstance(message, bytes) else pack(message))
    await writer.drain()


def _waits(reader: StreamReader) -> bool:
    return not reader.at_eof()


def _version(found: Watched) -> str:
    return str(getattr(found.compressor, "version", ""))


def _chosen(opening: Open) -> Chosen:
    """Raises `BadFrame`."""
    shape = compressors.settings_of(opening.use)
    if shape is None or not opening.settings:
        return Chosen(opening.use)
    try:
        return Chosen(opening.use, msgspec.json.decode(opening.settings, type=shape))
    except msgspec.DecodeError as error:
        raise BadFrame(f"settings of {opening.use}: {error}") from None


def _refused(error: BaseException) -> Refused:
    """Messages of others than our own errors may quote a prompt: the type and the places are enough."""
    if isinstance(error, CompressionError):
        return Refused(type(error).__name__, str(error))
    log.error("compression failed: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return Refused("CompressionError", type(error).__name__)
