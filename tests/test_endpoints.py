"""The promises that concern one request: untouched bytes, nothing buffered, nobody waited for, everything recorded."""

import gzip
import socket
import threading
from collections.abc import Callable

import pytest
from conftest import Service, Told
from provider import DONE, END, USAGE, Act, Provider, delta, event, head, stream_head, whole
from raw import Header, ask, chat, connected, more, read_all, read_head, request, value

from policies.base import Policy
from policies.presets import PRESETS
from policies.routes import Route, hash_key
from proxy.pipeline import Asked, Pipeline, Prepared
from proxy.savings import Measured, Outcome, Usage
from proxy.settings import Settings, Timeouts, Upstream

ODD = (
    b'{"model":"gpt-4o", "n":1.0,"n":1e400,"x":"\\u00e9\xc3\xa9\\/",\r\n "messages":[{"role":"user","content":"hi"}]}  '
)


NOBODY = Asked()


class Shortening(Pipeline):
    """Stands for the real pipeline where a test needs to know the bytes that come out."""

    async def prepare(self, body: bytes, policy: Policy, asked: Asked = NOBODY) -> Prepared:
        del policy
        reason = "ten tokens went, naïvely"
        measured = Measured(
            Outcome.COMPRESSED, reason, "gpt-4o", tokens_before=30, tokens_after=20, stages=(("all", 1.5),)
        )
        return Prepared(body.replace(b"hi", b"h"), measured)


class Slow(Pipeline):
    """Takes its time, and notices when it is no longer wanted."""

    def __init__(self) -> None:
        super().__init__(Settings({}, (), {}).compression)
        self.started, self.cancelled = threading.Event(), threading.Event()

    async def prepare(self, body: bytes, policy: Policy, asked: Asked = NOBODY) -> Prepared:
        import asyncio

        self.started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().prepare(body, policy, asked)


def one_route(url: str, policy: str = "balanced", **more: object) -> Settings:
    return Settings({"fake": Upstream("fake", url, **more)}, (Route("default", "fake", policy),), PRESETS)  # type: ignore[arg-type]


# Bytes


@pytest.mark.parametrize(
    ("target", "body", "more"),
    [
        ("/v1/chat/completions", ODD, []),
        ("/v1/chat/completions", b"", []),
        ("/v1/chat/completions?api-version=1", b"\xff\xfe not json", []),
        ("/v1/embeddings", ODD, []),
        ("/v1/files", b"--x\r\n\x00\xff\r\n--x--", [(b"content-type", b"multipart/form-data; boundary=x")]),
        ("/anything?q=%20+&q=2", b"1", []),
    ],
)
def test_what_is_not_compressed_arrives_byte_for_byte(
    service: Service, fake: Provider, target: str, body: bytes, more: list[Header]
) -> None:
    url = service.start(fake.url, "off")
    fake.script(whole(b"{}"))
    assert ask(url, request("POST", target, body, *more))[0] == 200
    assert (fake.last.method, fake.last.target, fake.last.body) == ("POST", target, body)


@pytest.mark.parametrize("policy", ["audit", "balanced", "aggressive"])
def test_a_body_with_nothing_to_shorten_arrives_byte_for_byte(service: Service, fake: Provider, policy: str) -> None:
    ask(service.start(fake.url, policy), chat(ODD))
    assert fake.last.body == ODD


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"])
def test_every_method_passes(service: Service, fake: Provider, method: str) -> None:
    url = service.start(fake.url)
    fake.script(head(200, (b"content-length", b"0")))
    assert ask(url, request(method, "/v1/models/gpt-4o") + b"")[0] == 200
    assert (fake.last.method, fake.last.target) == (method, "/v1/models/gpt-4o")
    assert fake.last.header("content-length") == fake.last.header("transfer-encoding") == []


