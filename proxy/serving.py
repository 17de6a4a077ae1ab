"""`laconic serve`: puts the parts together, says in one screen what it will do and what it will not, and runs."""

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import compressors
from compressors import tokenizers
from policies.base import Mode, Recovers
from proxy.access import exposed
from proxy.admin import Doors
from proxy.app import App
from proxy.check import Checked, check, unwritable
from proxy.chosen import runs_models
from proxy.config import ConfigError, Problem
from proxy.economy import Economy
from proxy.endpoints import Parts
from proxy.guard.shown import watch
from proxy.guard.store import open_store
from proxy.guard.watch import Guard
from proxy.ledger import LedgerError, open_ledger
from proxy.loading import Make
from proxy.meters import LogMeter, TelemetryError, telemetry
from proxy.pipeline import WORKERS, Pipeline
from proxy.pricing import Prices, parse_overrides
from proxy.quota import Quota
from proxy.recording import open_recorder
from proxy.reload import Current
from proxy.savings import Meter
from proxy.server import listen
from proxy.server import serve as run
from proxy.settings import Compression, Recording, Settings
from proxy.sketch import Sketch
from proxy.transport import Transport

log = logging.getLogger("laconic")

SEEN = ".seen"
KEYS = ".keys"
WORKERS_WITH_MODELS = 8
"""They mostly wait for the device, which computes what several of them bring in one go. For all processes together."""


