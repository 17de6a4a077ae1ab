"""What stands between client and provider: nothing, naive compression, or our pipeline.

An arm sees the requests in the order in which they come and, after each, what was billed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from compressors import Span, Task, load
from compressors.spans import join
from compressors.tokenizers import counter
from policies.base import Kind, Mode, Plan, Segment
from policies.budget import choose
from policies.presets import PRESETS, TABLES
from policies.routes import Route
from policies.rules import RulePolicy
from policies.written import build
from proxy import segmentation, wire
from proxy.economy import Economy
from proxy.pipeline import Asked, Pipeline
from proxy.savings import Measured, Outcome, Savings, Usage
from proxy.settings import Compression, Settings
from proxy.shorten import Stages, shorten
from proxy.sketch import Sketch

ROUTE = "benchmark"
_WORDS = {  # `balanced` without models, as the README has it
    "extends": "balanced",
    "context": {"compressor": "lexical"},
    "history": {"compressor": "whitespace", "rate": 1.0, "roles": ["assistant"]},
}
WORDS = build({"words": _WORDS}, TABLES, [])["words"]


def policy(name: str) -> RulePolicy:
    """Raises `KeyError`."""
    return WORDS if name == WORDS.name else PRESETS[name]


class Arm(Protocol):
    def send(self, body: bytes, at: float, /) -> bytes:
        """What goes to the provider of a request that comes `at` seconds."""
        ...

    def told(self, usage: Usage) -> None:
        """What the provider billed for the last request; `cache_write` None where it has no price of its own."""
        ...

    def close(self) -> None: ...


class Nothing:
    """No compression."""

    def send(self, body: bytes, _at: float) -> bytes:
        return body

    def told(self, usage: Usage) -> None:
        pass

    def close(self) -> None:
        pass


class Naive(Nothing):
    """Everything but the newest question is cut by what the newest question asks, again at each turn: messages before
    the newest user message as a whole, in that message what is told apart as context. Of a text as much stays as
    `words` keeps of a context of that size, but nothing is protected."""

    def send(self, body: bytes, _at: float) -> bytes:
        request = wire.parse(body)
        segments = segmentation.segment(request)
        newest = max((n for n, m in enumerate(request.messages) if m.role == "user"), default=-1)
        question = next((s.question for s in reversed(segments) if s.message == newest and s.question), "")
        spans = [(n, (0, len(f.text))) for n, f in enumerate(request.fields) if f.message != newest]
        for n in {s.field for s in segments if s.message == newest}:
            own = [s for s in segments if s.field == n and s.kind is Kind.CONTEXT]
            spans += [(n, (own[0].start, own[-1].end))] if own else []
        texts = {n: _cut(request.fields[n].text, span, question) for n, span in spans}
        return wire.splice(request, {n: t for n, t in texts.items() if t != request.fields[n].text})


def _cut(whole: str, span: Span, question: str) -> str:
    part = whole[span[0] : span[1]]
    budget = choose(WORDS.rules[Kind.CONTEXT].ranges, counter("o200k_base").count(part))
    if budget is None:
        return whole
    (kept,) = load("lexical").compress([Task(part, budget, question)])
    return whole[: span[0]] + join(part, kept.spans) + whole[span[1] :]


@dataclass(frozen=True, slots=True)
class Newest:
    """The rules of a policy, with the newest question instead of each turn's own, and nothing held back for being
    shared: the same compressors, rates and protection, but no thought of the provider's cache."""

    inner: RulePolicy

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def mode(self) -> Mode:
        return self.inner.mode

    def plan(self, segments: Sequence[Segment]) -> Plan:
        rules = {kind: replace(rule, keep_shared=False) for kind, rule in self.inner.rules.items()}
        newest = next((s.question for s in reversed(segments) if s.question), "")
        asked = [replace(s, question=newest if s.question else "") for s in segments]
        return replace(self.inner, rules=rules).plan(asked)


class EachTurn(Nothing):
    """`Newest` over the rules of `words`."""

    def __init__(self) -> None:
        self._policy = Newest(WORDS)

    def send(self, body: bytes, _at: float) -> bytes:
        return shorten(body, self._policy, load, Stages()).body


class Ours:
    """The pipeline as the proxy runs it, for one tenant, with time enough for every compressor. It learns what the
    model's input costs and what was billed, and remembers on the workload's clock."""

    def __init__(self, policy: RulePolicy, model: str) -> None:
        self._policy = policy
        self._model = model
        self._now = 0.0
        compression = Compression(deadline_ms=600_000, workers=1, bypass_share=0.0)
        settings = Settings({}, (Route(ROUTE, "", policy.name),), {policy.name: policy}, compression=compression)
        self._economy = Economy(lambda: settings)
        sketch = Sketch(now=lambda: self._now)
        self._pipeline = Pipeline(compression, sketch=sketch, market=self._economy.market)
        self._runner = asyncio.Runner()
        self._asked = Asked(tenant=b"a route and a key", route=ROUTE)
        self._pipeline.settle(settings)

    def send(self, body: bytes, at: float) -> bytes:
        self._now = at
        return self._runner.run(self._pipeline.prepare(body, self._policy, self._asked)).body

    def told(self, usage: Usage) -> None:
        measured = Measured(Outcome.COMPRESSED, model=self._model)
        self._economy.record(Savings("", self._now, ROUTE, self._policy.name, "", False, measured, 200, usage))

    def close(self) -> None:
        self._pipeline.close()
        self._runner.close()
