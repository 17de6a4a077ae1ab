"""The network harms a request at every point of its way; each time all the promises hold.

The real app, between two proxies that do the harm (`toxics`), in front of a provider that counts what it gets.
"""

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from conftest import UNDRAWN, Told
from layouts import LAYOUTS
from provider import END, Provider, Request, canned, provider
from raw import chat, connected
from toxics import HARMLESS, NONE, TOXICS, Harm, harm

from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import App
from proxy.asgi import Receive, Scope, Send
from proxy.connection import Connection
from proxy.endpoints import Exchange, Parts
from proxy.intake import Client
from proxy.pipeline import Pipeline
from proxy.savings import Outcome, Savings
from proxy.server import running
from proxy.settings import Limits, Settings, Timeouts, Upstream
from proxy.transport import Transport

PATIENT, HASTY = 10.0, 0.25
CLOSE = (b"connection", b"close")
DONE = b"data: [DONE]"


class Noticed(App):
    """The app, and the loop that it runs on."""

    loop: asyncio.AbstractEventLoop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        await super().__call__(scope, receive, send)


@dataclass
class Chain:
    """client -> `before` -> app -> `behind` -> provider: either side can be harmed."""

    fake: Provider
    behind: Harm
    before: Harm
    app: Noticed
    url: str
    told: Told = field(default_factory=Told)

    def tasks(self) -> int:
        return len(asyncio.all_tasks(self.app.loop))

    def record(self) -> Savings:
        return self.told.one()


def settings(upstream: str, policy: str, seconds: float) -> Settings:
    limits = Limits(body_idle_seconds=seconds)
    timeouts = Timeouts(connect=seconds, first_byte=seconds, idle=seconds, total=3 * PATIENT)
    destination = Upstream("fake", upstream, timeouts=timeouts)
    return Settings({"fake": destination}, (Route("all", "fake", policy),), PRESETS, limits=limits, compression=UNDRAWN)


@contextmanager
def chain(fake: Provider, policy: str, seconds: float) -> Iterator[Chain]:
    told = Told()
    with ExitStack() as stack:
        behind = stack.enter_context(harm(fake.url))
        it = settings(behind.url, policy, seconds)
        pipeline = Pipeline(it.compression)
        pipeline.settle(it)
        app = Noticed(Parts(lambda: it, pipeline, Transport(), (told,)), None)
        url = stack.enter_context(running(app, it.limits))
        before = stack.enter_context(harm(url))
        yield Chain(fake, behind, before, app, url, told)


Chains = Callable[[str, float], Chain]


@pytest.fixture(scope="module")
def chains() -> Iterator[Chains]:
    """By policy and time limit. Each is started once, and warm."""
    made: dict[tuple[str, float], Chain] = {}
    with ExitStack() as stack:
        fake = stack.enter_context(provider())

        def get(policy: str, seconds: float) -> Chain:
            key = policy, seconds
            if key not in made:
                made[key] = stack.enter_context(chain(fake, policy, seconds))
                ask(made[key], body(False))
            it = made[key]
            quiet(it)
            it.told.records.clear()
            it.fake.requests.clear()
            it.fake.gone.clear()
            it.behind.used = it.before.used = 0
            it.behind.upstream = it.behind.downstream = it.before.upstream = it.before.downstream = NONE
            return it

        yield get


def body(stream: bool) -> bytes:
    return json.dumps({"model": "gpt-4o", "stream": stream, "messages": LAYOUTS["labels"]}).encode()


def ask(it: Chain, raw: bytes) -> bytes:
    """All that a client hears until the connection ends; fails where it hangs."""
    with connected(it.before.url) as sock:
        sock.settimeout(PATIENT)
        came = b""
        try:
            sock.sendall(chat(raw, CLOSE))
            while piece := sock.recv(65536):
                came += piece
        except ConnectionError:
            pass
    return came


# What is left behind


def sockets() -> int:
    kinds = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return sum(_is_socket(path) for path in kinds)


def _is_socket(path: str) -> bool:
    try:
        return os.readlink(path).startswith("socket:")
    except FileNotFoundError:  # the directory that was listed
        return False


