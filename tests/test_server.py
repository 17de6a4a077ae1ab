"""The server as a process: signals, malformed requests, bounded memory."""

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import Service
from provider import END, Act, Provider, chunk, delta, event, stream_head, whole
from raw import chat, connected, flood, more, read_all, read_head, request

from proxy.protocol import Protocol
from proxy.settings import Limits

SCRIPT = """
import sys
from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.pipeline import Pipeline
from proxy.server import listen, serve
from proxy.settings import Limits, Settings, Upstream

limits = Limits(body_bytes=8_000_000, drain_seconds=float(sys.argv[2]))
upstreams = {"fake": Upstream("fake", sys.argv[1])}
settings = Settings(upstreams, (Route("all", "fake", "balanced"),), PRESETS, limits=limits)
listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
pipeline = Pipeline(settings.compression)
pipeline.settle(settings)
app = create_app(lambda: settings, pipeline)
serve(app, listener, limits, lambda: print("reloaded", flush=True))
print("closed", flush=True)
"""


class Process:
    """A server of its own, so that it can be sent signals."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen
        self.url = "http://127.0.0.1:" + self.line()
        with connected(self.url) as sock:
            sock.sendall(request("GET", "/readyz"))
            assert read_head(sock).startswith(b"HTTP/1.1 200")

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def resident(self) -> int:
        """Bytes."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextmanager
def process(upstream: str, drain_seconds: float) -> Iterator[Process]:
    arguments = [sys.executable, "-c", SCRIPT, upstream, str(drain_seconds)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


def gone(url: str) -> bool:
    try:
        with connected(url):
            return False
    except ConnectionError:
        return True


def test_sigterm_lets_open_streams_finish_and_takes_no_new_ones(fake: Provider) -> None:
    go_on = threading.Event()
    fake.script(stream_head() + event(delta("hello")), go_on, event(delta("there")) + END)
    with process(fake.url, 10) as server, connected(server.url) as sock, connected(server.url) as idle:
        sock.sendall(chat(b"{}"))
        answer = read_head(sock)
        server.signal(signal.SIGTERM)
        assert read_all(idle) == b""
        assert gone(server.url)
        go_on.set()
        answer += read_all(sock)
        assert answer.endswith(END)
        assert answer.count(b"data: ") == 2
        assert server.popen.wait(5) == 0
        assert server.line() == "closed"


def test_the_drain_has_an_end(fake: Provider) -> None:
    fake.script(stream_head() + event(delta("hello")), 60.0)
    with process(fake.url, 0.2) as server, connected(server.url) as sock:
        sock.sendall(chat(b"{}"))
        read_head(sock)
        server.signal(signal.SIGTERM)
        assert not read_all(sock).endswith(END)
        assert server.popen.wait(5) == 0
        assert fake.gone.wait(2)


def test_sighup_reloads(fake: Provider) -> None:
    with process(fake.url, 1) as server:
        for _ in range(2):
            server.signal(signal.SIGHUP)
            assert server.line() == "reloaded"
        assert not gone(server.url)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/files"])
def test_three_hundred_megabytes_are_refused_and_not_held(fake: Provider, target: str) -> None:
    with process(fake.url, 1) as server, connected(server.url) as sock:
        before = server.resident()
        sock.sendall(request("POST", target, b"", (b"transfer-encoding", b"chunked")))
        megabyte = chunk(bytes(1024 * 1024))
        with pytest.raises(ConnectionError):
            flood(sock, megabyte, 300)
        assert server.resident() - before < 32_000_000


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_an_answer_that_nobody_reads_is_not_held(fake: Provider) -> None:
    size = 100_000_000
    fake.script(whole(bytes(size)))
    with process(fake.url, 1) as server, connected(server.url) as sock:
        before = server.resident()
        sock.sendall(chat(b"{}"))
        time.sleep(0.5)
        head = read_head(sock)
        read = len(head.partition(b"\r\n\r\n")[2])
        while read < size:
            read += len(more(sock))
        assert server.resident() - before < 32_000_000


# Malformed and endless requests

POST = b"POST /v1/models HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    "data",
    [
        POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        POST + b"content-length: +3\r\n\r\nabc",
        POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"host: b\r\n\r\n",
        POST + b"x: a\r\n folded\r\n\r\n",
        POST + b"x : a\r\n\r\n",
        POST + b"x: a\x00b\r\n\r\n",
        POST + b"authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n",
        POST + b"content_length: 3\r\n\r\n",
        b"GET /v1/models HTTP/1.1\nhost: a\n\n",
        b"GET /v1/../admin HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
    ],
)
def test_ambiguous_requests_are_refused_in_openais_shape_and_reach_nobody(
    service: Service, fake: Provider, data: bytes
) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(data)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"ambiguous_request"' in answer
    assert fake.connections == 0


