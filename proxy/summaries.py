"""What a ledger adds up to: savings by route, model, day or caller, and why texts were left alone."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection, DatabaseError, Row
from typing import Literal

from proxy.comparison import Place, strata
from proxy.ledger import LedgerError, read_only
from proxy.trial import Stratum, Trial, compare

By = Literal["route", "model", "day", "caller"]
KEYS: Mapping[By, str] = {"route": "route", "model": "model", "day": "date(at, 'unixepoch')", "caller": "caller"}

_PLACES: Mapping[By, int] = {"route": 1, "model": 2}  # in `comparison.Place`, whose first is the key asked for

_COUNTS = """
SELECT {key} AS key,
    count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'compressed') AS compressed,
    count(*) FILTER (WHERE outcome = 'audited') AS audited,
    count(*) FILTER (WHERE outcome = 'failed_open') AS failed_open,
    count(*) FILTER (WHERE outcome = 'passed') AS passed,
    count(*) FILTER (WHERE outcome != 'passed' AND tokens_before IS NULL) AS uncounted,
    count(*) FILTER (WHERE estimated AND tokens_before IS NOT NULL) AS estimated,
    sum(tokens_before) AS tokens_before,
    sum(CASE outcome WHEN 'compressed' THEN tokens_after ELSE tokens_before END) AS tokens_sent,
    sum(tokens_before - tokens_after) FILTER (WHERE outcome = 'audited') AS audited_removable,
    sum(saved_usd) FILTER (WHERE outcome = 'compressed') AS saved_usd,
    sum(saved_net_usd) AS saved_net_usd,
    count(*) FILTER (WHERE outcome = 'compressed' AND saved_net_usd IS NULL) AS unknown_net,
    count(*) FILTER (WHERE outcome = 'compressed' AND saved_usd IS NULL) AS unpriced,
    sum(billed_input) AS billed_input,
    sum(billed_cached) AS billed_cached,
    sum(billed_cache_write) AS billed_cache_write,
    sum(billed_output) AS billed_output,
    count(*) FILTER (WHERE outcome != 'passed' AND status BETWEEN 200 AND 299 AND billed_input IS NULL)
        AS unknown_usage,
    sum(billed_uncached_usd) FILTER (WHERE billed_usd IS NOT NULL) AS billed_uncached_usd,
    sum(billed_cached_usd) FILTER (WHERE billed_usd IS NOT NULL) AS billed_cached_usd,
    sum(billed_written_usd) FILTER (WHERE billed_usd IS NOT NULL) AS billed_written_usd,
    sum(billed_output_usd) FILTER (WHERE billed_usd IS NOT NULL) AS billed_output_usd,
    sum(billed_usd) AS billed_usd,
    count(*) FILTER (WHERE billed_usd IS NULL AND (billed_input IS NOT NULL
        OR (outcome != 'passed' AND status BETWEEN 200 AND 299))) AS unknown_bills,
    sum(compressor_seconds) AS compressor_seconds,
    sum(compressor_usd) AS compressor_usd
