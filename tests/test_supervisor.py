"""`laconic serve --workers 2`: real processes, killed and stopped, and what their clients notice of it."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Service
from layouts import LAYOUTS, body
from provider import END, Act, Provider, delta, event, stream_head
from raw import ask, chat, connected, read_all, read_head, request
from test_cli import COMMAND
from tiny_models import tiny

from proxy.config import load
from proxy.pipeline import Pipeline

BODY = body(LAYOUTS["tags"])
PLAIN = '[policy.p]\nextends = "safe"\ncontext.compressor = "lexical"\ncontext.rate = 0.5\n'
NEURAL = f"""
[compressor.meeting]
use = "classifier"
model = "{tiny("bert")}"
device = "cpu"
[policy.p]
extends = "aggressive"
context.compressor = "meeting"
"""


@dataclass
class Running:
    """A `laconic serve --workers 2` and where it keeps its things."""

    popen: "subprocess.Popen[bytes]"
    url: str
    folder: Path
    config: Path
    first: int = 0  # of the children

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def children(self) -> list[int]:
        """In the order in which they were started: the compressor process, if any, first."""
        done = subprocess.run(["pgrep", "-P", str(self.popen.pid)], capture_output=True, text=True, check=False)
        return sorted(int(line) for line in done.stdout.split())

    def compressor(self) -> int:
        """The process that was replaced last, or else started first; 0 while there are two."""
        children = self.children()
        started = children[0] if self.first in children else children[-1]
        return started if len(children) == 3 else 0

    def shorten(self) -> bytes:
        """The outcome of one request on a connection of its own."""
        status, headers, _ = ask(self.url, chat(BODY))
        assert status == 200
        return dict(headers)[b"x-laconic-outcome"]

    def metrics(self) -> dict[str, float]:
        status, _, text = ask(self.url, request("GET", "/metrics"))
        assert status == 200
        lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def requests(self) -> float:
        return sum(value for name, value in self.metrics().items() if name.startswith("laconic_requests_total"))

    def served(self) -> list[float]:
        """How many requests each worker says that it has served."""
        self.metrics()
        texts = [path.read_text() for path in self.folder.glob("laconic-*/*.prom")]
        return [sum(map(float, re.findall(r"^laconic_requests_total\{.*\} (\S+)$", t, re.MULTILINE))) for t in texts]


def until(true: Callable[[], object], what: str, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether it runs: a process that nobody has waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def ready(url: str) -> bool:
    try:
        return ask(url, request("GET", "/readyz"))[0] == 200
    except OSError:
        return False


def closed(url: str) -> bool:
    try:
        with connected(url):
            return False
    except ConnectionError:
        return True


def configured(folder: Path, upstream: str, policy: str, more: str = "") -> Path:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "laconic.toml"
    file.write_text(
        f'[server]\nport = {port}\nworkers = 2\n[ledger]\npath = "{folder}/ledger.sqlite3"\n'
        f'[compression]\ndeadline_ms = 20000\nbypass_share = 0\n[upstream.it]\nurl = "{upstream}/v1"\n'
        f'[[route]]\nname = "all"\npolicy = "p"\n{policy}\n{more}'
    )
    return file


@contextmanager
def serving(folder: Path, config: Path) -> Iterator[Running]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LACONIC_")} | {"TMPDIR": str(folder)}
    run = [*COMMAND, "serve", "--config", str(config)]
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(run, stderr=said, env=environment, start_new_session=True) as popen,
    ):
        running = Running(popen, f"http://127.0.0.1:{load(config).port}", folder, config)
        children: list[int] = []
        try:
            until(lambda: "stop: Ctrl-C" in running.said() or popen.poll() is not None, "did not start")
            until(lambda: all(ready(running.url) for _ in range(8)), "did not become ready")
            children = running.children()
            running.first = children[0]
            yield running
        finally:
            children += running.children()
            popen.kill()
            popen.wait()
            for pid in filter(alive, children):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def plain(tmp_path: Path, fake: Provider) -> Iterator[Running]:
    with serving(tmp_path, configured(tmp_path, fake.url, PLAIN)) as running:
        yield running


@pytest.fixture
def neural(tmp_path: Path, fake: Provider) -> Iterator[Running]:
    with serving(tmp_path, configured(tmp_path, fake.url, NEURAL)) as running:
        yield running


def test_each_worker_sends_the_bytes_that_one_process_sends_and_one_ledger_holds_all(
    neural: Running, fake: Provider, service: Service
) -> None:
    count = 0
    while len(told := neural.served()) < 2 or not all(told):
        assert count < 100, "one of two workers gets no connection"
        for _ in range(4):
            count += 1
            assert neural.shorten() == b"compressed"
    sent = {it.body for it in fake.requests}
    settings = load(neural.config)
    pipeline = Pipeline(settings.compression)
    assert pipeline.settle(settings) == ()
    ask(service.start_with(settings, pipeline), chat(BODY))
    assert sent == {fake.last.body}
    assert sum(told) == neural.requests() == count
    assert neural.metrics()["laconic_compression_duration_seconds_count" + _labels(neural)] == count
    neural.popen.send_signal(signal.SIGTERM)
    assert neural.popen.wait(15) == 0
    with closing(sqlite3.connect(neural.folder / "ledger.sqlite3")) as ledger:
        assert ledger.execute("SELECT count(*), count(DISTINCT id) FROM requests").fetchone() == (count, count)
    assert not list(neural.folder.glob("laconic-*"))


def _labels(running: Running) -> str:
    (found,) = [name for name in running.metrics() if name.startswith("laconic_compression_duration_seconds_count")]
    return found.removeprefix("laconic_compression_duration_seconds_count")


def test_a_killed_worker_is_replaced_no_later_request_fails_and_no_total_goes_back(plain: Running) -> None:
    for _ in range(20):
        plain.shorten()
    before = plain.requests()
    first, second = plain.children()
    os.kill(first, signal.SIGKILL)
    for _ in range(20):
        assert plain.shorten() == b"compressed"
    until(lambda: len(plain.children()) == 2, "it was not replaced")
    assert first not in plain.children()
    assert second in plain.children()
    assert (before, plain.requests()) == (20, 40)
    assert f"worker 0 (process {first}) was ended by SIGKILL" in plain.said()
    assert "Traceback" not in plain.said()


def test_without_the_compressor_process_requests_go_as_they_came_and_then_are_compressed_again(
    tmp_path: Path, fake: Provider
) -> None:
    model = tmp_path / "model"
    model.symlink_to(tiny("bert"))
    file = configured(tmp_path, fake.url, NEURAL.replace(str(tiny("bert")), str(model)))
    file.write_text(file.read_text().replace("bypass_share", "cache_mb = 0\nbypass_share"))
    with serving(tmp_path, file) as running:
        assert running.shorten() == b"compressed"
        model.unlink()
        first = running.compressor()
        os.kill(first, signal.SIGKILL)
        assert {running.shorten() for _ in range(8)} == {b"failed_open"}
        assert {it.body for it in fake.requests[1:]} == {BODY}
        model.symlink_to(tiny("bert"))
        until(lambda: running.compressor() not in (0, first), "it was not replaced")
        os.kill(running.compressor(), signal.SIGKILL)
        until(lambda: running.shorten() == b"compressed", "it did not recover")
        assert {running.shorten() for _ in range(8)} == {b"compressed"}
        assert "Traceback" not in running.said()


def test_a_compressor_process_that_hangs_does_not_hold_requests_beyond_the_deadline(
    tmp_path: Path, fake: Provider
) -> None:
    file = configured(tmp_path, fake.url, NEURAL)
    file.write_text(file.read_text().replace("deadline_ms = 20000", "deadline_ms = 400\ncache_mb = 0"))
    with serving(tmp_path, file) as running:
        until(lambda: running.shorten() == b"compressed", "the model did not warm up")
        compressor = running.children()[0]
        os.kill(compressor, signal.SIGSTOP)
        before = len(fake.requests)
        for _ in range(2):
            with ExitStack() as stack:
                socks = [stack.enter_context(connected(running.url)) for _ in range(6)]
                for sock in socks:
                    sock.sendall(chat(BODY))
                reasons = {re.findall(rb"x-laconic-reason: (\w+)", read_head(sock))[0] for sock in socks}
            assert reasons <= {b"deadline", b"overloaded"}
        assert {it.body for it in fake.requests[before:]} == {BODY}
        assert len(fake.requests) == before + 12
        os.kill(compressor, signal.SIGCONT)
        until(lambda: running.shorten() == b"compressed", "it did not recover")
        assert running.children()[0] == compressor


def test_sigterm_lets_the_streams_of_every_worker_finish(neural: Running, fake: Provider) -> None:
    go_on = threading.Event()
    fake.answer = lambda _: (stream_head() + event(delta("hello")), go_on, event(delta("there")) + END)
    with ExitStack() as stack:
        socks = [stack.enter_context(connected(neural.url)) for _ in range(50)]
        for sock in socks:
            sock.sendall(chat(BODY))
        answers = [read_head(sock) for sock in socks]
        neural.popen.send_signal(signal.SIGTERM)
        until(lambda: closed(neural.url), "new connections are still taken")
        assert neural.popen.poll() is None
        go_on.set()
        assert all((answer + read_all(sock)).endswith(END) for answer, sock in zip(answers, socks, strict=True))
    assert neural.popen.wait(10) == 0
    assert not neural.children()


def test_sighup_reaches_every_worker_and_those_that_are_started_later(plain: Running) -> None:
    plain.config.write_text(plain.config.read_text().replace('policy = "p"', 'policy = "off"'))
    plain.popen.send_signal(signal.SIGHUP)
    until(lambda: plain.said().count("reloaded: ") == 2, "not all have reloaded")
    assert {plain.shorten() for _ in range(12)} == {b"bypassed"}
    for pid in plain.children():
        os.kill(pid, signal.SIGKILL)
    assert {plain.shorten() for _ in range(12)} == {b"bypassed"}


def test_a_model_that_a_reload_calls_for_gets_its_process(plain: Running) -> None:
    assert len(plain.children()) == 2
    plain.config.write_text(plain.config.read_text().replace(PLAIN, NEURAL))
    plain.popen.send_signal(signal.SIGHUP)
    until(lambda: plain.said().count("reloaded: ") == 2, "not all have reloaded")
    assert len(plain.children()) == 3
    assert {plain.shorten() for _ in range(8)} == {b"compressed"}


def test_no_process_outlives_a_parent_that_was_killed(neural: Running) -> None:
    children = neural.children()
    assert len(children) == 3
    neural.popen.kill()
    neural.popen.wait()
    until(lambda: not any(map(alive, children)), "a child lives on", 5)
    assert not list(neural.folder.glob("laconic-*"))


def test_a_port_that_is_taken_and_a_ledger_that_cannot_be_opened_end_it_at_once(tmp_path: Path, fake: Provider) -> None:
    file = configured(tmp_path, fake.url, PLAIN)
    run = [*COMMAND, "serve", "--config", str(file)]
    port = load(file).port
    with socket.create_server(("127.0.0.1", port), reuse_port=True):  # as another laconic would hold it
        done = subprocess.run(run, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"laconic: cannot listen on 127.0.0.1:{port}: Address already in use")
    (tmp_path / "ledger.sqlite3").write_text("this is not a database, and it is longer than a header " * 9)
    done = subprocess.run(run, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.count("laconic: ") == 1
    assert "ledger.sqlite3" in done.stderr
    assert "Traceback" not in done.stderr


def test_records_of_several_processes_keep_the_limit_of_the_recording(tmp_path: Path, fake: Provider) -> None:
    record = f'[recording]\npath = "{tmp_path}/said.jsonl"\nmax_mb = 1\nredact = false\n'
    large = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 50_000}]}).encode()
    with serving(tmp_path, configured(tmp_path, fake.url, PLAIN, record)) as running:
        for _ in range(60):
            assert ask(running.url, chat(large))[0] == 200
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(15) == 0
    data = (tmp_path / "said.jsonl").read_bytes()
    assert 2**20 - 60_000 < len(data) <= 2**20
    assert all(json.loads(line)["body"]["messages"] for line in data.splitlines())


def test_ctrl_c_at_a_terminal_waits_for_streams_and_a_second_one_does_not(plain: Running, fake: Provider) -> None:
    fake.script(stream_head() + event(delta("hello")), Act.STALL)
    with connected(plain.url) as sock:
        sock.sendall(chat(BODY))
        read_head(sock)
        os.killpg(plain.popen.pid, signal.SIGINT)
        until(lambda: closed(plain.url), "new connections are still taken")
        assert plain.popen.poll() is None
        time.sleep(0.5)
        assert plain.popen.poll() is None
        os.killpg(plain.popen.pid, signal.SIGINT)
        assert plain.popen.wait(10) == 0
        assert not read_all(sock).endswith(END)


LOOP = """
import logging, os, sys
from proxy.workers.supervisor import Role, Supervisor
logging.basicConfig(format="%(message)s")
def bad(ready):
    ready()
    os.write(1, b"started\\n")  # in one piece
    return 3