def left(it: Chain) -> tuple[int, int, int]:
    """Threads, tasks of the server's loop, sockets."""
    return threading.active_count(), it.tasks(), sockets()


def nothing_left(it: Chain, before: tuple[int, int, int]) -> None:
    """Fewer than before may be what ended since; more must not be."""
    until(
        lambda: all(now <= then for now, then in zip(left(it), before, strict=True)),
        f"threads, tasks, sockets: {before} have become {left(it)}",
    )


def quiet(it: Chain) -> None:
    """Until nothing is open: no connection of a client, none to the provider but idle ones, which are closed."""
    asyncio.run_coroutine_threadsafe(it.app._parts.transport.aclose(), it.app.loop).result(5)
    until(lambda: it.fake.open == 0 and not it.behind.open and not it.before.open, "connections are still open")


def until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.002)


# What a client has heard


def whole(came: bytes) -> bool:
    """Whether an answer has come to its end, by its own framing."""
    head, found, rest = came.partition(b"\r\n\r\n")
    if not found:
        return False
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if lines.get(b"transfer-encoding") == b"chunked":
        return rest.endswith(END) and unchunked(rest)[1]
    return len(rest) == int(lines[b"content-length"])


def unchunked(rest: bytes) -> tuple[bytes, bool]:
    """The content of chunks, and whether the last has come."""
    content = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return content, rest == b"\r\n"
        content, rest = content + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return content, False


def content(came: bytes) -> bytes:
    head, _, rest = came.partition(b"\r\n\r\n")
    return unchunked(rest)[0] if b"chunked" in head else rest


def answer(stream: bool) -> bytes:
    """What the provider sends, head and all."""
    (data,) = canned(Request("POST", "/v1/chat/completions", [], body(stream)))
    assert isinstance(data, bytes)
    return data


def check(it: Chain, raw: bytes, came: bytes) -> None:
    """What holds however the network is."""
    assert it.behind.used <= 1, "the request was sent twice"
    assert len(it.fake.requests) <= 1
    assert len(it.told.records) <= 1, "one request has more than one record"
    for got in it.fake.requests:
        record = it.record()
        if record.measured.outcome is Outcome.COMPRESSED:
            assert len(got.body) < len(raw)
            json.loads(got.body)
        else:
            assert got.body == raw


# The upstream's side

PHASES: dict[str, tuple[str, Callable[[bool], int]]] = {
    "connect": ("upstream", lambda stream: 0),
    "request write": ("upstream", lambda stream: 400),
    "waiting for headers": ("downstream", lambda stream: 0),
    "mid-body": ("downstream", lambda stream: answer(stream).index(b"\r\n\r\n") + 60),
    "end": ("downstream", lambda stream: len(answer(stream)) - 3),
}
CUT = ("mid-body", "end")


