"""One workload through one arm to the providers of some model lines, and the bill."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from promptcache.arms import Arm, EachTurn, Naive, Nothing, Ours, policy
from promptcache.prompts import rendered
from promptcache.provider import Provider, Rules, input_usd
from promptcache.workloads import Request, Workload, marked
from proxy.pricing import Price, known
from proxy.savings import Usage

AUTOMATIC = Rules()


@dataclass(frozen=True, slots=True)
class Line:
    """Models that are billed alike, and the one of them whose prices stand for all."""

    name: str
    model: str
    rules: Rules = AUTOMATIC

    @property
    def price(self) -> Price:
        return known()[self.model]


@dataclass(frozen=True, slots=True)
class Bill:
    """Of one workload, line and arm. Tokens are the provider's, `usd` is for the input alone; `seconds` went into
    compressing; `changed` counts the requests that left in another form than they came."""

    workload: str
    line: str
    arm: str
    requests: int
    input: int
    cached: int
    written: int
    changed: int
    usd: float
    seconds: float

    @property
    def per_thousand(self) -> float:
        """$ per 1,000 requests."""
        return 1000 * self.usd / self.requests

    @property
    def cached_share(self) -> float:
        return self.cached / self.input


LINES = (
    Line("GPT-5", "gpt-5"),
    Line("GPT-4.1", "gpt-4.1"),
    Line("GPT-4o", "gpt-4o"),
    Line("GPT-5.6", "gpt-5.6"),
    Line("Claude, marked", "claude-sonnet-5", Rules(ttl=300.0, explicit=True)),
)
NONE = "none"
BLIND: dict[str, Callable[[], Arm]] = {NONE: Nothing, "naive": Naive, "each turn": EachTurn}
"""Arms to which the model is all one."""


def groups(arm: str) -> list[tuple[Line, ...]]:
    """The lines that one pass through an arm serves: what is sent and billed is the same, only the prices differ."""
    if arm not in BLIND:
        return [(line,) for line in LINES]
    return [tuple(line for line in LINES if line.rules == rules) for rules in dict.fromkeys(x.rules for x in LINES)]


def bills(workload: Workload, arm: str, lines: Sequence[Line]) -> list[Bill]:
    """One bill a line. All requests come from one tenant of the arm and one organisation at the provider."""
    made = BLIND[arm]() if arm in BLIND else Ours(policy(arm), lines[0].model)
    try:
        return _bills(workload, arm, made, lines)
    finally:
        made.close()


def _bills(workload: Workload, name: str, arm: Arm, lines: Sequence[Line]) -> list[Bill]:
    line = lines[0]
    provider = Provider(line.rules)
    usages: list[Usage] = []
    usd, changed, seconds = [0.0] * len(lines), 0, 0.0
    for request in workload.requests:
        body = _body(workload, request, line)
        began = perf_counter()
        sent = arm.send(body, request.at)
        seconds += perf_counter() - began
        changed += sent != body
        where = (line.model, "", _key(request) if workload.keyed else "")
        usage = provider.ask(rendered(sent), request.at, where)
        arm.told(usage if line.price.cache_write else replace(usage, cache_write=None))
        usd = [so_far + input_usd(usage, one.price) for so_far, one in zip(usd, lines, strict=True)]
        usages.append(usage)
    counts = (
        len(usages),
        sum(usage.input or 0 for usage in usages),
        sum(usage.cached or 0 for usage in usages),
        sum(usage.cache_write or 0 for usage in usages),
        changed,
    )
    return [Bill(workload.name, one.name, name, *counts, cost, seconds) for one, cost in zip(lines, usd, strict=True)]


def _body(workload: Workload, request: Request, line: Line) -> bytes:
    messages = marked(request.messages, workload.grows) if line.rules.explicit else request.messages
    body = {"model": line.model, "messages": messages}
    if workload.keyed:
        body["prompt_cache_key"] = _key(request)
    return json.dumps(body, ensure_ascii=False).encode()


def _key(request: Request) -> str:
    return f"thread-{request.thread}"
