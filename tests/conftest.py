"""Fixtures that more than one file needs: a fake provider, and the real app in front of it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import ModuleType

import pytest
from provider import Provider, provider

import compressors
from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.pipeline import Pipeline
from proxy.pricing import Prices
from proxy.savings import Savings
from proxy.server import running
from proxy.settings import Compression, Limits, Settings, Timeouts, Upstream


@dataclass
class Told:
    """A meter that keeps what it is told."""

    records: list[Savings] = field(default_factory=list)

    def one(self) -> Savings:
        """The only record. Waits for it: a client may have its answer before the meters have theirs."""
        deadline = time.monotonic() + 5
        while not self.records and time.monotonic() < deadline:
            time.sleep(0.005)
        (record,) = self.records
        return record

    def record(self, savings: Savings) -> None:
        self.records.append(savings)


Register = Callable[[str, object], None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Puts a compressor (whatever makes one) under a name into the table for one test."""

    def add(name: str, made: object) -> None:
        module = ModuleType(f"stand_in_{name}")
        module.Made = made  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(compressors.TABLE, name, f"{module.__name__}:Made")

    return add


@pytest.fixture
def fake() -> Iterator[Provider]:
    with provider() as it:
        yield it


@pytest.fixture
def told() -> Told:
    return Told()


UNDRAWN = Compression(bypass_share=0)
"""No conversation is drawn to bypass compression: a test must not hang on the draw of its text."""


@dataclass
class Service:
    """Starts the real app in threads; every start gives a base URL without a path."""

    told: Told
    stack: ExitStack

    def start(
        self, upstream: str, policy: str = "off", timeouts: Timeouts | None = None, limits: Limits | None = None
    ) -> str:
        """One route to one upstream, with the presets as policies."""
        destination = Upstream("fake", upstream, timeouts=timeouts or Timeouts())
        routes = (Route("default", "fake", policy),)
        settings = Settings({"fake": destination}, routes, PRESETS, limits=limits or Limits(), compression=UNDRAWN)
        pipeline = Pipeline(settings.compression)
        pipeline.settle(settings)  # every model loaded, as behind a load balancer that asks `/readyz`
        return self.start_with(settings, pipeline)

    def start_with(self, settings: Settings, pipeline: Pipeline | None = None) -> str:
        app = create_app(lambda: settings, pipeline or Pipeline(UNDRAWN), (self.told,), Prices().money)
        return self.stack.enter_context(running(app, settings.limits))


@pytest.fixture
def service(told: Told) -> Iterator[Service]:
    with ExitStack() as stack:
        yield Service(told, stack)
