"""The guard at work: the real app between a client and a provider whose answers get worse where prompts are short."""

import json
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pytest
from conftest import Told
from layouts import NUMBERED, QUESTION, RULES, system, user
from provider import DONE, END, Act, Provider, Request, Script, completion, delta, event, stream_head, whole
from raw import ask, chat, connected, more, read_head, request, value

from policies.base import Policy
from policies.presets import PRESETS, TABLES
from policies.routes import Route
from policies.written import build
from proxy.app import App
from proxy.config import load
from proxy.economy import Economy
from proxy.endpoints import Parts
from proxy.guard import originals
from proxy.guard.compare import word_f1
from proxy.guard.originals import unstreamed
from proxy.guard.sequential import expected_samples
from proxy.guard.shown import watch
from proxy.guard.state import OFF, State, terms_of
from proxy.guard.store import Memory, Store, open_store, read_states
from proxy.guard.watch import Guard
from proxy.ledger import open_ledger
from proxy.meters import LogMeter, telemetry
from proxy.pipeline import Asked, Pipeline, Prepared
from proxy.pricing import Price
from proxy.reload import Current
from proxy.server import running
from proxy.serving import _app, alone
from proxy.settings import Compression, Guarding, Settings, Upstream
from proxy.transport import Transport

HALF = {"half": {"extends": "safe", "context": {"compressor": "lexical", "rate": 0.5}}}
POLICIES = {**PRESETS, **build(HALF, TABLES, [])}
ALWAYS = Guarding(share=1.0, usd_per_day=100.0)
MESSAGES = [system(RULES), user(f"Context:\n{NUMBERED}\n\nQuestion: {QUESTION}\nAnswer:")]
BODY = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "temperature": 1}).encode()
STREAM = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True, "stream_options": {}}).encode()
RIGHT = "innerhalb von {n} Tagen, und ein Kind darf mit Helm mitfahren"  # no English: the encoder is not needed
DEFAULT = Asked()
PRICES = {"gpt-4o": Price(2.5, 1.25, None, 10.0)}


@dataclass
class Served:
    """The app with a guard that looks at its store twenty times a second."""

    url: str
    guard: Guard
    told: Told

    def ask(self, body: bytes = BODY, *headers: tuple[bytes, bytes]) -> dict[bytes, bytes]:
        status, received, _ = ask(self.url, chat(body, *headers))
        assert status == 200
        return dict(received)

    def compared(self, body: bytes = BODY) -> dict[bytes, bytes]:
        """Asks, and waits until the guard is through with it."""
        before = self.guard.counts.total()
        headers = self.ask(body)
        until(lambda: self.guard.counts.total() > before)
        return headers


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def settings(url: str, terms: Guarding | None = ALWAYS, policy: str = "half") -> Settings:
    guards = {"rag": terms} if terms else {}
    return Settings({"fake": Upstream("fake", url)}, (Route("rag", "fake", policy),), POLICIES, guards=guards)


@contextmanager
def served(it: Settings, store: Store | None = None) -> Iterator[Served]:
    guard = Guard(store or Memory(), lambda: it, PRICES, poll=0.05)
    told = Told()
    pipeline = Pipeline(Compression(deadline_ms=5000, bypass_share=0))
    with running(App(Parts(lambda: it, pipeline, Transport(), (told,), guard=guard), None)) as url:
        yield Served(url, guard, told)


def degrading(rate: float, kept: float = 1.0) -> Callable[[Request], Script]:
    """A provider that says something else at this rate where less than this share of the prompt has come."""
    chance = random.Random(7)

    def answer(request: Request) -> Script:
        short = len(request.body) < kept * (len(BODY) - 20)
        wrong = short and chance.random() < rate
        text = "keine Angabe" if wrong else RIGHT.format(n=chance.choice([30, 31]))
        return (whole(json.dumps(completion(content=text)).encode()),)

    return answer


# Stepping down


def test_answers_that_get_worse_step_compression_down_to_off(fake: Provider, caplog: pytest.LogCaptureFixture) -> None:
    fake.answer = degrading(0.7)
    levels: list[int] = []
    with served(settings(fake.url)) as it:
        for _ in range(150):
            it.compared()
            levels.append(it.guard.states()[0].level)
            if levels[-1] == OFF:
                break
        before = len(fake.requests)
        headers = it.ask()
        assert (value([*headers.items()], b"x-laconic-outcome"), headers[b"x-laconic-reason"]) == (
            b"bypassed",
            b"quality guard: off",
        )
        assert [r.body for r in fake.requests[before:]] == [BODY]
    assert sorted(set(levels)) == [0, 1, 2, 3, 4]
    assert len(levels) < 4 * expected_samples([0.9] * 7 + [0.0] * 3, ALWAYS.margin, ALWAYS.confidence)
    assert "answers of route 'rag' agree" in caplog.text
    assert "compression is now 'off'" in caplog.text


