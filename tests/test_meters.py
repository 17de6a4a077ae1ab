"""The log line, the page of metrics, and what goes to a collector where the standard variables name one."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from policies.routes import Route
from proxy.meters import LogMeter, TelemetryError, telemetry
from proxy.savings import Measured, Outcome, Savings, Usage
from proxy.settings import Settings, Upstream
from proxy.span_cache import Stats

SETTINGS = Settings({"main": Upstream("main", "https://llm.example/v1")}, (Route("rag", "main", "balanced"),), {})
CHAT = Savings(
    "id7",
    1e9,
    "rag",
    "balanced",
    "main",
    True,
    Measured(Outcome.COMPRESSED, model="gpt-4o", tokens_before=900, tokens_after=400, stages=(("compress", 2.5),)),
    status=200,
    usage=Usage(410, 20),
    total_ms=90.1234567,
)


def test_a_request_is_one_line_of_json_without_what_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "laconic.request")
    LogMeter().record(replace(CHAT, error='two\n"lines"'))
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert json.loads(record.getMessage()) == {
        "id": "id7",
        "route": "rag",
        "policy": "balanced",
        "upstream": "main",
        "model": "gpt-4o",
        "stream": True,
        "status": 200,
        "outcome": "compressed",
        "error": 'two\n"lines"',
        "tokens_before": 900,
        "tokens_after": 400,
        "estimated": False,
        "billed_input": 410,
        "billed_output": 20,
        "compression_ms": 2.5,
        "total_ms": 90.123,
    }


def test_text_that_is_not_valid_unicode_makes_no_meter_raise() -> None:
    kept = telemetry({}, lambda: SETTINGS)
    odd = replace(CHAT, measured=Measured(Outcome.UNTOUCHED, "a\ud800", "b\ud800", reasons=(("c\ud800", 1),)))
    logging.getLogger("laconic.request").setLevel(logging.INFO)
    for meter in (kept, LogMeter()):
        meter.record(odd)
    assert b'laconic_reason="a?"' in kept.render_metrics()[0]


def test_metrics_are_rendered_as_prometheus_reads_them() -> None:
    kept = telemetry({}, lambda: SETTINGS)
    for _ in range(3):
        kept.record(CHAT)
    kept.watch_ledger(lambda: 5)
    kept.watch_cache(lambda: Stats(hits=7, misses=8, entries=1, bytes=90))
    text, content_type = kept.render_metrics()
    kept.close()
    lines = text.decode().splitlines()
    assert content_type.startswith("text/plain; version=0.0.4")
    labels = '{gen_ai_request_model="gpt-4o",laconic_policy="balanced",laconic_route="rag"}'
    assert f"laconic_tokens_removed_total{labels} 1500.0" in lines
    assert "laconic_ledger_dropped_total 5.0" in lines
    assert 'laconic_cache_lookups_total{laconic_found="hit"} 7.0' in lines
    assert 'laconic_cache_lookups_total{laconic_found="miss"} 8.0' in lines
    assert "laconic_cache_size_bytes 90.0" in lines
    assert any(line.startswith("gen_ai_client_operation_duration_seconds_bucket{") for line in lines)
    assert any(line.startswith("gen_ai_client_token_usage_sum{") and line.endswith(" 1230.0") for line in lines)


def test_two_services_in_one_process_keep_apart() -> None:
    first, second = (telemetry({}, lambda: SETTINGS) for _ in range(2))
    first.record(CHAT)
    assert b"laconic_requests_total{" in first.render_metrics()[0]
    assert b"laconic_requests_total{" not in second.render_metrics()[0]


def test_without_the_variables_nothing_is_exported_and_no_exporter_is_imported() -> None:
    program = (
        "import sys; from proxy.meters import telemetry; kept = telemetry({}, lambda: None)\n"
        "assert len(kept.meters) == 1, kept.meters\n"
        "print([m for m in sys.modules if 'otlp' in m or m in ('requests', 'grpc', 'torch', 'transformers')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """A server that takes what is posted: its address, and the bodies by path."""
    taken: dict[str, list[bytes]] = {}

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.setdefault(self.path, []).append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Take) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()
        thread.join()


def start(variables: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    """Records one request with these variables set, and ends."""
    patch.setenv("NO_PROXY", "127.0.0.1")
    patch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    for name, value in variables.items():
        patch.setenv(name, value)
    kept = telemetry(variables, lambda: SETTINGS)
    kept.record(CHAT)
    kept.close()


def test_all_signals_go_where_the_standard_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (url, taken):
        start({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, monkeypatch)
    (trace,) = ExportTraceServiceRequest.FromString(taken["/v1/traces"][0]).resource_spans
    assert [span.name for span in trace.scope_spans[0].spans] == ["chat gpt-4o"]
    assert {a.key: a.value.string_value for a in trace.resource.attributes}["service.name"] == "laconic"
    (metrics,) = ExportMetricsServiceRequest.FromString(taken["/v1/metrics"][-1]).resource_metrics
    assert "gen_ai.client.token.usage" in {metric.name for metric in metrics.scope_metrics[0].metrics}
    (logs,) = ExportLogsServiceRequest.FromString(taken["/v1/logs"][0]).resource_logs
    assert logs.scope_logs[0].log_records[0].event_name == "laconic.request"


def test_one_signal_alone_and_a_name_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (url, taken):
        variables = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/in", "OTEL_SERVICE_NAME": "front"}
        start(variables, monkeypatch)
    assert set(taken) == {"/in"}
    (trace,) = ExportTraceServiceRequest.FromString(taken["/in"][0]).resource_spans
    assert {a.key: a.value.string_value for a in trace.resource.attributes}["service.name"] == "front"


@pytest.mark.parametrize(
    "switch", [{"OTEL_SDK_DISABLED": "true"}, {f"OTEL_{s}_EXPORTER": "none" for s in ("TRACES", "METRICS", "LOGS")}]
)
def test_what_is_switched_off_is_not_sent(switch: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (url, taken):
        start({"OTEL_EXPORTER_OTLP_ENDPOINT": url} | switch, monkeypatch)
    assert taken == {}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER is 'console'; allowed: otlp, none"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; allowed: http/protobuf",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_start(variables: dict[str, str], message: str) -> None:
    with pytest.raises(TelemetryError, match=message):
        telemetry(variables, lambda: SETTINGS)


def test_a_missing_exporter_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TelemetryError, match=r"pip install 'laconic\[otlp\]', or set OTEL_TRACES_EXPORTER=none"):
        telemetry({"OTEL_TRACES_EXPORTER": "otlp"}, lambda: SETTINGS)
