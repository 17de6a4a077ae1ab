"""What keys may use: requests a minute and USD a day, over processes, restarts, midnight and damage."""

import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import openai
import pytest
from conftest import UNDRAWN, Told
from openai import OpenAI, RateLimitError
from provider import Provider, whole
from raw import ask, chat, request
from test_access import error, key, keyed, own, until

from proxy.app import App
from proxy.endpoints import Parts
from proxy.errors import BudgetSpent, RateLimited
from proxy.ledger import open_ledger
from proxy.pipeline import Pipeline
from proxy.pricing import Prices
from proxy.quota import DAY, Quota
from proxy.savings import Bill, Measured, Money, Outcome, Savings, Usage
from proxy.server import running
from proxy.settings import Key, Settings
from proxy.summaries import summarise
from proxy.transport import Transport

NOON = 20_000 * DAY + DAY / 2


@dataclass
class Clock:
    now: float = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["in a file", "in memory"])
def quota(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Quota:
    return Quota(tmp_path / "l.keys" if request.param == "in a file" else None, clock)


def billed(usd: float | None, output: float | None = 0.0, outcome: Outcome = Outcome.COMPRESSED) -> Savings:
    money = Money(bill=Bill(usd, 0.0, 0.0, output))
    return Savings("id", NOON, "r", "p", "u", False, Measured(outcome), 200, Usage(1, 1), money)


def taken(quota: Quota, key: Key, at_most: int = 1000) -> int:
    """How many requests are let in at once."""
    for number in range(at_most):
        try:
            quota.take(key)
        except RateLimited:
            return number
    return at_most


def test_the_requests_of_a_minute_may_come_at_once_and_then_come_evenly(quota: Quota, clock: Clock) -> None:
    anna = key("anna", requests_per_minute=30)
    assert taken(quota, anna) == 30
    with pytest.raises(RateLimited) as refused:
        quota.take(anna)
    assert refused.value.retry_after == 2
    clock.now += 1.5
    with pytest.raises(RateLimited) as refused:
        quota.take(anna)
    assert refused.value.retry_after == 1
    clock.now += 0.5
    assert taken(quota, anna) == 1, "a refusal costs nothing"
    clock.now += 20
    assert taken(quota, anna) == 10
    clock.now += 3600
    assert taken(quota, anna) == 30, "no more than a minute's are saved up"


def test_keys_have_quotas_of_their_own_and_some_have_none(quota: Quota) -> None:
    anna, bob = key("anna", requests_per_minute=2), key("bob", requests_per_minute=3)
    assert [taken(quota, each) for each in (anna, bob, anna, bob)] == [2, 3, 0, 0]
    assert taken(quota, key("carl")) == 1000


def test_a_budget_ends_at_midnight(quota: Quota, clock: Clock) -> None:
    anna = key("anna", usd_per_day=1.0)
    for usd in (0.25, 0.5, 0.2499):
        quota.take(anna)
        quota.charge(anna, billed(usd))
    quota.take(anna)
    quota.charge(anna, billed(0.1, output=3.0))
    with pytest.raises(BudgetSpent) as refused:
        quota.take(anna)
    assert refused.value.retry_after == DAY / 2
    clock.now = 20_001 * DAY - 0.5
    with pytest.raises(BudgetSpent) as refused:
        quota.take(anna)
    assert refused.value.retry_after == 1
    clock.now += 0.5
    quota.take(anna)
    quota.charge(anna, billed(0.5))
    quota.take(anna)


def test_a_request_that_the_budget_refuses_takes_no_token(quota: Quota, clock: Clock) -> None:
    anna = key("anna", requests_per_minute=2, usd_per_day=1.0)
    quota.charge(anna, billed(1.0))
    for _ in range(5):
        with pytest.raises(BudgetSpent):
            quota.take(anna)
    assert taken(quota, replace(anna, usd_per_day=None)) == 2


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), -1.0])
def test_a_bill_that_is_none_changes_nothing(quota: Quota, usd: float) -> None:
    anna = key("anna", usd_per_day=1.0)
    quota.charge(anna, billed(0.9))
    quota.charge(anna, billed(usd))
    quota.take(anna)
    quota.charge(anna, billed(0.1))
    with pytest.raises(BudgetSpent):
        quota.take(anna)


def test_what_is_not_known_is_said_once_and_what_is_known_counts(
    quota: Quota, caplog: pytest.LogCaptureFixture
) -> None:
    anna = key("anna", usd_per_day=1.0)
    quota.charge(anna, Savings("id", NOON, "r", "", "u", False, Measured(Outcome.PASSED), 200))
    assert caplog.text == "", "an answer to something that costs nothing, as far as anybody knows"
    quota.charge(anna, billed(None, None))
    quota.charge(anna, billed(1.0, None))
    assert caplog.text.count("key 'anna': what some requests cost is not known") == 1
    with pytest.raises(BudgetSpent):
        quota.take(anna)


