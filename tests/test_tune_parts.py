"""What `laconic tune` is made of: traffic, candidates, money, evidence, answers, the frontier."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from layouts import NUMBERED, QUESTION, body, tool, user
from traffic import USAGE, recorded

from compressors import load as compressor
from policies.presets import TABLES
from policies.written import build
from proxy.pricing import Price
from proxy.recording import Recorder
from proxy.savings import Usage
from proxy.settings import Recording
from proxy.shorten import Stages, shorten
from proxy.tune.candidates import BASE, BLIND, as_toml, candidates, combined, turned
from proxy.tune.evidence import marks, survival
from proxy.tune.frontier import choose, frontier
from proxy.tune.money import Saved, blended, rates
from proxy.tune.sweep import Tried
from proxy.tune.traffic import read


def test_of_many_requests_the_same_ones_are_drawn_each_time(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.jsonl", 30)
    first, second = read([path], 7), read([path], 7)
    assert [r.body for r in first.requests] == [r.body for r in second.requests]
    assert (len(first.requests), first.found) == (7, 30)


def test_requests_stand_in_the_order_in_which_they_came_and_are_drawn_in_stretches(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with path.open("w") as file:
        for at in reversed(range(300)):
            told = {"at": at, "route": "r", "body": {"model": "gpt-4o", "messages": [user(f"hi {at}")]}}
            file.write(json.dumps(told) + "\n")
    assert [r.at for r in read([path], 300).requests] == list(range(300))
    assert [r.at for r in read([path], 99).requests] == [*range(50), *range(250, 299)]
    assert [r.at for r in read([path], 1).requests] == [0]


def test_a_model_stands_in_for_the_one_that_was_named(tmp_path: Path) -> None:
    (request,) = read([recorded(tmp_path / "t.jsonl", 1)], 1, "gpt-4.1").requests
    assert request.model == "gpt-4.1"
    assert json.loads(request.body)["model"] == "gpt-4.1"


def test_a_line_that_was_never_finished_is_counted_and_the_recorder_goes_on_below_it(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.jsonl", 1)
    with path.open("ab") as file:
        file.write(path.read_bytes()[:-100])
    recorder = Recorder(Recording(), str(path))
    recorder.close()
    traffic = read([recorded(path, 1)], 9)
    assert (len(traffic.requests), traffic.found, traffic.unreadable) == (2, 3, 1)


@pytest.mark.parametrize("models", [False, True])
def test_every_candidate_is_a_valid_policy_and_its_toml_says_the_same(models: bool) -> None:
    found = candidates(models)
    assert len({one.name for one in found}) == len(found)
    knobs = [one for one in found if one.knob == "context"][:1] + [one for one in found if one.knob == "history"][-1:]
    for one in (*found, combined(BASE if models else BLIND, knobs)):
        complaints: list[Any] = []
        build({"tuned": dict(one.table)}, TABLES, complaints)
        assert complaints == []
        assert tomllib.loads(as_toml("tuned", one.table))["policy"]["tuned"] == dict(one.table)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (None, 2.0),
        (Usage(1000, 5), 2.0),
        (Usage(1000, 5, 0), 2.0),
        (Usage(1000, 5, 1000), 0.5),
        (Usage(1000, 5, 500), 1.25),
        (Usage(1000, 5, 500, 500), 1.5),
        (Usage(0, 5, 0), 2.0),
    ],
)
def test_a_removed_token_is_worth_what_the_tokens_of_its_request_were_billed_at(
    usage: Usage | None, price: float
) -> None:
    assert blended(Price(2.0, 0.5, 2.5, 8.0), usage) == pytest.approx(price / 1e6)


def test_net_is_gross_less_the_seconds(tmp_path: Path) -> None:
    requests = read([recorded(tmp_path / "t.jsonl", 2)], 2).requests
    saved = rates(requests, {}, 0.01).saved(requests, [100, 300], [0.5, 0.1])
    assert saved.gross == pytest.approx(400 * 2.5e-6 * 500)
    assert saved.net == pytest.approx(saved.gross - 0.6 * 0.01 * 500)


def test_requests_whose_cached_tokens_are_unknown_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for usage in (None, Usage(10, 1), USAGE):
        recorded(path, 1, usage)
    assert rates(read([path], 9).requests, {}, 0).guessed == 2


def test_evidence_is_the_sentences_that_bear_on_the_question() -> None:
    raw = body([user(f"Context:\n{NUMBERED}\n\nQuestion: {QUESTION}")]).replace(b"NaN", b"1")
    policy = build({"t": {"extends": "safe"}}, TABLES, [])["t"]
    examined = shorten(raw, policy, compressor, Stages()).examined
    found = marks(examined.segments)
    (field,) = {mark.field for mark in found}
    text = examined.request.fields[field].text

    def without(gone: str) -> float:
        at = text.index(gone)
        return survival(found, {field: ((0, at), (at + len(gone), len(text)))})

    assert survival(found, {}) == 1
    assert survival(found, {field: ()}) == 0
    assert without("Volunteers repair punctures on Saturdays between 10:00 and 13:00 and bring their own tools.") == 1
    assert without("A borrowed cargo bike must be returned within 31 days") < 0.95
    assert survival((), {field: ()}) == 1


def test_the_evidence_of_tool_output_is_rows_and_what_tells_them_apart() -> None:
    rows = "\n".join(f"bike CB-{n:03} stands in hall {n % 3}" for n in range(60))
    calls = [{"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    raw = body([user("Where is CB-017?"), {"role": "assistant", "tool_calls": calls}, tool(rows)])
    policy = build({"t": {"extends": "safe"}}, TABLES, [])["t"]
    examined = shorten(raw.replace(b"NaN", b"1"), policy, compressor, Stages()).examined
    found = marks(examined.segments)
    field = found[0].field

    def without(row: int) -> float:
        gone = f"bike CB-{row:03} stands in hall {row % 3}"
        at = rows.index(gone)
        return survival(found, {field: ((0, at), (at + len(gone), len(rows)))})

    assert without(17) < without(40) < 1


def test_the_frontier_is_what_no_other_beats_in_both() -> None:
    points = [(0.0, 1.0), (1.0, 0.99), (0.5, 0.98), (2.0, 0.9), (2.0, 0.8), (-1.0, 1.0)]
    tried = [Tried(turned(BASE, "context", 0.5), Saved(net, net, 0, 0), quality) for net, quality in points]
    assert [(one.saved.net, one.quality) for one in frontier(tried)] == [(2.0, 0.9), (1.0, 0.99), (0.0, 1.0)]
    assert choose(tried, 0.95).saved.net == 1.0
    assert choose(tried, 0.9).quality == 0.9
    assert choose(tried, 1.0).saved.net == 0.0