def test_a_step_that_helps_is_the_last_one(fake: Provider) -> None:
    """Answers are bad below three quarters of the prompt: 80 % are kept from then on."""
    fake.answer = degrading(0.9, kept=0.75)
    with served(settings(fake.url)) as it:
        at_first = int(it.compared()[b"x-laconic-tokens-after"])
        for _ in range(70):
            at_last = it.compared()
        assert it.guard.states()[0].level == 2
        assert it.guard.states()[0].evidence.samples > 15
        assert int(at_last[b"x-laconic-tokens-after"]) > 1.3 * at_first


def test_answers_that_do_not_get_worse_change_nothing(fake: Provider) -> None:
    fake.answer = degrading(0.0)
    with served(settings(fake.url)) as it:
        for _ in range(50):
            assert it.compared()[b"x-laconic-outcome"] == b"compressed"
        (state,) = it.guard.states()
        assert (state.level, state.evidence.samples, it.guard.counts["rag", "compared"]) == (0, 50, 50)
        assert abs(state.evidence.mean or 0) < 0.1


def test_english_texts_are_compared_by_meaning_too(fake: Provider) -> None:
    texts = cycle(("The meeting was moved to Tuesday.", "They rescheduled the meeting for that Tuesday."))
    fake.answer = lambda _: (whole(json.dumps(completion(content=next(texts))).encode()),)
    with served(settings(fake.url)) as it:
        it.compared()
        assert word_f1(next(texts), next(texts)) + 0.1 < (it.guard.states()[0].baseline or 0) < 1


def test_a_step_outlives_the_process_and_is_taken_back_by_an_operator(fake: Provider, tmp_path: Path) -> None:
    from proxy.cli import main

    path = tmp_path / "ledger"
    fake.answer = degrading(1.0)
    with served(settings(fake.url), open_store(str(path))) as it:
        until(lambda: it.compared() is not None and it.guard.states()[0].level == OFF)
    with served(settings(fake.url), open_store(str(path))) as it:
        assert it.ask()[b"x-laconic-outcome"] == b"bypassed"
        assert main(["guard", "reset", "rag", "--ledger", str(path)]) == 0
        until(lambda: it.ask()[b"x-laconic-outcome"] == b"compressed")


def test_another_worker_follows_a_step(fake: Provider, tmp_path: Path) -> None:
    fake.answer = degrading(1.0)
    path = str(tmp_path / "ledger")
    with served(settings(fake.url), open_store(path)) as one, served(settings(fake.url), open_store(path)) as other:
        until(lambda: one.compared() is not None and one.guard.states()[0].level == OFF)
        until(lambda: other.ask()[b"x-laconic-outcome"] == b"bypassed")


def test_a_configured_guard_is_at_work_in_the_command(fake: Provider, tmp_path: Path) -> None:
    config = tmp_path / "laconic.toml"
    lines = [
        '[ledger]\npath = "ledger"\n[server]\nport = 0\n[policy.half]\nextends = "safe"',
        'context = { compressor = "lexical", rate = 0.5 }',
        f'[upstream.fake]\nurl = "{fake.url}"',
        '[[route]]\nname = "rag"\npolicy = "half"\nguard = { share = 1 }',
    ]
    config.write_text("\n".join(lines))
    current = Current(load(config), lambda: load(config))
    with ExitStack() as stack:
        shared = alone(current.current(), stack.enter_context(socket.socket()), None)
        app = _app(current, Pipeline(Compression(5000, bypass_share=0)), Economy(current.current), shared, stack)
        with running(app) as url:
            ask(url, chat(BODY))
            until(lambda: b"laconic_guard_samples_total{" in ask(url, request("GET", "/metrics"))[2])
    assert next(iter(read_states(tmp_path / "ledger"))).evidence.samples == 1


# What is sent