@pytest.mark.parametrize("hours", [-1, -24 * 365, 24 * 365])
def test_a_clock_that_was_put_right_locks_nobody_out(quota: Quota, clock: Clock, hours: float) -> None:
    anna = key("anna", requests_per_minute=5, usd_per_day=1.0)
    assert taken(quota, anna) == 5
    clock.now += hours * 3600
    assert taken(quota, anna) == 5


def test_what_was_used_is_still_used_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    anna, bob = key("anna", requests_per_minute=5), key("bob", usd_per_day=1.0)
    first = Quota(tmp_path / "l.keys", clock)
    assert taken(first, anna, 3) == 3
    first.charge(bob, billed(2.0))
    first.close()
    second = Quota(tmp_path / "l.keys", clock)
    assert taken(second, anna) == 2
    with pytest.raises(BudgetSpent):
        second.take(bob)
    data = (tmp_path / "l.keys").read_bytes()
    assert b"anna" not in data
    assert (tmp_path / "l.keys").stat().st_mode & 0o077 == 0


PROCESS = """
import sys
from pathlib import Path
from proxy.errors import RateLimited
from proxy.quota import Quota
from proxy.savings import Bill, Measured, Money, Outcome, Savings
from proxy.settings import Key

dollar = Savings("", 0, "", "", "", False, Measured(Outcome.PASSED), 200, None, Money(bill=Bill(1.0, 0.0, 0.0, 0.0)))
quota, let_in = Quota(Path(sys.argv[1]), lambda: 1.7e9), 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(400):
    try:
        quota.take(Key("anna", "", requests_per_minute=500))
        let_in += 1
    except RateLimited:
        pass
    quota.charge(Key("bob", "", usd_per_day=1e9), dollar)
print(let_in, flush=True)
"""


def test_processes_share_one_count(tmp_path: Path) -> None:
    path = tmp_path / "l.keys"
    run = [sys.executable, "-c", PROCESS, str(path)]
    here = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=here)
            )
            for _ in range(3)
        ]
        lines = [process.stdout for process in processes if process.stdout]
        assert [line.readline() for line in lines] == ["ready\n"] * 3
        for process in processes:
            assert process.stdin
            print("go", file=process.stdin, flush=True)
        assert sum(int(line.readline()) for line in lines) == 500
    quota = Quota(path, lambda: 1.7e9)
    quota.take(key("bob", usd_per_day=1200.5))
    with pytest.raises(BudgetSpent):
        quota.take(key("bob", usd_per_day=1199.5))


# What goes wrong with the file.


