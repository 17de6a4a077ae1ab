"""`recover = true` through the real app: what clients read, and what stays as the provider sent it."""

import asyncio
import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import openai
import pytest
from conftest import Register, Service
from layouts import PASSAGES, user
from provider import DONE, END, USAGE, Act, Provider, Step, chunk, completion, delta, event, head, stream_head, whole
from raw import Header, ask, chat, connected, read_all, value

from compressors import Kept, Task
from compressors.recovery import Restorer
from compressors.spans import complement, intersect, merge
from policies.base import Kind
from policies.presets import PRESETS, audited, lowered
from policies.routes import Route
from proxy.recovered import BOUND
from proxy.settings import Settings, Timeouts, Upstream

PLAN = "The plan was approved by Eleanor van der Berg after a long evening, and Anna Maria Lee wrote it down."
QUESTION = "Who wrote the plan down?"
CONTENT = f"Context:\n{PLAN} {PASSAGES[0]}\n\nQuestion: {QUESTION}"
SAID = "It was Eleanor Berg; Anna Lee wrote it down."
RIGHT = "It was Eleanor van der Berg; Anna Maria Lee wrote it down."
BODY: dict[str, Any] = {"model": "gpt-4o", "messages": [user(CONTENT)]}


class Cutter:
    """Drops the middles of names."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [self._cut(task) for task in tasks]

    def _cut(self, task: Task) -> Kept:
        found = [(task.text.find(part), len(part)) for part in ("van der ", "Maria ", "after a long evening")]
        gone = merge((at, at + n) for at, n in found if at >= 0)
        return Kept(complement(gone, len(task.text)))


def settings(url: str, recover: bool = True, timeouts: Timeouts | None = None) -> Settings:
    rule = replace(PRESETS["aggressive"].rules[Kind.CONTEXT], compressor="cutter")
    policy = replace(PRESETS["aggressive"], name="mine", rules={Kind.CONTEXT: rule}, recover=recover)
    upstream = Upstream("fake", url, timeouts=timeouts or Timeouts())
    return Settings({"fake": upstream}, (Route("default", "fake", "mine"),), {"mine": policy})


@pytest.fixture
def url(service: Service, fake: Provider, register: Register) -> str:
    register("cutter", Cutter)
    return service.start_with(settings(fake.url))


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0)


def spoken(text: str, size: int = 6, finish: str = "stop") -> tuple[bytes, ...]:
    """The events of a stream that says this, each of them a chunk of its own."""
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    last = delta("")
    last["choices"][0] = {"index": 0, "delta": {}, "finish_reason": finish}
    usage = {**delta(), "choices": [], "usage": USAGE}
    return (stream_head(), *(event(delta(p)) for p in ("", *pieces)), event(last), event(usage), DONE, END)


# What clients read


def test_a_client_reads_the_whole_name(url: str, fake: Provider) -> None:
    fake.script(whole(json.dumps(completion(content=SAID)).encode()))
    raw = client(url).chat.completions.with_raw_response.create(**BODY)
    assert raw.headers["x-laconic-outcome"] == "compressed"
    assert raw.headers["x-laconic-recovery"] == "changed"
    answer = raw.parse()
    assert answer.choices[0].message.content == RIGHT
    assert answer.usage
    assert answer.usage.prompt_tokens == USAGE["prompt_tokens"]
    assert "van der" not in fake.last.json()["messages"][0]["content"]
    assert fake.last.header("accept-encoding") == [b"identity"], "what is packed could not be read"


@pytest.mark.parametrize("size", [1, 6, 100])
def test_a_client_reads_the_whole_name_in_a_stream(url: str, fake: Provider, size: int) -> None:
    fake.script(*spoken(SAID, size))
    stream = client(url).chat.completions.create(**BODY, stream=True, stream_options={"include_usage": True})
    assert stream.response.headers["x-laconic-recovery"] == "on"
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == RIGHT
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == USAGE["total_tokens"]


def test_an_asynchronous_client_with_helpers_reads_it_too(url: str, fake: Provider) -> None:
    async def story() -> str | None:
        it = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0)
        async with it, it.chat.completions.stream(**BODY) as stream:
            return (await stream.get_final_completion()).choices[0].message.content

    fake.script(*spoken(SAID))
    assert asyncio.run(story()) == RIGHT


def test_several_choices_are_kept_apart(url: str, fake: Provider) -> None:
    events = []
    for one, other in zip(("By Anna ", "Lee ", "alone."), ("By Eleanor ", "Berg", "."), strict=True):
        events += [
            event({**delta(t), "choices": [{**delta(t)["choices"][0], "index": n}]}) for n, t in enumerate((one, other))
        ]
    ends = [{**delta(), "choices": [{"index": n, "delta": {}, "finish_reason": "stop"}]} for n in (1, 0)]
    fake.script(stream_head(), *events, *map(event, ends), DONE, END)
    found = ["", ""]
    for c in client(url).chat.completions.create(**BODY, n=2, stream=True):
        found[c.choices[0].index] += c.choices[0].delta.content or ""
    assert found == ["By Anna Maria Lee alone.", "By Eleanor van der Berg."]


def test_the_first_words_come_before_the_last_are_said(url: str, fake: Provider) -> None:
    """Nothing is held until the end."""
    import threading

    go = threading.Event()
    fake.script(stream_head(), event(delta("Well then, it was ")), go, *spoken(SAID)[2:])
    stream = iter(client(url).chat.completions.create(**BODY, stream=True))
    assert next(stream).choices[0].delta.content == "Well then, it was "
    go.set()
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == RIGHT


# What stays as it came


def sent(url: str, *more: Header, **body: object) -> tuple[list[Header], bytes]:
    _, headers, answer = ask(url, chat(json.dumps({**BODY, **body}).encode(), *more))
    return headers, answer


ANSWER = json.dumps(completion(content=SAID)).encode()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"response_format": {"type": "json_object"}}, []),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, []),
        ({"logprobs": True}, []),
        ({"web_search_options": {}}, []),
        ({"modalities": ["text", "audio"]}, []),
        ({"messages": [user("Who is Eleanor van der Berg?")]}, []),  # nothing to compress
        ({}, [(b"x-laconic", b"off")]),
        ({}, [(b"x-laconic", b"audit")]),
        ({}, [(b"x-laconic", b"1.5")]),
    ],
)
def test_answers_that_are_not_ours_are_the_raw_relay(
    url: str, fake: Provider, body: dict[str, Any], headers: list[Header]
) -> None:
    fake.script(whole(ANSWER))
    told, answer = sent(url, (b"accept-encoding", b"gzip"), *headers, **body)
    assert answer == ANSWER
    assert value(told, b"x-laconic-recovery") is None
    assert fake.last.header("accept-encoding") == [b"gzip"]


@pytest.mark.parametrize(
    ("answer", "headers", "status"),
    [
        (b'{"error": {"message": "Eleanor Berg"}}', [], 400),
        (ANSWER, [], 201),
        (ANSWER, [(b"content-type", b"text/plain")], 200),
        (ANSWER, [(b"content-digest", b"sha-256=:x:")], 200),
        (gzip.compress(ANSWER), [(b"content-encoding", b"gzip")], 200),
        (b"data: " + ANSWER + b"\n\n", [(b"content-type", b"text/event-stream")], 200),  # with a length
    ],
)
def test_answers_that_could_not_be_changed_truly_are_the_raw_relay(
    url: str, fake: Provider, answer: bytes, headers: list[Header], status: int
) -> None:
    fake.script(whole(answer, *headers, status=status))
    told, got = sent(url)
    assert got == answer
    assert value(told, b"x-laconic-recovery") is None


def test_only_the_length_and_the_text_of_an_answer_change(url: str, fake: Provider) -> None:
    odd = b'{"x" : 1e400 ,"choices":[{"finish_reason":"stop","message":{"content":"%s"}}] , "usage":null}\n'
    fake.script(whole(odd % SAID.encode(), (b"x-request-id", b"r1"), (b"set-cookie", b"a"), (b"set-cookie", b"b")))
    told, got = sent(url)
    assert got == odd % RIGHT.encode()
    assert [v for k, v in told if k == b"content-length"] == [b"%d" % len(got)]
    assert [v for k, v in told if k == b"set-cookie"] == [b"a", b"b"]
    assert value(told, b"x-request-id") == b"r1"


def test_an_answer_without_a_length_stays_without_one(url: str, fake: Provider) -> None:
    kind = (b"content-type", b"application/json")
    fake.script(head(200, kind, (b"transfer-encoding", b"chunked")), chunk(ANSWER[:50]), chunk(ANSWER[50:]), END)
    told, got = sent(url)
    assert json.loads(got)["choices"][0]["message"]["content"] == RIGHT
    assert value(told, b"content-length") is None


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b"\xff", b'{"choices": [{}, {}]}', b'"Eleanor Berg"'])
def test_an_answer_that_is_not_understood_arrives(url: str, fake: Provider, answer: bytes) -> None:
    fake.script(whole(answer))
    told, got = sent(url)
    assert got == answer
    assert value(told, b"x-laconic-recovery") == b"unchanged"


def test_a_large_answer_is_not_held(url: str, fake: Provider) -> None:
    large = json.dumps(completion(content=SAID + " so" * BOUND)).encode()
    fake.script(whole(large))
    told, got = sent(url)
    assert got == large
    assert value(told, b"x-laconic-recovery") == b"too large"


def test_a_restorer_that_breaks_costs_nothing(
    url: str, fake: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(self: Restorer, piece: str) -> str:
        if "Anna" in self.held + piece:
            raise ZeroDivisionError(piece)
        return feed(self, piece)

    feed = Restorer.feed
    monkeypatch.setattr(Restorer, "feed", breaks)
    fake.script(whole(ANSWER))
    assert sent(url)[1] == ANSWER
    fake.script(*spoken(SAID))
    chunks = client(url).chat.completions.create(**BODY, stream=True)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "It was Eleanor van der Berg; Anna Lee wrote it down."
    assert "ZeroDivisionError" in caplog.text
    assert "Anna" not in caplog.text


@pytest.mark.parametrize("act", [Act.RESET, Act.CLOSE])
def test_a_stream_that_breaks_off_looks_broken_and_lacks_nothing(url: str, fake: Provider, act: Act) -> None:
    steps: tuple[Step, ...] = (
        stream_head(),
        event(delta("So ")),
        event(delta("it was Anna Lee")),
        chunk(b"data: {"),
        0.1,
    )
    fake.script(*steps, act)
    with connected(url) as sock:
        sock.sendall(chat(json.dumps(BODY).encode()))
        got = read_all(sock)
    texts = [
        json.loads(line[6:])["choices"][0]["delta"]["content"]
        for line in got.split(b"\n")
        if line.startswith(b'data: {"')
    ]
    assert "".join(texts) == "So it was Anna Lee"
    assert b"data: {\r\n" in got, "the half of an event came too"
    assert b"[DONE]" not in got
    assert not got.endswith(b"0\r\n\r\n"), "a connection that is cut, not an end"


def test_a_whole_answer_that_breaks_off_looks_broken(url: str, fake: Provider) -> None:
    fake.script(whole(ANSWER)[:-20], 0.1, Act.CLOSE)
    with connected(url) as sock:
        sock.sendall(chat(json.dumps(BODY).encode()))
        got = read_all(sock)
    assert got.endswith(ANSWER[:-20])
    assert b"content-length: %d" % len(ANSWER) in got


def test_a_stream_that_takes_too_long_lacks_nothing(service: Service, fake: Provider, register: Register) -> None:
    register("cutter", Cutter)
    url = service.start_with(settings(fake.url, timeouts=Timeouts(total=0.3)))
    fake.script(stream_head(), event(delta("So it was Anna Lee")), Act.STALL)
    with connected(url) as sock:
        sock.sendall(chat(json.dumps(BODY).encode()))
        got = read_all(sock)
    assert b"So it was " in got
    assert b"Anna Lee" in got


def test_without_recover_a_compressed_request_gets_the_raw_relay(
    service: Service, fake: Provider, register: Register
) -> None:
    register("cutter", Cutter)
    url = service.start_with(settings(fake.url, recover=False))
    fake.script(whole(ANSWER))
    told, got = sent(url)
    assert (value(told, b"x-laconic-outcome"), got) == (b"compressed", ANSWER)
    assert value(told, b"x-laconic-recovery") is None


def test_a_caller_who_lowers_the_compression_still_gets_names_restored() -> None:
    policy = replace(PRESETS["balanced"], recover=True)
    for changed in (lowered(policy, 0.5), audited(policy)):
        assert getattr(changed, "recover", False)
    assert not getattr(lowered(PRESETS["balanced"], 0.5), "recover", True)


def test_the_cutter_does_what_the_tests_say() -> None:
    (kept,) = Cutter().compress([Task(PLAN, PRESETS["aggressive"].rules[Kind.CONTEXT].ranges[0].budget)])
    assert not intersect(kept.spans, [(PLAN.index("van der"), PLAN.index("van der") + 8)])
