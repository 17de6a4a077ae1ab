"""The policies that are tried: the presets, and one knob turned at a time around a base."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.presets import TABLES
from policies.rules import RulePolicy
from policies.written import build

Table = Mapping[str, object]

CONTEXT = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
HISTORY = (1.0, 0.8, 0.5)
TOOL_OUTPUT = (1.0, 0.7, 0.4)
_LEAST = {"context": 150, "history": 300, "tool_output": 1000}
"""Tokens below which the knobs leave a block whole, or lossless."""

BLIND: Table = {"extends": "safe", "context": {"compressor": "lexical", "rate": 0.5, "min_tokens": 150}}
"""The base without a model."""
BASE: Table = {"extends": "balanced"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """`table`: as it would stand under `[policy.NAME]`. `knob`, `value`: what was turned, "" for nothing."""

    name: str
    table: Table
    knob: str = ""
    value: float = 0.0

    @property
    def policy(self) -> RulePolicy:
        return build({"tuned": dict(self.table)}, TABLES, [])["tuned"]


def candidates(models: bool) -> tuple[Candidate, ...]:
    """Those to begin with, cheapest to try first. `models`: whether compressors that run one may be used."""
    base = BASE if models else BLIND
    presets = ("balanced", "aggressive") if models else ()
    return (
        Candidate("off", {"extends": "off"}),
        Candidate("safe", {"extends": "safe"}),
        Candidate("lexical", BLIND),
        *(Candidate(name, {"extends": name}) for name in presets),
        *(turned(base, knob, value) for knob, values in _knobs() for value in values),
    )


def turned(base: Table, knob: str, value: float) -> Candidate:
    """The base with one rule keeping this share."""
    return Candidate(f"{knob} {value:g}", {**base, knob: _rule(base, knob, value)}, knob, value)


def combined(base: Table, chosen: Sequence[Candidate]) -> Candidate:
    """One candidate with the knobs of several."""
    name = ", ".join(f"{one.knob} {one.value:g}" for one in chosen)
    return Candidate(name, {**base, **{one.knob: one.table[one.knob] for one in chosen}})


def _knobs() -> tuple[tuple[str, tuple[float, ...]], ...]:
    return ("context", CONTEXT), ("history", HISTORY), ("tool_output", TOOL_OUTPUT)


def _rule(base: Table, knob: str, value: float) -> dict[str, object]:
    least = _LEAST[knob]
    own = base.get(knob)
    named = {"compressor": own["compressor"]} if isinstance(own, dict) else {}
    if value == 1:
        return {**named, "rate": 1.0}
    if knob == "context":
        return {**named, "rate": value, "min_tokens": least}
    return {**named, "ranges": [{"max": least, "rate": 1.0}, {"min": least, "rate": value}]}


def as_toml(name: str, table: Table) -> str:
    """`[policy.NAME]` with these keys."""
    lines = [f"[policy.{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