@pytest.mark.parametrize("data", [b"x", b"not one of ours" * 100, b"\0" * 64, b"LACONIC keys 2\n".ljust(64, b"\0")])
def test_a_file_that_is_damaged_is_kept_aside_and_started_anew(
    tmp_path: Path, clock: Clock, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.keys"
    path.write_bytes(data)
    quota = Quota(path, clock)
    anna = key("anna", requests_per_minute=5)
    assert taken(quota, anna) == 5
    assert "is damaged: what keys have used is counted anew" in caplog.text
    assert (tmp_path / "l.keys.damaged").read_bytes() == data
    assert taken(Quota(path, clock), anna) == 0


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "tag", "overwritten"])
def test_a_record_that_is_damaged_meanwhile_is_started_anew(
    tmp_path: Path, clock: Clock, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.keys"
    quota = Quota(path, clock)
    anna, bob = key("anna", requests_per_minute=5), key("bob", requests_per_minute=5)
    assert (taken(quota, anna), taken(quota, bob)) == (5, 5)
    data = bytearray(path.read_bytes())
    at = {"flipped": 64 + 64 + 20, "tag": 64 + 64 + 3}.get(damage, 0)
    data[at] ^= 0xFF if at else 0
    path.write_bytes(bytes({"cut": data[:150], "emptied": b"", "overwritten": bytes(len(data))}.get(damage, data)))
    assert taken(quota, bob) == 5
    assert "is damaged: what the key 'bob' has used is counted anew" in caplog.text
    assert taken(quota, bob) == 0, "and from then on it is kept again"
    if damage in ("flipped", "tag", "cut"):
        assert taken(quota, anna) == 0, "the others are not touched"


def test_a_place_where_no_file_can_be_is_said_and_memory_serves(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "l.keys", tmp_path):
        caplog.clear()
        quota = Quota(path, clock)
        assert taken(quota, key("anna", requests_per_minute=5)) == 5
        assert taken(quota, key("anna", requests_per_minute=5)) == 0
        assert "each process counts for itself" in caplog.text


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 64, 64)
print("held", flush=True)
input()
"""


def test_a_lock_that_another_process_never_gives_back_is_waited_for_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.keys"
    quota = Quota(path, clock)
    anna, bob = key("anna", requests_per_minute=5), key("bob", requests_per_minute=5)
    assert (taken(quota, anna, 2), taken(quota, bob, 2)) == (2, 2)
    run = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert [taken(quota, each, 1) for each in (anna, bob, anna, bob, anna, bob, anna)] == [1, 1, 1, 1, 1, 1, 0]
        assert caplog.text.count("is held by a process that does not go on") == 1
        holder.communicate("\n", timeout=10)
    assert taken(Quota(path, clock), anna) == 0


def test_no_quota_no_file(tmp_path: Path) -> None:
    quota = Quota(tmp_path / "l.keys")
    quota.take(key("anna"))
    quota.charge(key("anna"), billed(1.0))
    assert not (tmp_path / "l.keys").exists()


# Through the service.


def app(settings: Settings, quota: Quota, *meters: object) -> App:
    pipeline = Pipeline(UNDRAWN)
    return App(Parts(lambda: settings, pipeline, Transport(), meters, Prices().money, quota=quota), None)  # type: ignore[arg-type]


def test_the_openai_client_is_told_when_to_come_again(fake: Provider, told: Told, clock: Clock) -> None:
    settings = keyed(fake.url, key("anna", requests_per_minute=2), key("bob", usd_per_day=1e-6), upstream_key="sk-x")
    with (
        running(app(settings, Quota(now=clock), told)) as url,
        OpenAI(base_url=url + "/v1", api_key="-", max_retries=0) as it,
    ):
        anna, bob = it.with_options(api_key="laconic-anna"), it.with_options(api_key="laconic-bob")
        anna.models.list()
        anna.models.list()
        with pytest.raises(RateLimitError) as refused:
            anna.models.list()
        assert (refused.value.code, refused.value.response.headers["retry-after"]) == ("rate_limited", "30")
        hello: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]
        bob.chat.completions.create(model="gpt-4o", messages=hello)
        until(lambda: len(told.records) == 3)
        with pytest.raises(RateLimitError) as refused:
            bob.chat.completions.create(model="gpt-4o", messages=hello)
        assert (refused.value.code, refused.value.response.headers["retry-after"]) == ("budget_spent", str(DAY // 2))
        assert refused.value.type == "laconic_error"
    assert len(fake.requests) == 3


def test_a_request_over_the_rate_is_refused_before_its_body_is_read(fake: Provider, clock: Clock) -> None:
    settings = keyed(fake.url, key("anna", requests_per_minute=1))
    with running(app(settings, Quota(now=clock))) as url:
        assert ask(url, request("GET", "/v1/models", b"", own("anna")))[0] == 200
        unsent = request("POST", "/v1/chat/completions", b"", own("anna"), (b"content-length", b"1000"))
        status, _, body = ask(url, unsent)
        assert (status, error(body)[1]) == (429, "rate_limited")


def test_the_ledger_and_the_report_tell_callers_apart_by_name(tmp_path: Path, fake: Provider, told: Told) -> None:
    path = tmp_path / "l.sqlite3"
    ledger = open_ledger(path)
    settings = keyed(fake.url, key("anna"), key("bob"))
    with running(app(settings, Quota(), ledger, told)) as url:
        body = json.dumps({"model": "gpt-4o", "messages": []}).encode()
        for name in ("anna", "bob", "anna"):
            ask(url, chat(body, own(name)))
        until(lambda: len(told.records) == 3)
    ledger.record(replace(told.records[0], id="other", caller=""))
    ledger.close()
    found = {group.key: (group.requests, group.billed_input) for group in summarise(path, "caller").groups}
    assert found == {"": (1, 40), "anna": (2, 80), "bob": (1, 40)}
    data = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"laconic-anna" not in data
    assert settings.keys[0].hash.encode() not in data


def test_an_answer_that_the_provider_refused_costs_nothing(fake: Provider, told: Told, clock: Clock) -> None:
    settings = keyed(fake.url, key("anna", usd_per_day=1e-9))
    with running(app(settings, Quota(now=clock), told)) as url:
        fake.script(whole(b'{"error":{}}', status=400))
        for number, wanted in enumerate((400, 200), 1):
            assert ask(url, chat(b'{"model":"gpt-4o","messages":[]}', own("anna")))[0] == wanted
            until(lambda number=number: len(told.records) == number)  # type: ignore[misc]
        assert ask(url, chat(b'{"model":"gpt-4o","messages":[]}', own("anna")))[0] == 429