Load = Callable[[], Settings]
Render = Callable[[], tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What a process that serves has in common with others. `admin`: the second listener, of one of them. `guard`,
    `quota`: the files of the quality guard's states and of what keys have used, None: in memory; `total` makes the
    metrics of all out of its own; `ready` is called once it can serve."""

    listener: socket.socket
    admin: socket.socket | None
    sketch: Sketch
    guard: str | None
    quota: str | None
    make: Make
    total: Callable[[Render], Render]
    ready: Callable[[], object]


def serve(settings: Settings, load: Load) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP calls `load` for new settings. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if why := exposed(settings):
        return refused(why)
    if settings.workers > 1:
        from proxy.workers.start import serve_together

        return serve_together(settings, load)
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listen(settings.host, settings.port))
            admin = admin_listener(settings, stack)
        except OSError as error:
            return refused(f"cannot listen on {places(settings)}: {error.strerror}")
        return serve_one(settings, load, alone(settings, listener, admin))


def admin_listener(settings: Settings, stack: ExitStack) -> socket.socket | None:
    """The second listener, None where there is to be none. It is closed with the stack. Raises `OSError`."""
    admin = settings.admin
    return None if admin.port is None else stack.enter_context(listen(admin.host, admin.port))


def alone(settings: Settings, listener: socket.socket, admin: socket.socket | None) -> Shared:
    """Of a process that has nothing in common with another."""
    said = partial(announce, settings)
    files = settings.ledger, settings.ledger and settings.ledger + KEYS
    return Shared(listener, admin, sketch(settings), *files, compressors.load, lambda own: own, said)


def places(settings: Settings) -> str:
    """Where it listens, in words."""
    admin = settings.admin
    beside = "" if admin.port is None else f" and {admin.host}:{admin.port}"
    return f"{settings.host}:{settings.port}{beside}"


def unexposed(new: Settings, host: str) -> Settings:
    """New settings, unless they open to all what listens on `host`. Raises `ConfigError`."""
    if why := exposed(replace(new, host=host)):
        raise ConfigError((Problem("configuration", None, "", why),))
    return new


def serve_one(settings: Settings, load: Load, shared: Shared) -> int:
    """One process's part; see `serve`."""
    economy = Economy(lambda: current.current())
    pipeline = Pipeline(threads(settings), sketch=shared.sketch, market=economy.market, make=shared.make)
    current = Current(settings, lambda: unexposed(load(), settings.host), pipeline.settle)
    with ExitStack() as stack:
        try:
            app = _app(current, pipeline, economy, shared, stack)
        except (LedgerError, TelemetryError) as error:
            return refused(str(error))
        warm_up(settings)
        shared.ready()
        pipeline.missing(settings)  # models are loaded from here on, not from the first request on
        run(app, shared.listener, settings.limits, lambda: _reload(current, pipeline), shared.admin)
    return 0


def warm_up(settings: Settings) -> None:
    """Loads the usual vocabulary, or the first request would wait for it; but not its 46 MB where nobody counts."""
    if any(settings.policies[route.policy].mode is not Mode.OFF for route in settings.routes):
        tokenizers.counter("o200k_base").count("")


def announce(settings: Settings) -> None:
    print("\n".join(screen(settings, check(lambda: settings))), file=sys.stderr, flush=True)


def _app(current: Current, pipeline: Pipeline, economy: Economy, shared: Shared, stack: ExitStack) -> App:
    """The app with its meters; what must be closed at the end goes onto the stack."""
    settings = current.current()
    told = telemetry(os.environ, current.current)
    stack.callback(told.close)
    meters: list[Meter] = [*told.meters, LogMeter(), economy]
    if settings.ledger is not None:
        ledger = open_ledger(settings.ledger)
        stack.callback(ledger.close)
        told.watch_ledger(lambda: ledger.dropped)
        meters.append(ledger)
    overrides = parse_overrides(settings.prices, [])
    prices = Prices(overrides, settings.compression.usd_per_second)
    if pipeline.cache is not None:
        told.watch_cache(pipeline.cache.stats)
    guard = Guard(open_store(shared.guard), current.current, overrides)
    watch(told.provider.get_meter("laconic"), guard)
    recorder = open_recorder(settings.recording)
    if recorder:
        stack.callback(recorder.close)
    quota = Quota(Path(shared.quota) if shared.quota else None)
    parts = Parts(current.current, pipeline, Transport(), meters, prices.money, guard, recorder, quota)
    told.watch_refusals(parts.under_way.refused.copy)
    return App(parts, shared.total(told.render_metrics), Doors.of(settings), settings.ledger)


def threads(settings: Settings) -> Compression:
    """The settings of compression, with a number of threads that suits what they will do where none is given."""
    waiting = max(WORKERS, -(-WORKERS_WITH_MODELS // settings.workers))
    workers = settings.compression.workers or (waiting if runs_models(settings) else None)
    return replace(settings.compression, workers=workers)


def sketch(settings: Settings) -> Sketch:
    """What was seen of texts, beside the ledger; in memory where there is none."""
    return Sketch(Path(settings.ledger + SEEN) if settings.ledger else None)


def _reload(current: Current, pipeline: Pipeline) -> None:
    """What nobody calls for any more is let go once the requests that began before are through with it."""
    current.reload()
    later = threading.Timer(pipeline.deadline, lambda: pipeline.keep_only(current.current()))
    later.daemon = True
    later.start()


def screen(settings: Settings, checked: Checked) -> list[str]:
    """What is said at the start."""
    base = f"http://{settings.host}:{settings.port}"
    return [
        f"Laconic listens on {base}",
        f"  export OPENAI_BASE_URL={base}/v1",
        *(
            [f"  {settings.workers} processes, which share one ledger and one copy of each model"]
            * (settings.workers > 1)
        ),
        "",
        *(f"  {line}" for line in checked.lines),
        *(f"  cannot run: {obstacle}" for obstacle in checked.obstacles),
        *(["  models are being loaded; until /readyz says ready, requests pass as they come"] * runs_models(settings)),
        *_recorded(settings.recording),
        "",
        "It will: shorten what the policy names in POST /v1/chat/completions, within "
        f"{settings.compression.deadline_ms:g} ms; send the original",
        "  when anything fails; pass every other path through as bytes; count tokens and estimate savings.",
        *_guarded(settings),
        f"It will not: touch instructions, questions, tool calls or schemas; rewrite or summarise; {_keep(settings)};",
        f"  change answers{_but(settings)}; follow redirects; send anything to anybody but the upstream.",
        f"  {base}/healthz  /readyz{_shown(settings)}    stop: Ctrl-C or SIGTERM    reload the configuration: SIGHUP",
    ]


def _shown(settings: Settings) -> str:
    """Where metrics and reports are."""
    admin, pages = settings.admin, "  /metrics  /report"
    if admin.port is not None:
        return f"    {admin.host}:{admin.port}{pages}"
    return pages if Doors.of(settings).refusal({"headers": []}, bool(settings.keys)) is None or admin.key_hash else ""


def _guarded(settings: Settings) -> list[str]:
    return [
        f"  compare answers on route {name}: {terms.share:.3g} of what is shortened is sent as it came, too, twice, "
        f"for up to ${terms.usd_per_day:g} a day;"
        for name, terms in settings.guards.items()
    ]


def _recorded(recording: Recording) -> list[str]:
    if recording.path is None or unwritable("recording", recording.path):  # which is said among what cannot run
        return []
    how = "redacted, but for names" if recording.redact else "NOT redacted"
    share = f"{recording.share:.0%} of chat requests"
    return [f"  recording: {share}, {how}, up to {recording.max_mb} MB, are kept in {recording.path}"]


def _keep(settings: Settings) -> str:
    return "log prompts" if settings.recording.path else "keep or log prompts"


def _but(settings: Settings) -> str:
    used = {route.policy for route in settings.routes}
    recovers = [n for n, p in settings.policies.items() if n in used and isinstance(p, Recovers) and p.recover]
    return f", but for cut names, dates and numbers under {', '.join(recovers)}" if recovers else ""


def refused(problem: str) -> int:
    print(f"laconic: {problem}", file=sys.stderr)
    return 2
