"""The configurations of a soak: two that hold in turn, and one that is refused."""

import os
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from soaking.kinds import KINDS

MAX_BODY_MB = 8
BASE = """
[server]
max_body_mb = {megabytes}
body_idle_seconds = 3
[compression]
cache_mb = 8                # full before the warm-up is over
bypass_share = {share}
[upstream.soak]
url = "http://127.0.0.1:{provider}/v1"
connect = 2
first_byte = 4
idle = 2
total = 60
[policy.words]              # balanced without a model
extends = "balanced"
context.compressor = "lexical"
context.ranges = [{{ min = 200, rate = {rate} }}]
history.compressor = "whitespace"
history.ranges = [{{ rate = 1.0 }}]
"""
ROUTE = '[[route]]\nname = "{name}"\npath = "/{path}"\nupstream = "soak"\npolicy = "{policy}"\n'


def path(name: str) -> str:
    """The part of the URL that leads to a kind's route."""
    return name.replace(" ", "-")


def text(provider: int, rate: float) -> str:
    """`rate`: the share of a context that stays under the policy `words`."""
    base = BASE.format(provider=provider, rate=rate, megabytes=MAX_BODY_MB, share=0.02)
    return base + "".join(ROUTE.format(name=k.name, path=path(k.name), policy=k.policy) for k in KINDS)


def changes(provider: int) -> Iterator[str]:
    """One after the other: valid, valid, refused."""
    return cycle((text(provider, 0.7), text(provider, 0.5), "[server]\nmax_body_mb = 'none'\n"))


def write(file: Path, content: str) -> None:
    """In one step: who reads meanwhile finds the old file or the new one."""
    new = file.with_suffix(".new")
    new.write_text(content, "utf-8")
    os.replace(new, file)
