"""Records as OpenTelemetry metrics, spans and events, by the GenAI semantic conventions and our own `laconic.` names.

Nothing of a prompt, an answer or a key gets here: a record holds none. Labels of metrics take few values: routes,
policies and upstreams come from the configuration, models from the price list ("other" where they are not on it), and
of reasons only the first hundred are told apart. Spans and events carry the model's name as it was sent.
"""

from collections.abc import Callable
from functools import lru_cache
from urllib.parse import urlsplit

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.metrics import Meter as Instruments
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from proxy.ledger import plain
from proxy.pricing import name
from proxy.savings import Measured, Outcome, Savings, Usage
from proxy.settings import Settings

Labels = dict[str, str]
Attributes = dict[str, str | int | float | bool]

MODEL, ADDRESS, ERROR, TOKEN_TYPE = "gen_ai.request.model", "server.address", "error.type", "gen_ai.token.type"
CHAT: Labels = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}  # "openai": whose API is spoken
OTHER = "other"
REASONS = 100

# The conventions fix the first two; compression takes from a fraction of a millisecond to its deadline.
TOKEN_BOUNDS = [4.0**n for n in range(14)]
DURATION_BOUNDS = [0.01 * 2**n for n in range(14)]
COMPRESSION_BOUNDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


class MetricsMeter:
    """Counters and histograms. Quick: it runs on the event loop, after the answer."""

    def __init__(self, instruments: Instruments, current: Callable[[], Settings]) -> None:
        """`current`: the settings in force, for the addresses of upstreams and the models with a price."""
        self._current = current
        self._reasons: set[str] = set()
        counter, histogram = instruments.create_counter, instruments.create_histogram
        self._requests = counter("laconic.requests", "{request}", "Requests by what became of them")
        self._segments = counter("laconic.segments", "{segment}", "Segments of chat requests by what became of them")
        self._before = counter("laconic.tokens.before", "{token}", "Text tokens of the requests as they came")
        self._removed = counter("laconic.tokens.removed", "{token}", "Text tokens that did not go upstream")
        self._cost = counter("laconic.compressor.cost", "{USD}", "What the seconds of compressing cost, in USD")
        self._compression = histogram(
            "laconic.compression.duration",
            "s",
            "Time that a request spent being shortened",
            explicit_bucket_boundaries_advisory=COMPRESSION_BOUNDS,
        )
        self._usage = histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens as the upstream billed them",
            explicit_bucket_boundaries_advisory=TOKEN_BOUNDS,
        )
        self._duration = histogram(
            "gen_ai.client.operation.duration",
            "s",
            "Time from a request's arrival to the end of its answer",
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS,
        )

    def record(self, savings: Savings) -> None:
        measured = savings.measured
        route = {"laconic.route": savings.route, "laconic.policy": savings.policy}
        outcome = {"laconic.outcome": measured.outcome.value, "laconic.reason": self._reason(measured.reason)}
        self._requests.add(1, route | outcome)
        if measured.outcome is Outcome.PASSED:
            return
        settings = self._current()
        model = _model_label(measured.model, settings)
        self._tokens(measured, route | model)
        if savings.money.compressor is not None:
            self._cost.add(savings.money.compressor, route | model)
        self._call(savings, CHAT | model | _address(savings, settings))

    def _tokens(self, measured: Measured, labels: Labels) -> None:
        if measured.tokens_before is not None:
            self._before.add(measured.tokens_before, labels)
            if measured.outcome is Outcome.COMPRESSED and measured.tokens_after is not None:
                self._removed.add(measured.tokens_before - measured.tokens_after, labels)
        if measured.stages:
            self._compression.record(measured.milliseconds / 1000, labels)
        for reason, segments in measured.reasons:
            self._segments.add(segments, {"laconic.reason": self._reason(reason)})

    def _call(self, savings: Savings, labels: Labels) -> None:
        if savings.total_ms is not None:
            self._duration.record(savings.total_ms / 1000, labels | _error(savings))
        usage = savings.usage or Usage()
        if usage.input is not None:
            self._usage.record(usage.input, labels | {TOKEN_TYPE: "input"})
        if usage.output is not None:
            self._usage.record(usage.output, labels | {TOKEN_TYPE: "output"})

    def _reason(self, reason: str) -> str:
        """A reason may quote what a caller sent, so their number is bounded."""
        reason = plain(reason)
        if reason in self._reasons:
            return reason
        if len(self._reasons) >= REASONS:
            return OTHER
        self._reasons.add(reason)
        return reason


class SpanMeter:
    """A client span for each chat completion."""

    def __init__(self, tracer: Tracer, current: Callable[[], Settings]) -> None:
        self._tracer = tracer
        self._current = current

    def record(self, savings: Savings) -> None:
        if savings.measured.outcome is Outcome.PASSED:
            return
        start = int(savings.at * 1e9)
        span = self._tracer.start_span(
            f"chat {plain(savings.measured.model)}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes=_attributes(savings, self._current()),
            start_time=start,
        )
        if _error(savings):
            span.set_status(Status(StatusCode.ERROR))
        span.end(start + int((savings.total_ms or 0) * 1e6))


class EventMeter:
    """A log event for each request."""

    def __init__(self, logger: Logger, current: Callable[[], Settings]) -> None:
        self._logger = logger
        self._current = current

    def record(self, savings: Savings) -> None:
        failed = savings.measured.outcome is Outcome.FAILED_OPEN
        self._logger.emit(
            timestamp=int(savings.at * 1e9),
            severity_number=SeverityNumber.WARN if failed else SeverityNumber.INFO,
            attributes=_attributes(savings, self._current()),
            event_name="laconic.request",
        )


def _attributes(savings: Savings, settings: Settings) -> Attributes:
    """All that is known of a request; what is not known is left out."""
    measured, usage = savings.measured, savings.usage or Usage()
    known: dict[str, str | int | float | bool | None] = {
        MODEL: plain(measured.model) or None,
        "gen_ai.request.stream": savings.stream,
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cached,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.response.time_to_first_chunk": savings.first_byte_ms and savings.first_byte_ms / 1000,
        "http.response.status_code": savings.status,
        "laconic.id": savings.id,
        "laconic.route": savings.route,
        "laconic.policy": savings.policy,
        "laconic.outcome": measured.outcome.value,
        "laconic.reason": plain(measured.reason) or None,
        "laconic.tokens.before": measured.tokens_before,
        "laconic.tokens.after": measured.tokens_after,
        "laconic.tokens.estimated": measured.estimated,
        "laconic.arm": measured.arm or None,
        "laconic.saved_usd": savings.money.gross,
        "laconic.saved_net_usd": savings.money.net,
        "laconic.billed_usd": savings.money.bill.total,
        "laconic.compressor.cost": savings.money.compressor,
        "laconic.compression.duration": measured.milliseconds / 1000 if measured.stages else None,
    }
    chat = {} if measured.outcome is Outcome.PASSED else CHAT
    said = {key: value for key, value in known.items() if value is not None}
    return chat | said | _address(savings, settings) | _error(savings)


def _error(savings: Savings) -> Labels:
    """Our own error's code, or the upstream's status where it is one."""
    if savings.error:
        return {ERROR: savings.error}
    return {ERROR: str(savings.status)} if savings.status is not None and savings.status >= 400 else {}


def _address(savings: Savings, settings: Settings) -> Labels:
    upstream = settings.upstreams.get(savings.upstream)
    return {ADDRESS: _host(upstream.url)} if upstream else {}


def _model_label(model: str, settings: Settings) -> Labels:
    return {MODEL: name(model, settings.prices) or OTHER} if model else {}


@lru_cache
def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
