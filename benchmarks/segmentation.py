"""How well requests are cut into segments, and how much may be shortened without touching what must stay.

    python benchmarks/segmentation.py --shapes DIR [--split dev] [--by-application] [--json FILE]

A shapes folder holds `<split>/*.json`, one recorded request body a file:

    {"id", "application", "request": <the body as sent>,
     "gold": {"spans": [{"message", "part", "start", "end", "label"}],        every non-blank character, by kind
              "protected": [{"message", "part", "start", "end"}],           never to be altered
              "compress": {"verdict": "yes" | "careful" | "no"}}}           "no": the whole body stays

Offsets are Unicode code points; `part` is null for string content. To record bodies, point any client's base URL at a
local server that saves what is POSTed to /v1/chat/completions, then label the spans by hand.

`may_change` is what some compressor could alter. Recall is the share of compressible characters in it. A body is
harmed where one protected character is in it. Kinds are scored by character.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from policies.base import Kind
from proxy.shorten import guarded
from proxy.wire import parse

Body = dict[str, Any]
Place = tuple[int, int | None, int]
COMPRESSIBLE = {"context", "tool_output", "history", "code"}


def texts(message: Body) -> dict[int | None, str]:
    content = message.get("content")
    if isinstance(content, str):
        return {None: content}
    parts = content if isinstance(content, list) else []
    kinds = ("text", "input_text", "refusal")
    return {i: p.get("text", p.get("refusal")) for i, p in enumerate(parts) if p.get("type") in kinds}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method says of one body: the kind of each place, and the places that may change."""

    kinds: dict[Place, str]
    change: set[Place]


def ours(body: Body) -> Answer:
    request = parse(json.dumps(body).encode())
    kinds: dict[Place, str] = {}
    change: set[Place] = set()
    for s in guarded(request):
        kinds.update({(s.message, s.part, i): s.kind.value for i in range(s.start, s.end)})
        change.update((s.message, s.part, i) for a, b in s.may_change for i in range(a, b))
    return Answer(kinds, change)


def by_role(body: Body) -> Answer:
    """Baseline: system prompt and newest user message stay, every other message may change."""
    messages = body["messages"]
    newest = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    free = [i for i, m in enumerate(messages) if m["role"] not in ("system", "developer") and i != newest]
    return Answer(
        {}, {(i, part, j) for i in free for part, text in texts(messages[i]).items() for j in range(len(text))}
    )


def by_length(body: Body) -> Answer:
    """Baseline: every paragraph of more than 250 characters in a text of more than 600, and what tools returned."""
    change: set[Place] = set()
    for i, message in enumerate(body["messages"]):
        for part, text in texts(message).items():
            at = 0
            for paragraph in [text] if message["role"] in ("tool", "function") else text.split("\n\n"):
                if message["role"] in ("tool", "function") or (len(text) > 600 and len(paragraph) > 250):
                    change.update((i, part, j) for j in range(at, at + len(paragraph)))
                at += len(paragraph) + 2
    return Answer({}, change)


METHODS: dict[str, Callable[[Body], Answer]] = {"ours": ours, "by role": by_role, "by length": by_length}


@dataclass(slots=True)
class Tally:
    """Counts of characters, and of bodies, summed over bodies."""

    n: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    harmed: list[str] = field(default_factory=list)

    def add(self, shape: Body, answer: Answer) -> None:
        label = {p: s["label"] for s in shape["gold"]["spans"] for p in places(s)}
        protected = {p for s in shape["gold"]["protected"] if "pointer" not in s for p in places(s)}
        free = {p for p, kind in label.items() if kind in COMPRESSIBLE} - protected
        if shape["gold"]["compress"]["verdict"] == "no":
            free, protected = set(), protected | set(label)
        hit = answer.change & protected
        self.n.update(bodies=1, free=len(free), found=len(free & answer.change), protected=len(protected), hit=len(hit))
        self.n.update(
            harmed=bool(hit),
            **{f"{k} touched": any(label.get(p) == k for p in hit) for k in ("question", "instruction")},
        )
        if hit:
            self.harmed.append(shape["id"])
        for place, kind in label.items():
            said = answer.kinds.get(place, "none")
            self.kinds[kind].update(gold=1, right=said == kind)
            self.kinds[said].update(said=1)

    def summary(self) -> dict[str, float | int]:
        n = self.n
        return {
            "bodies": n["bodies"], "recall": round(n["found"] / max(1, n["free"]), 4), "harmed": n["harmed"],
            "questions touched": n["question touched"], "instructions touched": n["instruction touched"],
            "protected share": round(n["hit"] / max(1, n["protected"]), 5), "compressible": n["free"],
        }  # fmt: skip

    def scores(self) -> Iterator[tuple[str, float, float, float, int]]:
        for kind in Kind:
            c = self.kinds[kind.value]
            precision, recall = c["right"] / max(1, c["said"]), c["right"] / max(1, c["gold"])
            yield kind.value, precision, recall, 2 * precision * recall / max(1e-9, precision + recall), c["gold"]


def places(span: Body) -> Iterator[Place]:
    return ((span["message"], span["part"], i) for i in range(span["start"], span["end"]))


def table(title: str, rows: list[tuple[str, Tally]]) -> Table:
    out = Table("", *rows[0][1].summary(), title=title)
    for name, tally in rows:
        out.add_row(name, *(str(v) for v in tally.summary().values()))
    return out


def kind_table(tally: Tally) -> Table:
    out = Table("kind", "precision", "recall", "F1", "characters", title="kinds, by character")
    for kind, precision, recall, f1, size in tally.scores():
        out.add_row(kind, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", str(size))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=Path, required=True)
    parser.add_argument("--split", default="dev", help="sub-folder; '' for bodies right in the folder")
    parser.add_argument("--by-application", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    shapes = [json.loads(p.read_text("utf-8")) for p in sorted((args.shapes / args.split).glob("*.json"))]
    if not shapes:
        parser.error(f"no *.json in {args.shapes / args.split}")
    totals = {name: Tally() for name in METHODS}
    applications: dict[str, Tally] = defaultdict(Tally)
    for shape in shapes:
        for name, method in METHODS.items():
            answer = method(shape["request"])
            totals[name].add(shape, answer)
            if name == "ours":
                applications[shape["application"]].add(shape, answer)
    console = Console(width=150)
    console.print(table("what may change", list(totals.items())), kind_table(totals["ours"]))
    if args.by_application:
        console.print(table("by application", sorted(applications.items())))
    console.print("harmed:", ", ".join(totals["ours"].harmed) or "none")
    if args.json:
        result = {"methods": {n: t.summary() for n, t in totals.items()}, "harmed": totals["ours"].harmed}
        args.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