def test_headers_without_an_end_are_not_read_for_ever(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(POST)
        with pytest.raises(ConnectionError):
            flood(sock, b"x-more: " + b"y" * 1000 + b"\r\n", 10_000)


def test_a_client_that_waits_for_100_continue_is_answered(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(POST + b"content-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n")
        assert read_head(sock).startswith(b"HTTP/1.1 100")
        sock.sendall(b"{}")
        assert read_all(sock).startswith(b"HTTP/1.1 200")
    assert fake.last.header("expect") == []


def test_requests_sent_in_one_go_are_answered_in_order(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url)) as sock:
        sock.sendall(request("GET", "/v1/first") + request("GET", "/v1/second", b"", (b"connection", b"close")))
        answer = read_all(sock)
    assert answer.index(b'{"path": "/v1/first"}') < answer.index(b'{"path": "/v1/second"}')


# Who holds a connection without using it

QUICK = Limits(head_seconds=0.2, body_idle_seconds=0.2, unread_seconds=0.3)


def test_headers_that_drip_in_are_not_waited_for(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(b"POST /v1/models HTTP/1.1\r\n")
        for _ in range(100):
            sock.sendall(b"x: y\r\n")
            time.sleep(0.02)
            if answered(sock):
                break
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"headers_stalled"' in answer
    assert fake.connections == 0


def test_empty_lines_between_requests_keep_no_connection_open(
    service: Service, fake: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.protocol.REST_SECONDS", 0.2)
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(request("GET", "/v1/models"))
        assert read_head(sock).startswith(b"HTTP/1.1 200")
        for _ in range(100):
            sock.sendall(b"\r\n")
            time.sleep(0.02)
            if answered(sock):
                break
        assert sock.recv(1) == b""


def test_a_body_that_drips_in_is_not_waited_for(service: Service, fake: Provider) -> None:
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(request("POST", "/v1/chat/completions", b"", (b"content-length", b"1000")))
        for _ in range(100):
            sock.sendall(b" ")
            time.sleep(0.02)
            if answered(sock):
                break
        else:
            pytest.fail("it was waited for")
        assert read_all(sock).startswith(b"HTTP/1.1 408")
    assert fake.requests == []


def test_a_request_that_begins_while_an_answer_streams_does_not_cut_the_answer(
    service: Service, fake: Provider
) -> None:
    fake.script(stream_head() + event(delta("hello")), 0.5, event(delta("there")) + END)
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(chat(b"{}") + b"GET /v1/models HTTP/1.1\r\n")
        answer = read_all(sock)
    assert answer.count(b"data: ") == 2
    assert answer.index(END) < answer.index(b"HTTP/1.1 408")


def test_a_client_that_does_not_read_is_cut_off_and_its_upstream_cancelled(service: Service, fake: Provider) -> None:
    fake.script(whole(bytes(100_000_000)))
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(chat(b"{}"))
        read_head(sock)
        fake.wait_for(open=0)
    assert service.told.one().error == "client_left"


def test_a_client_that_reads_slowly_gets_all_of_it(service: Service, fake: Provider) -> None:
    size = 12_000_000
    fake.script(whole(bytes(size)))
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(chat(b"{}"))
        read = len(read_head(sock).partition(b"\r\n\r\n")[2])
        while read < size:
            read += len(more(sock))
            time.sleep(0.002)
    assert read == size


def test_connections_beyond_the_limit_are_refused_and_room_is_made_again(service: Service, fake: Provider) -> None:
    url = service.start(fake.url, limits=Limits(connections=2))
    with connected(url) as first, connected(url) as second:
        for sock in (first, second):
            sock.sendall(request("GET", "/v1/models"))
            assert read_head(sock).startswith(b"HTTP/1.1 200")
        with connected(url) as third:
            answer = read_all(third)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1\r\n" in answer
    deadline = time.monotonic() + 5
    while b"HTTP/1.1 200" not in once(url):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def once(url: str) -> bytes:
    with connected(url) as sock:
        sock.sendall(request("GET", "/v1/models", b"", (b"connection", b"close")))
        return read_all(sock)


def answered(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def test_a_body_that_was_answered_before_its_end_may_still_be_sent_and_the_connection_used(
    service: Service, fake: Provider
) -> None:
    fake.read_bodies = False
    fake.script(whole(b"{}", status=401), Act.STALL)
    with connected(service.start(fake.url, limits=QUICK)) as sock:
        sock.sendall(request("POST", "/v1/files", b"", (b"content-length", b"100000")) + bytes(40_000))
        assert read_head(sock).startswith(b"HTTP/1.1 401")
        for _ in range(30):  # for longer than the headers of a request may take
            sock.sendall(bytes(2000))
            time.sleep(0.01)
        fake.read_bodies = True
        time.sleep(0.1)
        sock.sendall(request("GET", "/v1/models"))
        assert read_head(sock).startswith(b"HTTP/1.1 200")


def test_the_rest_of_an_answer_that_nobody_reads_holds_its_connection_for_a_while_only(
    service: Service, fake: Provider
) -> None:
    """Of some answer so little is left that writing is not paused: then nothing else would end it."""
    url = service.start(fake.url, limits=Limits(unread_seconds=0.3))
    with ExitStack() as stack:
        for size in range(200_000, 5_000_000, 150_000):
            fake.script(whole(bytes(size)))
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            sock.sendall(request("GET", "/v1/models", b"", (b"connection", b"close")))
        until(lambda: len(fake.requests) == 32)
        until(lambda: not any(type(it) is Protocol and it in it.connections for it in gc.get_objects()))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