@pytest.mark.parametrize("policy", ["off", "balanced"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("toxic", TOXICS)
def test_harm_between_us_and_the_upstream(chains: Chains, toxic: str, phase: str, stream: bool, policy: str) -> None:
    it = chains(policy, HASTY if toxic == "timeout" else PATIENT)
    before = left(it)
    way, after = PHASES[phase]
    setattr(it.behind, way, TOXICS[toxic](after(stream)))
    raw = body(stream)
    came = ask(it, raw)
    check(it, raw, came)
    record = it.record()
    told = answer(stream).partition(b"\r\n\r\n")[2]
    if toxic in HARMLESS:
        assert came.startswith(b"HTTP/1.1 200")
        assert whole(came)
        assert content(came) == (unchunked(told)[0] if stream else told)
        assert (record.status, record.error) == (200, "")
        assert record.measured.outcome is (Outcome.BYPASSED if policy == "off" else Outcome.COMPRESSED)
    else:
        code = "upstream_timeout" if toxic == "timeout" else "upstream_broken"
        assert record.error == code or (phase == "connect" and record.error == "upstream_unreachable")
        if phase in CUT:
            assert came.startswith(b"HTTP/1.1 200")
            assert not whole(came), "a broken answer looks whole"
            full = unchunked(told)[0] if stream else told
            assert full.startswith(content(came)), "what came is not what the provider said"
            assert phase == "end" or DONE not in came
        else:
            assert came.startswith(b"HTTP/1.1 504" if toxic == "timeout" else b"HTTP/1.1 502")
            assert whole(came)
            assert b'"type":"laconic_error"' in came
            assert record.status == int(came[9:12])
    quiet(it)
    nothing_left(it, before)


def test_an_upstream_that_is_not_there_is_said_to_be_unreachable(chains: Chains) -> None:
    with provider() as nobody:
        pass
    it = settings(nobody.url, "balanced", PATIENT)
    told = Told()
    pipeline = Pipeline(it.compression)
    with (
        running(Noticed(Parts(lambda: it, pipeline, Transport(), (told,)), None), it.limits) as url,
        harm(url) as before,
    ):
        where = Chain(nobody, before, before, None, url, told)  # type: ignore[arg-type]
        assert ask(where, body(False)).startswith(b"HTTP/1.1 502")
    assert told.one().error == "upstream_unreachable"


# The client's side


@dataclass(frozen=True)
class Left:
    """What becomes of a request whose client is harmed. `hits`: how many requests the provider gets at most."""

    error: str | None  # None: there is no record, for there was no request
    hits: int
    status: int | None = None


GONE, FINE = Left("client_left", 0), Left("", 1, 200)
CLIENT_PHASES = {
    "connect": ("upstream", 0),
    "request write": ("upstream", 400),
    "waiting for headers": ("downstream", 0),
    "mid-body": ("downstream", 350),
}


def client_fate(toxic: str, phase: str) -> Left:
    if toxic in HARMLESS:
        return FINE
    if phase == "connect":
        return Left(None, 0)
    if phase == "request write":
        return Left("body_stalled", 0, 408) if toxic == "timeout" else GONE
    return FINE if toxic == "timeout" else Left("client_left", 1)


@pytest.mark.parametrize("policy", ["off", "balanced"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("phase", CLIENT_PHASES)
@pytest.mark.parametrize("toxic", TOXICS)
def test_harm_between_the_client_and_us(chains: Chains, toxic: str, phase: str, stream: bool, policy: str) -> None:
    it = chains(policy, HASTY if toxic == "timeout" else PATIENT)
    before = left(it)
    way, after = CLIENT_PHASES[phase]
    setattr(it.before, way, TOXICS[toxic](after))
    fate = client_fate(toxic, phase)
    released = threading.Event()
    if fate.error == "client_left" and way == "downstream":  # the answer must not be over before the client is gone
        it.fake.script(answer(stream)[:-3], released, b"")
    raw = body(stream)
    waits = toxic == "timeout" and (phase == "connect" or way == "downstream")
    if waits:  # nobody ever answers: the client gives up
        with connected(it.before.url) as sock:
            sock.sendall(chat(raw))
            if fate is FINE:
                it.record()
            else:
                time.sleep(0.1)
        came = b""
    else:
        came = ask(it, raw)
    quiet_but(it, fate)
    check(it, raw, came)
    if fate.error is None:
        assert it.told.records == []
    else:
        assert it.record().error == fate.error
        assert fate.status is None or it.record().status == fate.status
    assert len(it.fake.requests) <= fate.hits
    if fate is FINE and not waits:
        assert whole(came)
        assert DONE in came or not stream
    elif toxic != "timeout":
        assert not whole(came)
        assert not it.fake.requests or it.fake.gone.is_set(), "the upstream works on for nobody"
    nothing_left(it, before)


def quiet_but(it: Chain, fate: Left) -> None:
    if fate.error is not None:
        it.record()
    quiet(it)


# Memory


def test_nothing_of_harmed_requests_stays_in_memory(chains: Chains) -> None:
    it = chains("balanced", HASTY)
    for toxic in ("reset_peer", "limit_data", "timeout"):
        for way, after in (("upstream", 400), ("downstream", 0), ("downstream", 300)):
            it.behind.upstream = it.behind.downstream = NONE
            setattr(it.behind, way, TOXICS[toxic](after))
            ask(it, body(True))
    quiet(it)
    until(lambda: not _alive(), "requests of the past are still in memory")


def _alive() -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if type(one) in (Exchange, Connection, Client)]