FROM requests WHERE at >= :since AND at < :until
"""
_GROUPED = " GROUP BY 1 ORDER BY 1"
_QUANTILES = """
SELECT key, min(ms) FILTER (WHERE share >= 0.5) AS ms_p50, min(ms) FILTER (WHERE share >= 0.95) AS ms_p95
FROM (
    SELECT {key} AS key, compression_ms AS ms, cume_dist() OVER (PARTITION BY {key} ORDER BY compression_ms) AS share
    FROM requests WHERE at >= :since AND at < :until AND compression_ms IS NOT NULL
) GROUP BY 1
"""
_REASONS = """
SELECT outcome, reason, count(*) AS requests FROM requests
WHERE at >= :since AND at < :until AND reason != '' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
_SEGMENTS = """
SELECT each.key AS reason, sum(each.value) AS segments FROM requests, json_each(requests.reasons) AS each
WHERE at >= :since AND at < :until GROUP BY 1 ORDER BY 2 DESC, 1
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """All requests of one route, model, day (UTC) or caller. Sums are None where no request said the number.

    `tokens_before` and `tokens_sent` are our counts of text, over the requests that were counted; `audited_removable`
    would have gone, had audit not sent the original. `saved_usd` is gross and leaves out the `unpriced` requests,
    `saved_net_usd` the `unknown_net` ones. `billed_...` is what upstream said; `unknown_usage` counts answers that did
    not say. `billed_..._usd` is that at our prices, without the `unknown_bills`. `compressor_...` is what compressing
    took. `trial` compares what was compressed with what was drawn to bypass it. `uncounted` requests are chat
    completions whose text was not read; `passed` ones were none at all; `estimated` ones were counted by another
    model's tokenizer. `ms_...`: time for compression where there was any."""

    key: str
    requests: int
    compressed: int
    audited: int
    failed_open: int
    passed: int
    uncounted: int
    estimated: int
    tokens_before: int | None
    tokens_sent: int | None
    audited_removable: int | None
    saved_usd: float | None
    saved_net_usd: float | None
    unknown_net: int
    unpriced: int
    billed_input: int | None
    billed_cached: int | None
    billed_cache_write: int | None
    billed_output: int | None
    unknown_usage: int
    billed_uncached_usd: float | None
    billed_cached_usd: float | None
    billed_written_usd: float | None
    billed_output_usd: float | None
    billed_usd: float | None
    unknown_bills: int
    compressor_seconds: float | None
    compressor_usd: float | None
    trial: Trial
    ms_p50: float | None = None
    ms_p95: float | None = None

    @property
    def saved_share(self) -> float | None:
        """The share of the counted tokens that did not go upstream."""
        if not self.tokens_before or self.tokens_sent is None:
            return None
        return 1 - self.tokens_sent / self.tokens_before


@dataclass(frozen=True, slots=True)
class Reason:
    """Why requests ended as they did: `outcome` and `reason` as recorded."""

    outcome: str
    reason: str
    requests: int


@dataclass(frozen=True, slots=True)
class Held:
    """The trial of one route and model."""

    route: str
    model: str
    trial: Trial


@dataclass(frozen=True, slots=True)
class Report:
    """`groups` in order of their key; `total` over all of them; `reasons` and `segments` (what became of the segments
    of all bodies that were read) by falling count; `trials` by route and model, where any was held."""

    by: By
    groups: tuple[Summary, ...]
    total: Summary
    reasons: tuple[Reason, ...]
    segments: tuple[tuple[str, int], ...]
    trials: tuple[Held, ...]


def summarise(path: Path, by: By, since: float = 0.0, until: float = float("inf")) -> Report:
    """Adds up the requests that began in `since <= at < until` (Unix seconds). Raises `LedgerError`."""
    period = {"since": since, "until": until}
    with closing(read_only(path)) as connection:
        connection.row_factory = Row
        try:
            connection.execute("BEGIN")  # one snapshot for all queries, while others write
            held = strata(connection, "''", period)
            parts = strata(connection, KEYS[by], period) if by in ("day", "caller") else held
            groups = _summaries(connection, KEYS[by], " GROUP BY 1 ORDER BY 1", period, _by(by, parts))
            (total,) = _summaries(connection, "'total'", "", period, {"total": list(held.values())})
            reasons = connection.execute(_REASONS, period).fetchall()
            segments = connection.execute(_SEGMENTS, period).fetchall()
        except DatabaseError as error:
            raise LedgerError(f"{path} is damaged: {error}") from error
    return Report(
        by,
        groups,
        total,
        tuple(Reason(*r) for r in reasons),
        tuple((r[0], r[1]) for r in segments),
        tuple(Held(route, model, compare([stratum])) for (_, route, model), stratum in held.items()),
    )


def _by(by: By, found: Mapping[Place, Stratum]) -> Mapping[str, list[Stratum]]:
    groups: dict[str, list[Stratum]] = {}
    for place, stratum in found.items():
        groups.setdefault(place[_PLACES.get(by, 0)], []).append(stratum)
    return groups


def _summaries(
    connection: Connection, key: str, grouped: str, period: Mapping[str, float], held: Mapping[str, list[Stratum]]
) -> tuple[Summary, ...]:
    milliseconds = {row["key"]: dict(row) for row in connection.execute(_QUANTILES.format(key=key), period)}
    return tuple(
        Summary(**(row | milliseconds.get(row["key"], {})), trial=compare(held.get(row["key"], [])))
        for row in map(dict, connection.execute(_COUNTS.format(key=key) + grouped, period))
    )