def test_nothing_is_added_to_the_callers_headers(service: Service, fake: Provider) -> None:
    url = service.start(fake.url)
    mine = [(b"accept-encoding", b"gzip"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"authorization", b"Bearer sk")]
    ask(url, request("GET", "/v1/models", b"", *mine, (b"connection", b"keep-alive"), (b"x-laconic", b"off")))
    assert fake.last.headers == [(b"host", fake.url[7:].encode()), *mine]


def test_a_compressed_body_goes_out_with_its_own_length(service: Service, fake: Provider, told: Told) -> None:
    settings = one_route(fake.url)
    url = service.start_with(settings, Shortening(settings.compression))
    _, headers, _ = ask(url, chat(ODD))
    assert fake.last.body == ODD.replace(b"hi", b"h")
    assert fake.last.header("content-length") == [b"%d" % (len(ODD) - 1)]
    expected = {"outcome": "compressed", "policy": "balanced", "route": "default", "ms": "1.500"}
    expected |= {"reason": "ten tokens went, na?vely", "tokens-before": "30", "tokens-after": "20"}
    assert {k.decode()[10:]: v.decode() for k, v in headers if k.startswith(b"x-laconic-")} == expected
    assert told.one().measured.tokens_after == 20


def test_a_packed_request_body_is_not_a_body_we_know(service: Service, fake: Provider, told: Told) -> None:
    settings = one_route(fake.url)
    url = service.start_with(settings, Shortening(settings.compression))
    packed = gzip.compress(ODD)
    fake.script(whole(b"{}"))
    ask(url, chat(packed, (b"content-encoding", b"gzip")))
    assert fake.last.body == packed
    assert told.one().measured == Measured(Outcome.UNTOUCHED, "content-encoding: gzip")


