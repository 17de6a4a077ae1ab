"""The replay through a simulated prompt cache: what is sent when, by whom, and what the table says of it."""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import prompt_cache
import pytest
from promptcache import datasets, replay, table
from promptcache.arms import Arm, EachTurn, Naive, Nothing, Ours, policy
from promptcache.prompts import rendered
from promptcache.replay import LINES, NONE, Bill
from promptcache.workloads import Pace, Request, Workload, assistant, marked, system, timed, turns, user

from proxy.savings import Usage

CHAT = [system("Be kind."), user("One?"), assistant("1"), user("Two?"), assistant("2")]


@pytest.fixture(scope="module")
def built_in() -> dict[str, Workload]:
    return {workload.name: workload for workload in datasets.built_in(12)}


def test_a_client_sends_what_was_said_each_time_that_it_is_the_models_turn() -> None:
    assert turns(CHAT) == [CHAT[:2], CHAT[:4]]
    assert turns(CHAT[:4]) == [CHAT[:2], CHAT[:4]]


def test_requests_come_in_order_and_are_the_same_every_time() -> None:
    threads = [turns(CHAT) for _ in range(50)]
    found = timed(threads, Pace(40, 1.2, 5), 75, "seed")
    assert found == timed(threads, Pace(40, 1.2, 5), 75, "seed") != timed(threads, Pace(40, 1.2, 5), 75, "another")
    assert len(found) == 75
    assert [r.at for r in found] == sorted(r.at for r in found)
    assert [r.thread for r in found] != sorted(r.thread for r in found)  # beside each other
    sizes: dict[int, list[int]] = defaultdict(list)
    for request in found:
        sizes[request.thread].append(len(request.messages))
    assert all(size == sorted(size) for size in sizes.values())


def test_results_of_tools_take_up_the_ids_of_their_calls() -> None:
    said = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_call": {"name": "look", "arguments": {"city": "Borup"}}},
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": "Rain."},
    ]
    (thread,) = datasets.SOURCES["task dialogues (SGD)"].threads([{"source": "sgd", "messages": said}])
    assert [len(messages) for messages in thread] == [2, 4]
    _, _, called, result = thread[-1]
    (made,) = called["tool_calls"]
    assert made["function"] == {"name": "look", "arguments": '{"city": "Borup"}'}
    assert called["content"] is None
    assert result == {"role": "tool", "tool_call_id": made["id"], "content": "rain"}


def test_marks_stand_at_the_system_message_and_the_newest_and_change_no_text() -> None:
    prompt = rendered(json.dumps({"messages": marked(CHAT[:4], newest=True)}).encode())
    assert prompt.marks == (0, 3)
    assert prompt.tokens.tolist() == rendered(json.dumps({"messages": CHAT[:4]}).encode()).tokens.tolist()
    assert rendered(json.dumps({"messages": marked(CHAT[:4], newest=False)}).encode()).marks == (0,)


def rows(arm: Arm, workload: Workload) -> Iterator[list[list[int]]]:
    """The tokens that an arm sends, by thread."""
    found: dict[int, list[list[int]]] = defaultdict(list)
    for request in workload.requests:
        sent = arm.send(json.dumps({"model": "gpt-4o", "messages": request.messages}).encode(), request.at)
        found[request.thread].append(rendered(sent).tokens.tolist())
    arm.close()
    yield from found.values()


def kept(threads: Iterator[list[list[int]]]) -> list[bool]:
    return [later[: len(earlier)] == earlier for thread in threads for earlier, later in pairwise(thread)]


def test_our_prefixes_stay_and_those_of_the_other_arms_do_not(built_in: dict[str, Workload]) -> None:
    chat = built_in["retrieval chat"]
    assert all(kept(rows(Nothing(), chat)))
    assert all(kept(rows(Ours(policy("words"), "gpt-4o"), chat)))
    assert not any(kept(rows(EachTurn(), chat)))
    assert not any(kept(rows(Naive(), chat)))


def test_arms_that_compress_send_less(built_in: dict[str, Workload]) -> None:
    sizes = [
        sum(len(row) for thread in rows(arm, built_in["single"]) for row in thread)
        for arm in (Nothing(), EachTurn(), Ours(policy("words"), "gpt-4o"), Naive())
    ]
    assert sizes[1] == sizes[2] < 0.7 * sizes[0]
    assert sizes[3] < 0.7 * sizes[0]


def test_a_bill_is_what_the_provider_counted_at_the_lines_prices() -> None:
    text = "word " * 2000
    requests = tuple(Request(at, 0, [user(text)]) for at in (0.0, 60.0, 1200.0))
    size = len(rendered(json.dumps({"messages": [user(text)]}).encode()).tokens)
    blocks = size // 128 * 128
    lines = LINES[:2]
    one, two = replay.bills(Workload("w", requests), NONE, lines)
    assert (one.requests, one.input, one.cached, one.written, one.changed) == (3, 3 * size, blocks, 2 * blocks, 0)
    for bill, line in zip((one, two), lines, strict=True):
        price = line.price
        assert price.cached is not None
        expected = ((3 * size - blocks) * price.input + blocks * price.cached) / 1e6
        assert bill.usd == pytest.approx(expected)
        assert bill.per_thousand == pytest.approx(expected / 3 * 1000)


def test_an_arm_is_told_what_was_billed(monkeypatch: pytest.MonkeyPatch, built_in: dict[str, Workload]) -> None:
    told: list[Usage] = []
    monkeypatch.setattr(Nothing, "told", lambda self, usage: told.append(usage))
    shared = built_in["shared, in system"]
    for line in LINES:
        replay.bills(shared, NONE, [line])
        usages, told = told, []
        priced = line.price.cache_write is not None
        assert all((usage.cache_write is not None) == priced for usage in usages)
        assert sum(usage.cached or 0 for usage in usages) > 0


def bill(line: str, arm: str, usd: float, tokens: int = 1000) -> Bill:
    return Bill("chat", line, arm, 10, tokens, 0, 0, 0, usd, 0.0)


def result(naive: float, ours: float) -> table.Result:
    costs = {NONE: 1.0, "naive": naive, "each turn": 1.5, "words": ours}
    bills = tuple(bill(line.name, arm, usd) for line in LINES for arm, usd in costs.items())
    return table.Result(bills, ("words",), (), {"date": "", "machine": "", "command": "", "seconds": ""})


def test_the_last_word_is_whether_ours_ever_costs_more() -> None:
    *_, cheapest, last = table.verdicts(result(0.9, 0.8))
    assert cheapest == "Nothing is cheaper than `words`."
    assert last == "`words` never costs more than no compression."
    *_, cheapest, last = table.verdicts(result(0.9, 1.1))
    assert "5 of 5 cases: chat, naive (100% sent, ours 100%): GPT-5 20.0%, GPT-4.1 20.0%" in cheapest
    assert last.startswith("`words` COSTS MORE than no compression in 5 of 5 cases: chat: GPT-5 10.0%, GPT-4.1")


def test_the_command_runs_without_data_and_names_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "results" / "cache"
    assert prompt_cache.main(["--limit", "2", "--processes", "1", "--out", str(out)]) == 0
    found = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert {row["arm"] for row in found["bills"]} == {NONE, "naive", "each turn", "words"}
    assert {row["line"] for row in found["bills"]} == {line.name for line in LINES}
    markdown = out.with_suffix(".md").read_text("utf-8")
    assert "--out DIR" in markdown
    assert str(tmp_path) not in markdown + json.dumps(found)


def test_a_folder_without_data_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prompt_cache.main(["--data", str(tmp_path)]) == 2
    assert "none of the sets" in capsys.readouterr().out