supervisor = Supervisor([Role("it", bad, lambda: None)], 5, lambda: None, lambda: None)
sys.exit(supervisor.run(lambda: os.write(1, b"all are there\\n")))
"""


def test_what_dies_again_and_again_is_started_ever_more_slowly() -> None:
    run = [sys.executable, "-c", LOOP]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as popen:
        assert popen.stdout is not None
        said = [popen.stdout.readline().strip() for _ in range(6)]
        popen.send_signal(signal.SIGTERM)
        _, errors = popen.communicate(timeout=20)
    assert popen.returncode == 0
    assert said.count("started") == 5
    pauses = [float(pause) for pause in re.findall(r"it \(process \d+\) ended with 3; started anew in (\S+) s", errors)]
    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]


def test_what_cannot_start_ends_it_with_its_status() -> None:
    script = LOOP.replace("    ready()\n", "")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "started\n", "")


def test_a_reload_that_takes_the_keys_away_opens_nothing_to_those_who_come_later(
    tmp_path: Path, fake: Provider
) -> None:
    file = configured(tmp_path, fake.url, PLAIN)
    key = f'[key.one]\nhash = "sha256:{"0" * 64}"\n'
    file.write_text(key + file.read_text().replace("[server]\n", '[server]\nhost = "0.0.0.0"\n'))
    with serving(tmp_path, file) as running:
        file.write_text(file.read_text().replace(key, ""))
        running.popen.send_signal(signal.SIGHUP)
        until(lambda: running.said().count("not reloaded: ") >= 2, "not all have refused it")
        os.kill(running.children()[0], signal.SIGKILL)
        until(lambda: len(running.children()) == 2 and ready(running.url), "it was not replaced")
        assert {ask(running.url, chat(BODY))[0] for _ in range(12)} == {401}


def test_a_model_outlives_a_refused_reload_and_the_process_that_had_it(neural: Running) -> None:
    neural.config.write_text(re.sub(r'model = "[^"]*"', 'model = "/nowhere"', neural.config.read_text()))
    neural.popen.send_signal(signal.SIGHUP)
    until(lambda: neural.said().count("not reloaded: ") >= 2, "not all have refused it")
    os.kill(neural.children()[0], signal.SIGKILL)
    until(lambda: neural.shorten() == b"compressed", "the model was not loaded again")