def test_the_answer_is_relayed_as_it_is(service: Service, fake: Provider, told: Told) -> None:
    url = service.start(fake.url)
    packed = gzip.compress(b'{"usage":{"prompt_tokens":3}}')
    given = [(b"content-encoding", b"gzip"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-request-id", b"r1")]
    given += [(b"x-ratelimit-remaining-tokens", b"5"), (b"server", b"theirs"), (b"date", b"yesterday")]
    fake.script(whole(packed, *given, status=418))
    status, headers, body = ask(url, chat(ODD))
    assert (status, body) == (418, packed)
    ours = [header for header in headers if not header[0].startswith(b"x-laconic")]
    assert ours == [(b"content-length", b"%d" % len(packed)), (b"content-type", b"application/json"), *given]
    assert told.one().usage == Usage(3)


def test_redirects_are_the_callers_business_and_the_environment_is_not_read(
    service: Service, fake: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    fake.script(head(307, (b"location", b"/elsewhere"), (b"content-length", b"0")))
    status, headers, _ = ask(service.start(fake.url), request("GET", "/v1/models"))
    assert (status, value(headers, b"location"), len(fake.requests)) == (307, b"/elsewhere", 1)


# What the caller may ask


@pytest.mark.parametrize(
    ("wish", "outcome"),
    [
        (b"off", "bypassed"),
        (b"gibberish", "bypassed"),
        (b"0.5", "compressed"),
        (b"audit", "compressed"),
        (None, "compressed"),
    ],
)
def test_the_caller_may_ask_for_less(service: Service, fake: Provider, wish: bytes | None, outcome: str) -> None:
    settings = one_route(fake.url)
    url = service.start_with(settings, Shortening(settings.compression))
    _, headers, _ = ask(url, chat(ODD, *([(b"x-laconic", wish)] if wish else [])))
    assert value(headers, b"x-laconic-outcome") == outcome.encode()
    assert (fake.last.body == ODD) is (outcome == "bypassed")


def test_a_route_whose_policy_is_missing_sends_the_original_and_says_so(service: Service, fake: Provider) -> None:
    url = service.start(fake.url, "no such policy")
    assert value(ask(url, chat(ODD))[1], b"x-laconic-outcome") == b"failed_open"
    assert value(ask(url, chat(ODD, (b"x-laconic", b"off")))[1], b"x-laconic-outcome") == b"bypassed"
    assert fake.last.body == ODD


# Routes


def test_routes_by_path_model_and_key(service: Service, fake: Provider) -> None:
    routes = (
        Route("rag", "fake", "off", path="/rag"),
        Route("vectors", "fake", "off", model="text-embedding-*"),
        Route("team", "fake", "off", key=hash_key(b"sk-team")),
        Route("mini", "fake", "off", model="*-mini"),
    )
    url = service.start_with(Settings({"fake": Upstream("fake", fake.url + "/v1")}, routes, PRESETS))

    def taken(path: str, body: bytes, key: bytes = b"sk-x") -> bytes | None:
        fake.script(whole(b"{}"))
        more = ((b"content-type", b"application/json"), (b"authorization", b"bearer " + key))
        status, headers, _ = ask(url, request("POST", path, body, *more))
        return value(headers, b"x-laconic-route") if status == 200 else b"%d" % status

    assert taken("/rag/v1/chat/completions", ODD) == b"rag"
    assert fake.last.target == "/v1/chat/completions"
    assert taken("/v1/embeddings", b'{"model":"text-embedding-3-small","input":"x"}') == b"vectors"
    assert taken("/v1/chat/completions", b'{"model":"gpt-4o-mini"}') == b"mini"
    assert taken("/v1/chat/completions", ODD, b"sk-team") == b"team"
    count = len(fake.requests)
    assert taken("/v1/chat/completions", ODD) == b"404"
    assert taken("/ragged/v1/chat/completions", b"not json") == b"404"
    assert len(fake.requests) == count


def test_the_upstreams_own_key_takes_the_place_of_the_callers(service: Service, fake: Provider) -> None:
    url = service.start_with(one_route(fake.url, key="sk-own"))
    ask(url, chat(ODD, (b"authorization", b"Bearer sk-caller")))
    assert fake.last.header("authorization") == [b"Bearer sk-own"]


# Streams


def test_the_first_byte_is_forwarded_before_the_second_arrives(service: Service, fake: Provider, told: Told) -> None:
    go_on = threading.Event()
    first, rest = event(delta("hello")), event({**delta(), "choices": [], "usage": USAGE}) + DONE + END
    fake.script(stream_head(), first, go_on, rest)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(chat(ODD))
        data = read_head(sock)
        while first not in data:
            data += more(sock)
        go_on.set()
        while not data.endswith(END):
            data += more(sock)
    body = data.partition(b"\r\n\r\n")[2]
    assert body.replace(b"\r\n", b"").count(b"data: ") == 3
    record = told.one()
    assert (record.stream, record.status, record.usage) == (True, 200, Usage(40, 3, 8))
    assert record.first_byte_ms is not None
    assert record.total_ms is not None
    assert record.first_byte_ms < record.total_ms


@pytest.mark.parametrize("ending", [Act.CLOSE, Act.RESET])
@pytest.mark.parametrize("framing", ["chunked", "length", "nonsense"])
def test_a_broken_answer_looks_broken(service: Service, fake: Provider, told: Told, ending: Act, framing: str) -> None:
    start = {
        "chunked": stream_head() + event(delta("hello")),
        "length": head(200, (b"content-length", b"100")) + b"data: hello",
        "nonsense": stream_head() + event(delta("hello")) + b"nonsense\r\n",
    }
    fake.script(start[framing], 0.05, ending)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(chat(ODD))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"hello" in answer
    assert not answer.endswith(END)
    assert b"[DONE]" not in answer
    assert told.one().error == "upstream_broken"


# The client leaves


def before_the_head(fake: Provider) -> None:
    fake.script(Act.STALL)


def after_the_head(fake: Provider) -> None:
    fake.script(stream_head(), Act.STALL)


def in_the_middle(fake: Provider) -> None:
    fake.script(stream_head() + event(delta("hello")), Act.STALL)


def while_it_flows(fake: Provider) -> None:
    fake.script(stream_head(), *[step for _ in range(500) for step in (event(delta("x")), 0.01)])


@pytest.mark.parametrize("at", [before_the_head, after_the_head, in_the_middle, while_it_flows])
@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/responses"])
def test_a_client_that_leaves_cancels_the_upstream(
    service: Service, fake: Provider, told: Told, at: Callable[[Provider], None], target: str
) -> None:
    at(fake)
    with connected(service.start(fake.url, "audit")) as sock:
        sock.sendall(request("POST", target, ODD))
        assert fake.arrived.wait(5)
        if at is not before_the_head:
            read_head(sock)
    assert fake.gone.wait(2)
    record = told.one()
    assert record.error == "client_left"
    assert record.status == (None if at is before_the_head else 200)


def test_work_for_a_client_that_has_gone_is_dropped(service: Service, fake: Provider, told: Told) -> None:
    pipeline = Slow()
    with connected(service.start_with(one_route(fake.url), pipeline)) as sock:
        sock.sendall(chat(ODD))
        assert pipeline.started.wait(5)
    assert pipeline.cancelled.wait(2)
    assert told.one().error == "client_left"
    assert fake.requests == []


def test_a_client_that_leaves_in_its_own_body_cancels_the_upstream(
    service: Service, fake: Provider, told: Told
) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("POST", "/v1/files", b"", (b"transfer-encoding", b"chunked")) + b"5\r\nhello\r\n")
        fake.wait_for(open=1)
    fake.wait_for(open=0)
    assert fake.requests == []
    assert told.one().error == "client_left"


def test_a_client_that_half_closes_is_treated_as_gone_only_by_the_server(service: Service, fake: Provider) -> None:
    """uvicorn closes a connection whose client has shut down its sending side; nothing must hang."""
    fake.script(Act.STALL)
    with connected(service.start(fake.url)) as sock:
        sock.sendall(chat(ODD))
        assert fake.arrived.wait(5)
        sock.shutdown(socket.SHUT_WR)
        assert fake.gone.wait(2)


# Time limits


@pytest.mark.parametrize(
    ("timeouts", "script", "status"),
    [
        (Timeouts(first_byte=0.1), (Act.STALL,), 504),
        (Timeouts(total=0.1), (Act.STALL,), 504),
        (Timeouts(), (Act.CLOSE,), 502),
        (Timeouts(), (b"SSH-2.0\r\n", Act.STALL), 502),
    ],
)
def test_an_upstream_that_fails_before_its_answer_is_told_in_openais_shape(
    service: Service, fake: Provider, told: Told, timeouts: Timeouts, script: tuple[bytes | Act, ...], status: int
) -> None:
    fake.script(*script)
    got, headers, body = ask(service.start(fake.url, timeouts=timeouts), chat(ODD))
    assert got == status
    assert value(headers, b"content-type") == b"application/json"
    assert b'"type":"laconic_error"' in body
    assert value(headers, b"x-laconic-route") == b"default"
    assert told.one().error == ("upstream_timeout" if status == 504 else "upstream_broken")


@pytest.mark.parametrize("timeouts", [Timeouts(idle=0.1), Timeouts(total=0.3)])
def test_a_stream_that_stalls_or_takes_too_long_is_cut(
    service: Service, fake: Provider, told: Told, timeouts: Timeouts
) -> None:
    fake.script(stream_head() + event(delta("hello")), Act.STALL)
    with connected(service.start(fake.url, timeouts=timeouts)) as sock:
        sock.sendall(chat(ODD))
        answer = read_all(sock)
    assert b"hello" in answer
    assert not answer.endswith(END)
    assert fake.gone.wait(2)
    assert told.one().error == "upstream_timeout"


def test_an_upstream_that_cannot_be_reached(service: Service, told: Told) -> None:
    status, _, body = ask(service.start("http://127.0.0.1:1/v1"), chat(ODD))
    assert status == 502
    assert b"upstream_unreachable" in body
    record = told.one()
    assert (record.error, record.status, record.usage) == ("upstream_unreachable", 502, None)
