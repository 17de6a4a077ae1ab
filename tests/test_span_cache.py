"""Results are kept for texts that come again: for the same caller only, within bounds, without a word of a prompt."""

import gc
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from conftest import Register
from hypothesis import given
from hypothesis import strategies as st
from layouts import PASSAGES, RULES, TOOLS, system, user
from provider import Provider
from raw import Header, ask, chat, request

from compressors import Cancelled, CompressionError, Kept, Rate, Task, Tokens, load
from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.pipeline import Pipeline
from proxy.server import running
from proxy.settings import Compression, Settings, Upstream
from proxy.span_cache import OVERHEAD, PORTION, Remembering, SpanCache


@dataclass
class Counting:
    """Stands for a compressor that runs a model, and remembers what it was given."""

    version: str = "1"
    seen: list[str] = field(default_factory=list)

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        self.seen += [task.text for task in tasks]
        return load("lexical").compress(tasks)

    def warm_up(self) -> None: ...


TASK = Task("One sentence. Another one here. And a third.", Rate(0.5), "which?")
SPANS = st.lists(st.integers(0, 2**31), unique=True).map(lambda n: tuple(zip(sorted(n)[::2], sorted(n)[1::2])))  # noqa: B905


@given(spans=SPANS, order=st.permutations(range(5)))
def test_what_was_put_comes_back(spans: tuple[tuple[int, int], ...], order: list[int]) -> None:
    cache = SpanCache(1 << 20)
    kept = Kept(spans, order=tuple(order))
    cache.put(b"a", kept)
    assert cache.get(b"a") == kept
    assert cache.get(b"b") is None
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.entries) == (1, 1, 1)


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, text=TASK.text + " "),
        replace(TASK, question="Which?"),
        replace(TASK, budget=Rate(0.51)),
        replace(TASK, budget=Tokens(1)),
        replace(TASK, protected=((0, 1),)),
        replace(TASK, documents=((0, 1),)),
        replace(TASK, protected=((0, 1), (2, 3))),
        replace(TASK, encoding="cl100k_base"),
        replace(TASK, before=TASK.question, question=""),
        replace(TASK, text="\ud83d", question="\udc00"),
    ],
)
def test_every_part_of_a_task_counts(other: Task) -> None:
    inner = Counting()
    it = Remembering(inner, SpanCache(1 << 20), b"me")
    for task in (TASK, other, TASK, other):
        it.compress([task])
    assert inner.seen == [TASK.text, other.text]


def test_a_batch_asks_for_what_is_new_and_keeps_the_order() -> None:
    tasks = [replace(TASK, text=f"{TASK.text} The number is {n}. And so it goes.") for n in range(6)]
    inner = Counting()
    it = Remembering(inner, SpanCache(1 << 20), b"me")
    it.compress(tasks[1::2])
    mixed = it.compress(tasks)
    assert inner.seen == [t.text for t in (*tasks[1::2], *tasks[::2])]
    assert [kept.spans for kept in mixed] == [kept.spans for kept in load("lexical").compress(tasks)]


def test_callers_and_versions_do_not_meet() -> None:
    cache, inner = SpanCache(1 << 20), Counting()
    for whose in (b"one", b"other", b"one"):
        Remembering(inner, cache, whose).compress([TASK])
    assert len(inner.seen) == 2


def test_memory_is_bounded_and_what_was_used_last_stays() -> None:
    cache = SpanCache(10 * (OVERHEAD + 16))
    for n in range(100):
        cache.put(b"%d" % n, Kept(((0, n + 1),)))
        cache.get(b"0")
        assert cache.stats().bytes <= 10 * (OVERHEAD + 16)
    assert cache.stats().entries == 10
    assert cache.get(b"0")
    assert cache.get(b"50") is None
    cache.put(b"large", Kept(tuple((n, n + 1) for n in range(0, 10_000, 2))))
    assert cache.stats().bytes <= 10 * (OVERHEAD + 16)
    cache.put(b"0", Kept(((0, 1),)))
    cache.put(b"0", Kept(((0, 2),)))
    assert cache.stats() == replace(cache.stats(), entries=1, bytes=OVERHEAD + 16)