def test_the_original_is_sent_twice_as_the_client_sent_it_but_for_the_stream(fake: Provider) -> None:
    key = (b"authorization", b"Bearer sk-x")
    with served(settings(fake.url)) as it:
        it.ask(STREAM, key, (b"idempotency-key", b"7"), (b"x-team", b"a"))
        until(lambda: it.guard.counts["rag", "compared"] == 1)
        assert it.guard.states()[0].evidence.mean == 0  # read alike from a stream and from a document
    first, *originals = fake.requests
    assert len(first.body) < 0.8 * len(STREAM)
    assert first.header("idempotency-key") == [b"7"]
    for original in originals:
        expected = STREAM.replace(b'"stream": true', b'"stream": false').replace(b": {}}", b": null}")
        assert (original.method, original.target, original.body) == ("POST", first.target, expected)
        assert (original.header("authorization"), original.header("x-team")) == ([b"Bearer sk-x"], [b"a"])
        assert original.header("idempotency-key") == []
    assert len(originals) == 2


@pytest.mark.parametrize("kind", ["not drawn", "not guarded", "nothing to shorten", "asked for less", "audit"])
def test_nothing_is_sent_for_a_request_that_says_nothing_about_the_policy(fake: Provider, kind: str) -> None:
    terms = {"not drawn": replace(ALWAYS, share=1e-12), "not guarded": None}.get(kind, ALWAYS)
    policy = "audit" if kind == "audit" else "half"
    body = b'{"model": "gpt-4o", "messages": []}' if kind == "nothing to shorten" else BODY
    headers = [(b"x-laconic", b"0.9")] if kind == "asked for less" else []
    with served(settings(fake.url, terms, policy)) as it:
        ask(it.url, chat(body, *headers))
        time.sleep(0.1)
        assert len(fake.requests) == 1
        assert it.guard.counts.total() == 0


def test_the_budget_of_a_day_is_not_exceeded(fake: Provider) -> None:
    """The provider bills 40 tokens in and 3 out, so each comparison costs 2 * 120 millionths; there is room for few."""
    with served(settings(fake.url, replace(ALWAYS, usd_per_day=0.005))) as it:
        for _ in range(60):
            it.compared()
        spent, compared = it.guard.spent["rag"], it.guard.counts["rag", "compared"]
        assert it.guard.counts["rag", "budget"] == 60 - compared > 0
        assert len(fake.requests) == 60 + 2 * compared
        assert 0 < spent <= 0.005
        assert it.guard.states()[0].spent_today == pytest.approx(spent)


