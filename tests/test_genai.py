"""Records as OpenTelemetry metrics, spans and events: the conventions' names, few labels, nothing private."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from policies.routes import Route
from proxy.genai import OTHER, REASONS, EventMeter, MetricsMeter, SpanMeter
from proxy.savings import Bill, KindTokens, Measured, Money, Outcome, Savings, Usage
from proxy.settings import Settings, Upstream

SETTINGS = Settings(
    {"main": Upstream("main", "https://llm.example:8443/v1", key="sk-very-secret")},
    (Route("rag", "main", "balanced"),),
    {},
    prices={"house-model": object()},
)
MEASURED = Measured(
    Outcome.COMPRESSED,
    model="gpt-4o-2024-11-20",
    tokens_before=900,
    tokens_after=400,
    kinds=(KindTokens("context", 800, 300),),
    reasons=(("compressed", 2), ("too short", 3)),
    stages=(("parse", 0.5), ("compress", 2.5)),
)
CHAT = Savings(
    "id",
    1e9,
    "rag",
    "balanced",
    "main",
    True,
    MEASURED,
    200,
    Usage(410, 20, 128),
    Money(0.00125, 0.0005, 0.0001, Bill(0.0007, 0.0001, 0.0, 0.0002)),
    first_byte_ms=30,
    total_ms=90,
)
COMMON = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "server.address": "llm.example"}
Points = dict[tuple[str, frozenset[tuple[str, object]]], float]


def measure(*records: Savings) -> Points:
    """What the instruments hold after these records: sums of counters, sums of histograms."""
    reader = InMemoryMetricReader()
    meter = MetricsMeter(MeterProvider([reader]).get_meter("laconic"), lambda: SETTINGS)
    for record in records:
        meter.record(record)
    data = reader.get_metrics_data()
    assert data is not None
    found: Points = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            assert isinstance(point, NumberDataPoint | HistogramDataPoint)
            value = point.value if isinstance(point, NumberDataPoint) else point.sum
            found[metric.name, frozenset((point.attributes or {}).items())] = value
    return found


def key(metric: str, labels: dict[str, str]) -> tuple[str, frozenset[tuple[str, object]]]:
    return metric, frozenset(labels.items())


def test_a_chat_completion_is_counted_by_the_conventions_and_by_our_own_names() -> None:
    call = COMMON | {"gen_ai.request.model": "gpt-4o"}
    route = {"laconic.route": "rag", "laconic.policy": "balanced"}
    text = route | {"gen_ai.request.model": "gpt-4o"}
    assert measure(CHAT) == {
        key("gen_ai.client.token.usage", call | {"gen_ai.token.type": "input"}): 410,
        key("gen_ai.client.token.usage", call | {"gen_ai.token.type": "output"}): 20,
        key("gen_ai.client.operation.duration", call): pytest.approx(0.09),
        key("laconic.requests", route | {"laconic.outcome": "compressed", "laconic.reason": ""}): 1,
        key("laconic.tokens.before", text): 900,
        key("laconic.tokens.removed", text): 500,
        key("laconic.compression.duration", text): pytest.approx(0.003),
        key("laconic.compressor.cost", text): 0.0001,
        key("laconic.segments", {"laconic.reason": "compressed"}): 2,
        key("laconic.segments", {"laconic.reason": "too short"}): 3,
    }


def test_what_is_not_known_is_not_measured() -> None:
    failed = Measured(Outcome.FAILED_OPEN, "deadline", model="gpt-4o")
    names = {name for name, _ in measure(replace(CHAT, measured=failed, usage=None, money=Money(), total_ms=None))}
    assert names == {"laconic.requests"}


def test_an_audited_request_removes_nothing() -> None:
    names = {name for name, _ in measure(replace(CHAT, measured=replace(MEASURED, outcome=Outcome.AUDITED)))}
    assert "laconic.tokens.before" in names
    assert "laconic.tokens.removed" not in names


def test_what_is_no_chat_completion_is_only_counted() -> None:
    points = measure(replace(CHAT, measured=Measured(Outcome.PASSED), policy=""))
    labels = {"laconic.route": "rag", "laconic.policy": "", "laconic.outcome": "passed", "laconic.reason": ""}
    assert points == {key("laconic.requests", labels): 1}


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("house-model", "house-model"),
        ("openai/gpt-4o-2024-11-20", "gpt-4o"),
        ("made-up-1", OTHER),
        ("x" * 10**6, OTHER),
    ],
)
def test_models_without_a_price_share_one_label(model: str, label: str) -> None:
    points = measure(replace(CHAT, measured=replace(MEASURED, model=model)))
    models = {dict(labels).get("gen_ai.request.model") for name, labels in points if name != "laconic.requests"}
    assert models <= {label, None}
    assert label in models


def test_reasons_that_callers_make_up_do_not_grow_the_metrics_without_end() -> None:
    records = [replace(CHAT, measured=Measured(Outcome.UNTOUCHED, f"coding {n}")) for n in range(3 * REASONS)]
    points = measure(*records)
    reasons = {dict(labels)["laconic.reason"]: value for (name, labels), value in points.items() if "requests" in name}
    assert len(reasons) == REASONS + 1
    assert reasons[OTHER] == 2 * REASONS


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [(429, "", "429"), (None, "upstream_timeout", "upstream_timeout"), (200, "client_left", "client_left")],
)
def test_errors_have_a_type(status: int | None, error: str, kind: str) -> None:
    record = replace(CHAT, status=status, error=error, usage=None)
    durations = [dict(labels) for name, labels in measure(record) if name == "gen_ai.client.operation.duration"]
    assert [labels["error.type"] for labels in durations] == [kind]
    (span,) = spans(record)
    assert span.attributes is not None
    assert span.attributes["error.type"] == kind
    assert span.status.status_code is StatusCode.ERROR


def spans(*records: Savings) -> tuple[ReadableSpan, ...]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter = SpanMeter(provider.get_tracer("laconic"), lambda: SETTINGS)
    for record in records:
        meter.record(record)
    return exporter.get_finished_spans()


def test_a_span_lasts_as_long_as_the_request_and_says_what_is_known() -> None:
    (span,) = spans(CHAT, replace(CHAT, measured=Measured(Outcome.PASSED)))
    assert (span.name, span.kind) == ("chat gpt-4o-2024-11-20", SpanKind.CLIENT)
    assert (span.start_time, span.end_time) == (10**18, 10**18 + 90_000_000)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == COMMON | {
        "gen_ai.request.model": "gpt-4o-2024-11-20",
        "gen_ai.request.stream": True,
        "gen_ai.usage.input_tokens": 410,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 128,
        "gen_ai.response.time_to_first_chunk": 0.03,
        "http.response.status_code": 200,
        "laconic.id": "id",
        "laconic.route": "rag",
        "laconic.policy": "balanced",
        "laconic.outcome": "compressed",
        "laconic.tokens.before": 900,
        "laconic.tokens.after": 400,
        "laconic.tokens.estimated": False,
        "laconic.saved_usd": 0.00125,
        "laconic.saved_net_usd": 0.0005,
        "laconic.billed_usd": pytest.approx(0.001),
        "laconic.compressor.cost": 0.0001,
        "laconic.compression.duration": 0.003,
    }


def test_every_request_is_an_event_and_failing_open_is_a_warning() -> None:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    meter = EventMeter(provider.get_logger("laconic"), lambda: SETTINGS)
    meter.record(replace(CHAT, measured=Measured(Outcome.FAILED_OPEN, "deadline", model="gpt-4o")))
    meter.record(replace(CHAT, measured=Measured(Outcome.PASSED), upstream="gone since"))
    failed, passed = (json.loads(entry.to_json()) for entry in exporter.get_finished_logs())
    assert (failed["event_name"], failed["severity_number"]) == ("laconic.request", SeverityNumber.WARN.value)
    assert failed["attributes"]["laconic.reason"] == "deadline"
    assert passed["severity_number"] == SeverityNumber.INFO.value
    assert not {"gen_ai.operation.name", "server.address"} & passed["attributes"].keys()


@pytest.mark.parametrize("show", [spans, measure])
def test_no_key_reaches_an_attribute(show: Callable[[Savings], object]) -> None:
    found = show(CHAT)
    text = "".join(span.to_json() for span in found) if isinstance(found, tuple) else repr(found)
    assert "llm.example" in text
    assert "secret" not in text
