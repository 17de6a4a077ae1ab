"""What would become of a request: its segments, what may change in them, and the plan. Nothing is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from compressors.base import Budget, Rate, Tokens
from policies.base import Plan, Segment
from policies.routes import match
from proxy.check import lacks
from proxy.settings import Settings
from proxy.shorten import Stages, examine

Explained = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`lacks`: which compressors of the plan do without their model here, with why, one sentence each."""

    segments: tuple[Segment, ...]
    plan: Plan
    lacks: tuple[str, ...] = ()

    def rows(self) -> Iterator[tuple[Segment, str | None, str]]:
        """Each segment with the step that it is part of ("lexical, rate 0.5") and the reason."""
        steps = {i: f"{s.compressor}, {_words(s.budget)}" for s in self.plan.steps for i in s.segments}
        for n, segment in enumerate(self.segments):
            yield segment, steps.get(n), self.plan.reasons[n]


def explain(body: bytes, settings: Settings) -> Explanation:
    """By the policy of the route that the body would take without a path prefix, a key or a header.

    Raises `proxy.wire.UnknownShape` where the body is not a chat request."""
    examined = examine(body, Stages())
    route = match(settings.routes, "/v1/chat/completions", examined.request.model, (), None) or settings.routes[-1]
    plan = settings.policies[route.policy].plan(examined.segments)
    names = sorted({step.compressor for step in plan.steps})
    lacking = tuple(f"{name}: {why}" for name in names if (why := lacks(name, settings)))
    return Explanation(examined.segments, plan, lacking)


def as_json(file: str, explanation: Explanation) -> Explained:
    """One line of `laconic explain --json`. Offsets are Unicode code points of the message's text."""
    return {
        "file": file,
        "segments": [
            {
                "message": s.message,
                "part": s.part,
                "start": s.start,
                "end": s.end,
                "kind": s.kind.value,
                "document": s.document,
                "may_change": [list(span) for span in s.may_change],
                "step": step,
                "reason": reason,
            }
            for s, step, reason in explanation.rows()
        ],
        "lacks": list(explanation.lacks),
    }


def show(file: str, explanation: Explanation, console: Console) -> None:
    """The same as a table to read, with the first words of each segment."""
    table = Table(title=file, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in ("message", "kind", "tokens", "may change", "step or reason", "text"):
        table.add_column(name, justify="right" if name in ("tokens", "may change") else "left", no_wrap=name == "text")
    for s, step, reason in explanation.rows():
        place = f"{s.message}" if s.part is None else f"{s.message}.{s.part}"
        kind = s.kind.value if s.document is None else f"{s.kind.value} {s.document}"
        share = f"{sum(b - a for a, b in s.may_change) / max(1, len(s.text)):.0%}"
        table.add_row(place, kind, str(s.tokens), share, step or f"[dim]{reason}[/dim]", _first_words(s.text))
    console.print(table)
    for sentence in explanation.lacks:
        console.print(sentence, highlight=False)
    console.print(_total(explanation.segments))


def _total(segments: Sequence[Segment]) -> str:
    tokens = sum(s.tokens for s in segments)
    able = sum(s.tokens for s in segments if s.may_change)
    return f"{len(segments)} segments, {tokens} tokens, {able} of them in segments that may change\n"


def _first_words(text: str) -> str:
    line = " ".join(text[:120].split())
    return line if len(line) <= 40 else line[:39] + "…"


def _words(budget: Budget) -> str:
    if isinstance(budget, Rate):
        return "lossless" if budget.value == 1 else f"rate {budget.value:g}"
    return f"{budget.value} tokens" if isinstance(budget, Tokens) else f"threshold {budget.value:g}"
