"""A day of traffic through the real app to a provider that keeps its own books: the report says what they say."""

import csv
import io
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest
from provider import DONE, END, Act, Request, Script, delta, event, stream_head, whole
from provider import provider as running_provider
from rich.console import Console

from policies.presets import PRESETS, audited
from policies.routes import Route
from proxy.app import create_app
from proxy.ledger import open_ledger
from proxy.pipeline import Pipeline
from proxy.pricing import Prices, known
from proxy.report import report
from proxy.report_tables import show
from proxy.server import running
from proxy.settings import Compression, Settings, Upstream
from proxy.summaries import By, summarise

PRICED = ("gpt-4o", "gpt-5.6")
MODELS = (*PRICED, "house-7b")
ROUTES = {"rag": "quick", "chat": "quick", "watched": "measured", "plain": "off"}
AGGRESSIVE = PRESETS["aggressive"]
QUICK = replace(
    AGGRESSIVE, rules={kind: replace(rule, compressor="lexical") for kind, rule in AGGRESSIVE.rules.items()}
)
POLICIES = {"quick": QUICK, "measured": audited(QUICK), "off": PRESETS["off"]}
BLOCK = 64  # characters of a prompt that are cached together


@dataclass
class Books:
    """What a provider billed and said, by route, the model that the ledger has (none where the request is not read) and
    the model that answered: counts of tokens, and of answers that did not say."""

    said: defaultdict[tuple[str, str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    cache: set[tuple[str, str]] = field(default_factory=set)

    def answer(self, request: Request) -> Script:
        route = request.target.split("/")[1]
        if not request.target.endswith("/chat/completions"):
            self.said[route, "", "embedder"].update({"input": 5, "unpriced": 1})
            return (
                whole(
                    json.dumps(
                        {
                            "object": "list",
                            "data": [],
                            "model": "embedder",
                            "usage": {"prompt_tokens": 5, "total_tokens": 5},
                        }
                    ).encode()
                ),
            )
        body = request.json()
        page = self.said[route, "" if ROUTES[route] == "off" else body["model"], body["model"]]
        fate = body["metadata"]["fate"]
        if fate == "error":
            page["errors"] += 1
            return (whole(b'{"error": {"message": "no", "type": "theirs"}}', status=503),)
        usage = self.usage(body)
        heard = fate != "cut" and (not body.get("stream") or "stream_options" in body)
        if not heard:
            page["unsaid"] += 1
        else:
            details: dict[str, int] = usage["prompt_tokens_details"]
            page.update(Counter(input=usage["prompt_tokens"], output=usage["completion_tokens"], answers=1))
            page.update(Counter(cached=details["cached_tokens"], written=details.get("cache_write_tokens", 0)))
            page["unpriced"] += body["model"] not in PRICED
        return self.script(body, fate, usage if heard else None)

    def usage(self, body: dict[str, Any]) -> dict[str, Any]:
        """Characters are tokens here; whole blocks that were seen before are cached, the others are written."""
        prompt = json.dumps(body["messages"])
        blocks = [prompt[: n + BLOCK] for n in range(0, len(prompt) - BLOCK, BLOCK)]
        cached = 0
        while cached < len(blocks) and (body["model"], blocks[cached]) in self.cache:
            cached += 1
        self.cache |= {(body["model"], block) for block in blocks}
        details: dict[str, int] = {"cached_tokens": cached * BLOCK}
        if body["model"] == "gpt-5.6":
            details["cache_write_tokens"] = (len(blocks) - cached) * BLOCK
        return {
            "prompt_tokens": len(prompt),
            "completion_tokens": 1 + len(prompt) % 97,
            "prompt_tokens_details": details,
        }

    def script(self, body: dict[str, Any], fate: str, usage: dict[str, Any] | None) -> Script:
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
            answer = {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
            return (whole(json.dumps(answer).encode()),)
        begun = stream_head() + event(delta("Ye"))
        if fate == "cut":
            return (begun, 0.01, Act.RESET)
        last = event({**delta(), "model": body["model"], "choices": [], "usage": usage}) if usage else b""
        return (begun + event(delta("s.")) + last + DONE + END,)


def day() -> Iterator[tuple[str, dict[str, Any]]]:
    """Routes and bodies: conversations of one to four turns, one after the other, some answers failing."""
    chance = random.Random(20)
    for n in range(45):
        route, model = chance.choice(list(ROUTES)), chance.choice(MODELS)
        said = [f"Pier {k} of port {n} has {chance.randint(2, 90)} cranes and a shed." for k in range(40)]
        context = " ".join(said)
        messages = [
            {"role": "system", "content": "Answer from the context only."},
            {"role": "user", "content": f"Context:\n{context}\n\n\n\n  {context}\n\nQuestion: How many has pier 3?"},
        ]
        for _ in range(chance.randint(1, 4)):
            fate = chance.choices(("well", "error", "cut"), (8, 1, 1))[0]
            body: dict[str, Any] = {"model": model, "messages": list(messages), "metadata": {"fate": fate}}
            if fate == "cut" or chance.random() < 0.5:
                body["stream"] = True
                body |= {"stream_options": {"include_usage": True}} if chance.random() < 0.6 else {}
            yield route, body
            messages += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And the next one?"}]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Books]:
    """The ledger of a day and the provider's books, a quarter of the conversations in the bypass arm."""
    path, books = tmp_path_factory.mktemp("day") / "ledger", Books()
    kept = open_ledger(path)
    with running_provider() as fake:
        fake.answer = books.answer
        settings = Settings(
            {name: Upstream(name, f"{fake.url}/{name}/v1") for name in ROUTES},
            tuple(Route(name, name, policy, path=f"/{name}") for name, policy in ROUTES.items()),
            POLICIES,
            compression=Compression(deadline_ms=30_000, usd_per_second=0.001, bypass_share=0.25),
        )
        prices = Prices({}, settings.compression.usd_per_second)
        pipeline = Pipeline(settings.compression)
        pipeline.settle(settings)
        app = create_app(lambda: settings, pipeline, (kept,), prices.money)
        with running(app) as url, httpx.Client(trust_env=False, timeout=60) as client:
            for route, body in day():
                try:
                    client.post(f"{url}/{route}/v1/chat/completions", json=body)
                except httpx.TransportError:
                    assert body["metadata"]["fate"] == "cut"
            for route in ROUTES:
                client.post(f"{url}/{route}/v1/embeddings", json={"model": "gpt-4o", "input": "piers"})
    kept.close()
    return path, books


def page(books: Books, key: str, by: int) -> Counter[str]:
    """The provider's counts of one route (0) or model (1)."""
    return sum((c for place, c in books.said.items() if place[by] == key), Counter())


def dollars(books: Books, key: str, by: int) -> float:
    """What the provider's counts come to, in exact arithmetic and by another way than ours."""
    total = Fraction(0)
    for place, count in books.said.items():
        if place[by] == key and place[2] in PRICED:
            price = known()[place[2]]
            written = count["written"] if price.cache_write else 0
            rate = [Fraction(str(rate or 0)) for rate in (price.input, price.cached, price.cache_write, price.output)]
            plain = count["input"] - count["cached"] - written
            total += plain * rate[0] + count["cached"] * rate[1] + written * rate[2] + count["output"] * rate[3]
    return float(total / 1_000_000)


def test_the_day_has_some_of_everything(replayed: tuple[Path, Books]) -> None:
    """Or the sums below would show little."""
    path, books = replayed
    total = summarise(path, "route").total
    everything = sum(books.said.values(), Counter())
    assert min(everything[name] for name in ("answers", "unsaid", "errors", "cached", "written", "unpriced")) > 0
    assert min(total.compressed, total.audited, total.passed, total.trial.bypass, total.trial.treated) > 0
    assert total.requests == everything["answers"] + everything["unsaid"] + everything["errors"] + len(ROUTES)


@pytest.mark.parametrize(("by", "column"), [("route", 0), ("model", 1)])
def test_the_report_says_what_the_providers_books_say(
    replayed: tuple[Path, Books], capsys: pytest.CaptureFixture[str], by: By, column: int
) -> None:
    path, books = replayed
    report(path, by, as_json=True)
    groups = {group["key"]: group for group in json.loads(capsys.readouterr().out)["groups"]}
    assert set(groups) == {place[column] for place in books.said}
    for key, group in groups.items():
        count = page(books, key, column)
        names = ("input", "cached", "cache_write", "output")
        said = {name: group[f"billed_{name}"] or 0 for name in names}
        assert said == dict(zip(names, (count[n] for n in ("input", "cached", "written", "output")), strict=True)), key
        assert (group["unknown_usage"], group["unknown_bills"]) == (
            count["unsaid"],
            count["unsaid"] + count["unpriced"],
        )
        assert (group["billed_usd"] or 0) == pytest.approx(dollars(books, key, column), rel=1e-12, abs=0), key


def test_parts_add_up_and_what_is_unknown_is_counted(replayed: tuple[Path, Books]) -> None:
    path, _ = replayed
    for found in (summarise(path, "model"), summarise(path, "day"), summarise(path, "route")):
        total = found.total
        for name in ("requests", "billed_input", "billed_output", "unknown_usage", "unknown_bills", "unknown_net"):
            assert sum(getattr(group, name) or 0 for group in found.groups) == getattr(total, name), name
        for name in ("saved_usd", "saved_net_usd", "billed_usd", "compressor_usd", "compressor_seconds"):
            parts = sum(getattr(group, name) or 0 for group in found.groups)
            assert parts == pytest.approx(getattr(total, name), rel=1e-12), name
        bill = (total.billed_uncached_usd, total.billed_cached_usd, total.billed_written_usd, total.billed_output_usd)
        assert sum(part or 0 for part in bill) == pytest.approx(total.billed_usd, rel=1e-12)
    assert total.compressor_seconds is not None
    assert total.compressor_usd == pytest.approx(total.compressor_seconds * 0.001)
    assert 0 < total.unknown_net < total.compressed
    assert total.saved_net_usd != total.saved_usd


def test_every_request_that_was_to_be_shortened_is_in_the_trial_or_counted_as_left_out(
    replayed: tuple[Path, Books],
) -> None:
    path, _ = replayed
    on = [g for g in summarise(path, "route").groups if ROUTES[g.key] == "quick"]
    off = [g for g in summarise(path, "route").groups if ROUTES[g.key] != "quick"]
    assert all(g.trial.treated and g.trial.treated_unknown for g in on)
    assert not any(g.trial.treated or g.trial.bypass or g.trial.bypass_unknown for g in off)
    held = summarise(path, "route").trials
    assert {trial.route for trial in held} == {g.key for g in on}
    unpriced = [trial.trial for trial in held if trial.model == "house-7b"]
    assert [t.treated + t.bypass for t in unpriced] == [0] * len(unpriced), "without a price nothing is compared"


def test_csv_and_tables_carry_it_all(replayed: tuple[Path, Books], capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = replayed
    report(path, "route", as_csv=True)
    lines = {line["route"]: line for line in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    found = summarise(path, "route")
    for group in found.groups:
        line = lines[group.key]
        assert line["billed_input"] == str(group.billed_input)
        assert line["saved_net_usd"] == ("" if group.saved_net_usd is None else str(group.saved_net_usd))
        assert (line["trial_bypass"], line["trial_cost_total_low"]) == (str(group.trial.bypass), "")
    out = io.StringIO()
    show(found, None, Console(file=out, width=120, highlight=False))
    assert "…" not in out.getvalue()
    assert "too few: 30 each are needed" in out.getvalue()
