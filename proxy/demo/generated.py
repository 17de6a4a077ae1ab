"""Texts that tools give back to agents, too regular to be written by hand: rows of a database, a log."""

import json

CARRIERS = ("Kestrel", "Brandt & Sons", "Norpost", "Citycargo")
CITIES = ("Aarhus", "Gdansk", "Ghent", "Leipzig", "Lyon", "Porto", "Turku", "Zagreb")
CUSTOMERS = ("Baltic Lamps", "Casa Oliva", "Fjord Outdoor", "Hotel Sternwarte", "Kramer Glass", "Maison Petit")
HELD = {
    "order": 50317,
    "customer": "Fjord Outdoor",
    "city": "Tromsø",
    "carrier": "Norpost",
    "status": "held at customs",
    "items": 12,
    "total_eur": 2210.4,
    "updated": "2026-10-14T07:55:00Z",
    "note": "invoice of the replacement stoves is not signed, broker waits for the signed copy",
}


def orders() -> str:
    """What `search_orders` finds: 60 rows, one of which is out of the ordinary."""
    rows: list[dict[str, object]] = [
        {
            "order": 50280 + n,
            "customer": CUSTOMERS[n * 5 % 6],
            "city": CITIES[n * 3 % 8],
            "carrier": CARRIERS[n % 4],
            "status": ("delivered", "in transit", "packed")[n * 7 % 3],
            "items": 1 + n * 11 % 17,
            "total_eur": round(38.5 + n * 83.3 % 900, 2),
            "updated": f"2026-10-{1 + n % 14:02}T{6 + n % 12:02}:{n * 13 % 60:02}:00Z",
            "note": "",
        }
        for n in range(60)
    ]
    rows[37] = HELD
    return json.dumps(rows, indent=2, ensure_ascii=False)


def log() -> str:
    """What `read_log` finds: a nightly import that breaks off, among the daily noise."""
    noise = (
        "INFO  scheduler  heartbeat ok, 4 workers idle",
        "INFO  http       GET /health 200 2ms",
        "DEBUG cache      hit ratio 0.94, 18213 entries",
        "INFO  import     batch of 500 rows written to staging.articles",
    )
    lines = [f"2026-10-14 02:{n // 4:02}:{n % 4 * 15:02} {noise[n % 4]}" for n in range(200)]
    lines[161:161] = [
        "2026-10-14 02:40:12 WARN  import     slow write, 4112 ms for 500 rows",
        "2026-10-14 02:40:13 ERROR import     batch 41 failed: No space left on device: /var/lib/staging/0041.tmp",
        "Traceback (most recent call last):",
        '  File "/srv/importer/batch.py", line 88, in write',
        "    target.flush()",
        "OSError: [Errno 28] No space left on device",
        "2026-10-14 02:40:14 ERROR import     run 2207 aborted after 20000 rows, staging kept for a new start",
    ]
    return "\n".join(lines)
