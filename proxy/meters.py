"""Who is told of a record besides the ledger: a log line, and OpenTelemetry as the standard variables ask for it.

Metrics are always kept, for `/metrics`. Metrics, spans and events go to a collector where `OTEL_EXPORTER_OTLP_ENDPOINT`
(or the variable of one signal) says so; exporters work in threads of their own. Nothing is sent anywhere else.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import msgspec
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from proxy.genai import EventMeter, MetricsMeter, SpanMeter
from proxy.ledger import plain
from proxy.savings import Meter, Savings, Usage
from proxy.settings import Settings
from proxy.span_cache import Stats

_EXPORTERS = {
    "TRACES": ("trace_exporter", "OTLPSpanExporter"),
    "METRICS": ("metric_exporter", "OTLPMetricExporter"),
    "LOGS": ("_log_exporter", "OTLPLogExporter"),
}
_PACKAGE = "opentelemetry.exporter.otlp.proto.http"

log = logging.getLogger("laconic.request")


class LogMeter:
    """One line of JSON a request on the logger `laconic.request`, at INFO."""

    def record(self, savings: Savings) -> None:
        if log.isEnabledFor(logging.INFO):
            log.info("%s", _line(savings))


class TelemetryError(Exception):
    """The OTEL_ variables ask for something that cannot be done; the message says which and what can."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A meter that tells its `meters`. `registry` holds what `/metrics` shows; `ends` end the providers."""

    meters: tuple[Meter, ...]
    registry: CollectorRegistry
    provider: MeterProvider
    ends: tuple[Callable[[], object], ...]

    def record(self, savings: Savings) -> None:
        for meter in self.meters:
            meter.record(savings)

    def render_metrics(self) -> tuple[bytes, str]:
        """The text of `/metrics` and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def watch_ledger(self, dropped: Callable[[], int]) -> None:
        """Shows how many records the ledger could not keep."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(dropped())

        self.provider.get_meter("laconic").create_observable_counter(
            "laconic.ledger.dropped", [observe], "{request}", "Requests that are missing from the ledger"
        )

    def watch_refusals(self, refused: Callable[[], Mapping[str, int]]) -> None:
        """Shows how many requests were answered with an error of ours, by its code."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(count, {"laconic.code": code}) for code, count in refused().items()]

        self.provider.get_meter("laconic").create_observable_counter(
            "laconic.refusals", [observe], "{request}", "Requests that Laconic answered with an error of its own"
        )

    def watch_cache(self, stats: Callable[[], Stats]) -> None:
        """Shows what the cache of spans holds and how often it helped."""
        meter = self.provider.get_meter("laconic")

        def looks(_: CallbackOptions) -> Iterable[Observation]:
            now = stats()
            yield Observation(now.hits, {"laconic.found": "hit"})
            yield Observation(now.misses, {"laconic.found": "miss"})

        def size(_: CallbackOptions) -> Iterable[Observation]:
            yield Observation(stats().bytes)

        meter.create_observable_counter("laconic.cache.lookups", [looks], "{lookup}", "Texts looked up in the cache")
        meter.create_observable_gauge("laconic.cache.size", [size], "By", "Memory that the cache of spans takes")

    def close(self) -> None:
        """Sends what is waiting, for as long as the exporters' own time limits allow."""
        for end in self.ends:
            end()


def telemetry(environ: Mapping[str, str], current: Callable[[], Settings]) -> Telemetry:
    """Metrics always, the rest as `environ` asks. `environ` is to be the process's own: the exporters read that.

    Raises `TelemetryError`."""
    resource = _resource(environ)
    registry = CollectorRegistry()
    readers: list[MetricReader] = [
        PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
    ]
    if _wanted("METRICS", environ):
        readers.append(PeriodicExportingMetricReader(_exporter("METRICS")))
    provider = MeterProvider(readers, resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False)
    meters: list[Meter] = [MetricsMeter(provider.get_meter("laconic"), current)]
    ends: list[Callable[[], object]] = [provider.shutdown]
    if _wanted("TRACES", environ):
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(_exporter("TRACES")))
        meters.append(SpanMeter(tracers.get_tracer("laconic"), current))
        ends.append(tracers.shutdown)
    if _wanted("LOGS", environ):
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        loggers = LoggerProvider(resource, shutdown_on_exit=False)
        loggers.add_log_record_processor(BatchLogRecordProcessor(_exporter("LOGS")))
        meters.append(EventMeter(loggers.get_logger("laconic"), current))
        ends.append(loggers.shutdown)
    return Telemetry(tuple(meters), registry, provider, tuple(ends))


def _resource(environ: Mapping[str, str]) -> Resource:
    own = {"service.version": version("laconic")}
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create(own if named else own | {"service.name": "laconic"})


def _wanted(signal: str, environ: Mapping[str, str]) -> bool:
    """Whether a signal ("TRACES", "METRICS", "LOGS") is to be sent over OTLP."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "")
    if exporter not in ("", "otlp", "none"):
        raise TelemetryError(f"OTEL_{signal}_EXPORTER is {exporter!r}; allowed: otlp, none")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if exporter == "none" or not (exporter or any(environ.get(variable) for variable in endpoints)):
        return False
    for variable in ("OTEL_EXPORTER_OTLP_PROTOCOL", f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"):
        if environ.get(variable, "http/protobuf") != "http/protobuf":
            raise TelemetryError(f"{variable} is {environ[variable]!r}; allowed: http/protobuf")
    return True


def _exporter(signal: str) -> Any:  # the three exporters share no type
    module, kind = _EXPORTERS[signal]
    try:
        return getattr(import_module(f"{_PACKAGE}.{module}"), kind)()
    except ModuleNotFoundError as error:
        raise TelemetryError(
            f"the OTEL_ variables ask for {signal.lower()} over OTLP, but the exporter is not installed "
            f"({error.name} is missing): pip install 'laconic[otlp]', or set OTEL_{signal}_EXPORTER=none"
        ) from error


def _line(savings: Savings) -> str:
    measured, usage = savings.measured, savings.usage or Usage()
    fields: dict[str, object] = {
        "id": savings.id,
        "route": savings.route,
        "policy": savings.policy,
        "upstream": savings.upstream,
        "caller": savings.caller,
        "model": plain(measured.model),
        "stream": savings.stream,
        "status": savings.status,
        "outcome": measured.outcome.value,
        "reason": plain(measured.reason),
        "error": savings.error,
        "tokens_before": measured.tokens_before,
        "tokens_after": measured.tokens_after,
        "estimated": measured.estimated,
        "arm": measured.arm,
        "saved_usd": savings.money.gross,
        "saved_net_usd": savings.money.net,
        "billed_usd": savings.money.bill.total,
        "compressor_usd": savings.money.compressor,
        "billed_input": usage.input,
        "billed_cached": usage.cached,
        "billed_output": usage.output,
        "compression_ms": round(measured.milliseconds, 3) if measured.stages else None,
        "first_byte_ms": savings.first_byte_ms and round(savings.first_byte_ms, 3),
        "total_ms": savings.total_ms and round(savings.total_ms, 3),
    }
    return msgspec.json.encode({key: value for key, value in fields.items() if value not in (None, "")}).decode()
