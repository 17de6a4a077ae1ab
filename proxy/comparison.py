"""The two arms of the trial as the ledger has them, by route and model, for `proxy.trial` to compare."""

from collections import defaultdict
from collections.abc import Mapping
from sqlite3 import Connection

import numpy as np

from proxy.arm import BYPASS, TREATED
from proxy.trial import Arm, Stratum

# What compressing cost is paid by those who are shortened; the others went through it only to be measured.
_CONVERSATIONS = f"""
SELECT key, route, model, arm, known, count(*), sum(tokens_before), sum(usd), sum(billed_output) FROM (
    SELECT {{key}} AS key, route, model, arm, conversation, tokens_before, billed_output,
        billed_usd + iif(arm = '{TREATED}', coalesce(compressor_usd, 0), 0) AS usd,
        billed_usd IS NOT NULL AND coalesce(tokens_before, 0) > 0 AS known
    FROM requests WHERE at >= :since AND at < :until AND arm != ''
) GROUP BY key, route, model, arm, known, iif(known, conversation, NULL)
"""

Place = tuple[str, str, str]  # key, route, model


def strata(connection: Connection, key: str, period: Mapping[str, float]) -> dict[Place, Stratum]:
    """What may be compared, by a key (an expression of SQL), route and model. Raises `sqlite3.DatabaseError`."""
    rows: dict[Place, dict[str, list[tuple[float, ...]]]] = defaultdict(lambda: {TREATED: [], BYPASS: []})
    unknown: dict[tuple[Place, str], int] = {}
    for *place, arm, known, requests, tokens, usd, output in connection.execute(_CONVERSATIONS.format(key=key), period):
        at: Place = (place[0], place[1], place[2])
        found = rows[at][arm]
        if known:
            found.append((requests, tokens, usd, output))
        else:
            unknown[at, arm] = requests

    def arm_of(at: Place, arm: str) -> Arm:
        return Arm(np.array(rows[at][arm], dtype=np.float64).reshape(-1, 4), unknown.get((at, arm), 0))

    return {at: Stratum(arm_of(at, TREATED), arm_of(at, BYPASS)) for at in sorted(rows)}