def test_a_model_without_a_price_is_not_compared_and_that_is_said_once(
    fake: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    with served(settings(fake.url)) as it:
        for _ in range(2):
            it.compared(BODY.replace(b"gpt-4o", b"mystery"))
        assert it.guard.counts["rag", "unpriced"] == 2
    assert len(fake.requests) == 2
    assert caplog.text.count("'mystery', which has no price") == 1


def billed(text: str, said: int) -> Script:
    answer = completion(content=text)
    answer["usage"] = {"prompt_tokens": 300, "completion_tokens": said, "total_tokens": 300 + said}
    return (whole(json.dumps(answer).encode()),)


def is_original(request: Request) -> bool:
    return len(request.body) > len(BODY) - 20


def test_after_a_first_original_that_cost_too_much_no_second_is_sent(fake: Provider) -> None:
    """Twenty thousand tokens where the shortened request was answered in twenty."""
    fake.answer = lambda request: billed("ja", 20_000 if is_original(request) else 20)
    with served(settings(fake.url, replace(ALWAYS, usd_per_day=0.01))) as it:
        for _ in range(4):
            it.compared()
        assert it.guard.counts == {("rag", "budget"): 4}
        assert sum(map(is_original, fake.requests)) == 1
        (state,) = it.guard.states()
        assert it.guard.spent["rag"] == state.spent_today == pytest.approx(0.2, rel=0.02)


def test_a_first_original_that_cost_more_than_expected_is_followed_where_there_is_room(fake: Provider) -> None:
    fake.answer = lambda request: billed("ja", 20_000 if is_original(request) else 20)
    with served(settings(fake.url)) as it:
        it.compared()
        assert it.guard.counts == {("rag", "compared"): 1}
        assert it.guard.states()[0].spent_today == pytest.approx(it.guard.spent["rag"]) == pytest.approx(0.4, rel=0.02)


def test_the_longest_answer_that_a_request_allows_is_set_aside(
    fake: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent where it would not fit, however short the answer to the shortened request was."""
    fake.answer = lambda _: billed("ja", 20)
    with served(settings(fake.url, replace(ALWAYS, usd_per_day=0.01))) as it:
        it.compared(BODY.replace(b'"temperature": 1', b'"max_tokens": 20000'))
        assert it.guard.counts == {("rag", "budget"): 1}
    assert len(fake.requests) == 1
    assert "$0.0100 are left" in caplog.text


@pytest.mark.parametrize("status", [429, 503])
def test_a_route_whose_upstream_has_enough_is_left_alone_for_a_while(
    fake: Provider, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    refusal = (whole(b'{"error": {}}', status=status),)
    fake.answer = lambda request: refusal if is_original(request) else billed("ja", 20)
    with served(settings(fake.url)) as it:
        for _ in range(20):
            it.compared()
        assert it.guard.counts == {("rag", "failed"): 1, ("rag", "paused"): 19}
    assert sum(map(is_original, fake.requests)) == 1
    assert caplog.text.count(f"status {status}, paused for 60 s") == 1


def test_shortened_requests_that_get_no_answer_are_counted(fake: Provider) -> None:
    fake.answer = lambda _: (whole(b'{"error": {}}', status=400),)
    with served(settings(fake.url)) as it:
        for _ in range(3):
            assert ask(it.url, chat(BODY))[0] == 400
        assert it.guard.counts == {("rag", "unanswered"): 3}
    assert len(fake.requests) == 3


def test_answers_packed_in_a_way_that_cannot_be_read_are_reported_once(
    fake: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    fake.answer = lambda _: (whole(b"\x0b\x02\x80", (b"content-encoding", b"br")),)
    with served(settings(fake.url)) as it:
        for _ in range(3):
            it.compared()
        assert it.guard.counts == {("rag", "unreadable"): 3}
    assert caplog.text.count("packed as 'br'") == 1


# A sample counts at the level at which it was compressed


def test_a_step_while_a_request_is_being_compressed_does_not_take_its_answer_for_one_of_the_new_level(
    fake: Provider,
) -> None:
    it, store = settings(fake.url), Memory()
    guard = Guard(store, lambda: it, PRICES, poll=1000)

    class Stepping(Pipeline):
        """Another sample's step becomes known while this request is in the pipeline."""

        async def prepare(self, body: bytes, policy: Policy, asked: Asked = DEFAULT) -> Prepared:
            found = await super().prepare(body, policy, asked)
            if not store.load():
                store.change("rag", lambda _: State("rag", terms_of(it, it.routes[0]), time.time(), level=2))
                guard._take(store.load())
            return found

    fake.answer = lambda request: billed("nein" if len(fake.requests) == 1 else "ja", 20)
    pipeline = Stepping(Compression(deadline_ms=5000, bypass_share=0))
    with running(App(Parts(lambda: it, pipeline, Transport(), (), guard=guard), None)) as url:
        for _ in range(2):
            before = guard.counts.total()
            ask(url, chat(BODY))
            until(lambda before=before: guard.counts.total() > before)  # type: ignore[misc]
    (state,) = store.load()
    assert (state.level, state.evidence.samples, state.evidence.mean) == (2, 1, 0)


@pytest.mark.parametrize("error", [ValueError, OSError, TypeError, KeyError, OverflowError])
def test_a_store_that_cannot_be_read_once_is_read_again(fake: Provider, error: type[Exception]) -> None:
    class Bad(Memory):
        reads = 0

        def load(self) -> Sequence[State]:
            self.reads += 1
            if self.reads == 3:
                raise error("a row of a newer version")
            return super().load()

    store = Bad()
    with served(settings(fake.url), store):
        until(lambda: store.reads > 6)


# Nobody waits, nothing breaks


def test_a_stream_is_not_held_and_clients_do_not_wait_for_originals(fake: Provider) -> None:
    """The second piece is sent only after the client has the first; originals are never answered at all."""
    go_on = threading.Event()

    def answer(request: Request) -> Script:
        if len(request.body) > len(BODY) - 20:
            return (Act.STALL,)
        if b'"stream": true' not in request.body:
            return (whole(json.dumps(completion(content="fine")).encode()),)
        last = delta("second")
        last["choices"][0]["finish_reason"] = "stop"
        return (stream_head() + event(delta("first")), go_on, event(last) + DONE + END)

    fake.answer = answer
    with served(settings(fake.url)) as it:
        with connected(it.url) as client:
            client.sendall(chat(STREAM))
            said = read_head(client)
            while b"first" not in said:
                said += more(client)
            assert b"second" not in said
            go_on.set()
            while not said.endswith(b"0\r\n\r\n"):
                said += more(client)
        for _ in range(5):
            assert it.ask()[b"x-laconic-outcome"] == b"compressed"
        until(lambda: it.guard.counts["rag", "busy"] == 4)
        until(lambda: len(fake.requests) == 1 + 5 + 2)  # never more than two at once
        began = time.monotonic()
    assert time.monotonic() - began < 5
    time.sleep(0.05)
    assert len(fake.requests) == 8


def test_a_body_is_walked_once_and_not_by_the_thread_that_serves(
    fake: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def told(body: bytes) -> bytes:
        threads.append(threading.current_thread().name)
        return unstreamed(body)

    monkeypatch.setattr(originals, "unstreamed", told)
    with served(settings(fake.url)) as it:
        it.compared()
    assert [name.partition("_")[0] for name in threads] == ["laconic-guard"]


@pytest.mark.parametrize(
    "original",
    [
        (whole(b'{"error": {}}', status=500),),
        (whole(b"not json"),),
        (whole(b'{"choices": []}'),),
        (b"SSH-2.0 nothing\r\n", Act.CLOSE),
        (Act.RESET,),
        (whole(b" " * 1_100_000),),
    ],
    ids=["refused", "not json", "empty", "not http", "reset", "too large"],
)
def test_originals_that_fail_are_counted_and_nothing_more(fake: Provider, original: Script) -> None:
    normal = degrading(0.0)
    fake.answer = lambda request: original if len(request.body) > len(BODY) - 20 else normal(request)
    with served(settings(fake.url)) as it:
        for _ in range(3):
            assert it.compared()[b"x-laconic-outcome"] == b"compressed"
        assert it.guard.counts == {("rag", "failed"): 3}
        assert it.guard.states()[0].evidence.samples == 0
    assert len(fake.requests) == 6  # after the first has failed no second is sent


def test_a_client_that_leaves_leaves_nothing_to_compare(fake: Provider) -> None:
    fake.script(stream_head() + event(delta("first")), Act.STALL)
    with served(settings(fake.url)) as it:
        with connected(it.url) as client:
            client.sendall(chat(STREAM))
            read_head(client)
        it.told.one()
        assert len(fake.requests) == 1
        assert it.guard.counts.total() == 0


def test_a_ledger_that_cannot_be_written_stops_the_guard_and_no_request(fake: Provider, tmp_path: Path) -> None:
    import sqlite3

    with served(settings(fake.url), open_store(str(tmp_path / "ledger"))) as it:
        other = sqlite3.connect(tmp_path / "ledger", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert it.ask()[b"x-laconic-outcome"] == b"compressed"
        until(lambda: it.guard.counts["rag", "not kept"] == 1)
        assert len(fake.requests) == 1
        other.close()


# Nothing is kept


def test_no_word_of_prompts_or_answers_and_no_key_is_kept(
    fake: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    canaries = ("zanzibarine", "quokkaesque", "sk-canary-5f3a", "vellichorous")
    body = BODY.replace(b"Never guess", canaries[0].encode()).replace(b"Answer:", canaries[1].encode())
    chance = random.Random(1)

    def answer(request: Request) -> Script:
        text = f"{canaries[3]} {chance.random()}" if len(request.body) < 0.75 * len(body) else canaries[3]
        return (whole(json.dumps(completion(content=text)).encode()),)

    fake.answer = answer
    it = replace(settings(fake.url), ledger=str(tmp_path / "ledger"))
    ledger, metrics = open_ledger(tmp_path / "ledger"), telemetry({}, lambda: it)
    guard = Guard(open_store(it.ledger), lambda: it, PRICES, poll=0.05)
    watch(metrics.provider.get_meter("laconic"), guard)
    meters = (*metrics.meters, ledger, LogMeter())
    app = App(
        Parts(lambda: it, Pipeline(Compression(5000, bypass_share=0)), Transport(), meters, guard=guard),
        metrics.render_metrics,
    )
    with caplog.at_level(logging.DEBUG), running(app) as url:
        for n in range(40):
            ask(url, chat(body, (b"authorization", b"Bearer " + canaries[2].encode())))
            until(lambda n=n: guard.counts.total() > n)  # type: ignore[misc]
        fake.script(whole(canaries[3].encode()))
        ask(url, chat(body))
        shown = ask(url, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")[2].decode()
    assert guard.states()[0].level > 0
    for metric in ("level{", 'samples_total{laconic_result="compared",', "spent_total{"):
        assert f"\nlaconic_guard_{metric}" in shown
    metrics.close()
    ledger.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for canary in canaries:
        for place in (written, shown.encode(), caplog.text.encode(), "".join(capfd.readouterr()).encode()):
            assert canary.encode() not in place