@dataclass(frozen=True)
class Giving:
    """A compressor that is out of order."""

    results: object

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        if isinstance(self.results, Exception):
            raise self.results
        return self.results  # type: ignore[return-value]


@pytest.mark.parametrize("results", [[None], [Kept(((-3, 4),))], [Kept(((0, 1.5),))]])  # type: ignore[arg-type]
def test_what_is_no_result_is_not_kept(results: list[Kept]) -> None:
    cache = SpanCache(1 << 20)
    assert Remembering(Giving(results), cache, b"me").compress([TASK]) == results
    assert cache.stats().entries == 0
    for broken in (CompressionError(), [], results * 2):
        with pytest.raises(CompressionError):
            Remembering(Giving(broken), cache, b"me").compress([TASK])
    assert cache.stats().entries == 0


def test_what_is_done_when_time_is_over_is_not_done_again() -> None:
    """Three texts of a portion each; the caller is gone after the second."""
    tasks = [replace(TASK, text=f"{n}. " + TASK.text * (PORTION // len(TASK.text))) for n in range(3)]

    class Leaving(Counting):
        def compress(self, tasks: Sequence[Task]) -> list[Kept]:
            if len(self.seen) == 2:
                raise Cancelled
            return super().compress(tasks)

    inner, cache = Leaving(), SpanCache(1 << 20)
    with pytest.raises(Cancelled):
        Remembering(inner, cache, b"me").compress(tasks)
    inner = Leaving()
    kept = Remembering(inner, cache, b"me").compress(tasks)
    assert inner.seen == [tasks[2].text]
    assert [k.spans for k in kept] == [k.spans for k in load("lexical").compress(tasks)]


def test_what_was_put_first_stays() -> None:
    """It was sent, and providers know it: what a request beside it found comes too late."""
    cache = SpanCache(1 << 20)
    cache.put(b"a", Kept(((0, 1),)))
    cache.put(b"a", Kept(((0, 2),)))
    assert cache.get(b"a") == Kept(((0, 1),))


def test_many_threads_at_once_leave_it_in_order() -> None:
    cache = SpanCache(50 * OVERHEAD)
    tasks = [replace(TASK, text=f"{n}. {TASK.text}") for n in range(100)]

    def work(shift: int) -> list[tuple[tuple[int, int], ...]]:
        it = Remembering(load("lexical"), cache, b"me")
        return [kept.spans for n in range(100) for kept in it.compress([tasks[(n + shift) % 100]])][-shift:]

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, [100] * 8))
    assert all(result == results[0] for result in results)
    stats = cache.stats()
    assert stats.bytes <= 50 * OVERHEAD
    assert stats.hits + stats.misses == 800


# Through the service

TURNS = [
    (PASSAGES[0], "How many days does a member have to return a bike?"),
    (PASSAGES[1], "May a child ride in the box?"),
    (PASSAGES[2], "What does the voucher pay for?"),
    (PASSAGES[3], "Who became mayor of the town?"),
]


def conversation() -> Iterator[bytes]:
    """The bodies that a client sends, turn by turn."""
    messages: list[dict[str, Any]] = [system(RULES)]
    for n, (passage, question) in enumerate(TURNS):
        messages.append(user(f"Context:\n{passage}\n\nQuestion: {question}"))
        yield json.dumps({"model": "gpt-4o", "messages": messages, "tools": TOOLS}).encode()
        messages.append({"role": "assistant", "content": f"{PASSAGES[n - 1]}\n\n{passage}"})


def key(secret: bytes) -> Header:
    return (b"authorization", b"Bearer " + secret)


@contextmanager
def serving(fake: Provider, cache_mb: int = 64) -> Iterator[tuple[str, Pipeline]]:
    rules = {kind: replace(rule, compressor="counting") for kind, rule in PRESETS["aggressive"].rules.items()}
    policies = {"mine": replace(PRESETS["aggressive"], name="mine", rules=rules)}
    routes = (Route("team", "fake", "mine", path="/team"), Route("default", "fake", "mine"))
    it = Settings({"fake": Upstream("fake", fake.url)}, routes, policies)
    pipeline = Pipeline(Compression(10_000, cache_mb=cache_mb, bypass_share=0))
    pipeline.settle(it)
    with running(create_app(lambda: it, pipeline)) as url:
        yield url, pipeline


def sent(fake: Provider, url: str, raw: bytes, *headers: Header) -> bytes:
    assert dict(ask(url, chat(raw, *headers))[1])[b"x-laconic-outcome"] == b"compressed"
    return fake.last.body


def test_a_conversation_costs_only_its_new_turns(fake: Provider, register: Register) -> None:
    inner = Counting()
    register("counting", lambda: inner)
    with serving(fake) as (url, pipeline):
        cached = [sent(fake, url, raw, key(b"sk-1")) for raw in conversation()]
        again = [sent(fake, url, raw, key(b"sk-1")) for raw in conversation()]
        assert pipeline.cache
        assert pipeline.cache.stats().hits > 2 * len(TURNS)
    assert len(inner.seen) == len(set(inner.seen)) == 2 * len(TURNS) - 1, "each passage and each answer once"
    inner.seen.clear()
    with serving(fake, cache_mb=0) as (url, _):
        plain = [sent(fake, url, raw, key(b"sk-1")) for raw in conversation()]
    assert cached == again == plain, "what is looked up and what is computed are the same bytes"
    assert len(inner.seen) > 2 * len(TURNS) - 1


def test_nobody_gains_from_what_another_one_sent(fake: Provider, register: Register) -> None:
    inner = Counting()
    register("counting", lambda: inner)
    raw = next(conversation())
    callers: list[list[Header]] = [
        [key(b"sk-1")],
        [key(b"sk-2")],
        [key(b"sk-1"), (b"openai-organization", b"org-2")],
        [(b"api-key", b"sk-1")],
        [],
    ]
    with serving(fake) as (url, _):
        for n, headers in enumerate(callers, 1):
            for _ in range(2):
                sent(fake, url, raw, *headers)
                assert len(inner.seen) == n
        ask(url, request("POST", "/team/v1/chat/completions", raw, key(b"sk-1")))
        assert len(inner.seen) == len(callers) + 1, "nor on another route"


def test_another_version_of_the_model_computes_anew(fake: Provider, register: Register) -> None:
    inner = Counting()
    register("counting", lambda: inner)
    with serving(fake) as (url, _):
        for version in ("1", "2", "2", "1"):
            inner.version = version
            sent(fake, url, next(conversation()))
    assert len(inner.seen) == 2


def test_no_word_of_a_prompt_is_kept(fake: Provider, register: Register) -> None:
    register("counting", Counting)
    secret = "zanzibarine"
    raw = json.dumps(
        {"messages": [user(f"Context:\n{PASSAGES[0]} The {secret} is here.\n\nQuestion: What is {secret}?")]}
    ).encode()
    with serving(fake) as (url, pipeline):
        sent(fake, url, raw, key(b"sk-canary"))
        held: list[Any] = [pipeline.cache]
        seen: dict[int, Any] = {}
        while held:
            one = held.pop()
            if id(one) not in seen and not isinstance(one, type):
                seen[id(one)] = one
                held += gc.get_referents(one)
        texts = [one for one in seen.values() if isinstance(one, str | bytes)]
    assert texts
    assert not [t for t in texts if (secret in t if isinstance(t, str) else secret.encode() in t)]
