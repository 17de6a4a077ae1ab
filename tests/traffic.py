"""Recorded requests, for tests of `laconic tune`."""

import json
from pathlib import Path
from typing import Any

from layouts import NUMBERED, QUESTION, user

from proxy.config import load
from proxy.recording import Request as RecordedRequest
from proxy.recording import line
from proxy.savings import Usage
from proxy.settings import Settings
from proxy.tune.money import rates
from proxy.tune.options import Options
from proxy.tune.sweep import Sweep
from proxy.tune.traffic import read

SETTINGS = load(None, flags={"ledger": "off"})
USAGE = Usage(1000, 30, 0)


def recorded(path: Path, count: int = 2, usage: Usage | None = USAGE, **more: Any) -> Path:
    """A file as the recorder writes it: requests with documents, each with another question."""
    for n in range(count):
        content = f"Context:\n{NUMBERED}\n\nQuestion: {n}. {QUESTION}"
        raw = json.dumps({"model": "gpt-4o", "messages": [user(content)], **more}).encode()
        written = line(RecordedRequest(1.0, "default", usage, raw), False)
        assert written
        with path.open("ab") as file:
            file.write(written)
    return path


def asked_for(path: Path, **more: Any) -> Options:
    return Options((path,), path.with_name("tuned.toml"), models=False, **more)


def swept(path: Path, settings: Settings = SETTINGS) -> Sweep:
    requests = read([path], 100).requests
    return Sweep(requests, rates(requests, {}, settings.compression.usd_per_second), 60.0, float("inf"))
