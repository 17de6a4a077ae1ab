"""Canaries in the real process: words and keys that must turn up nowhere but where they were sent.

`laconic serve` runs with every logger at DEBUG and a collector for all of OpenTelemetry, and gets good requests and bad
ones, failures of the compressor and of the upstream, and a reload of bad files. Then all that it wrote is searched.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from layouts import NUMBERED, QUESTION, ROWS, RULES, body, system, tool, user
from provider import DONE, END, USAGE, Act, Provider, Step, completion, delta, event, head, stream_head, whole
from raw import Header, ask, chat, connected, read_all, read_head, request
from test_meters import collector

from proxy.config import ConfigError, load

CALLER, UPSTREAM = "sk-canary-caller-5f3a", "sk-canary-upstream-91c7"
PROMPT, ASKED, ARGUMENT, RESULT, ANSWER = "zanzibarine", "quokkaesque", "vellichorous", "tooltruffle", "gallimaufrous"
SECRET_HEADER, IN_PATH = "snollygoster", "absquatulated"
CANARIES = (CALLER, UPSTREAM, PROMPT, ASKED, ARGUMENT, RESULT, ANSWER, SECRET_HEADER, IN_PATH)

# The real command, every logger at DEBUG whatever it is told, and one more compressor, whose error quotes the prompt.
SERVE = """
import logging, sys
from types import ModuleType
import compressors
from proxy.cli import main

def asked_for(event, details):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print(event, details[-1] if event == "socket.connect" else details[0], file=connects)

class Chatty:
    def compress(self, tasks):
        print_of = tasks[0].text, tasks[0].question
        raise ValueError(*print_of)

module = ModuleType("chatty")
module.Chatty = Chatty
sys.modules["chatty"] = module
compressors.TABLE["chatty"] = "chatty:Chatty"
connects = open("connects", "a", buffering=1)
sys.addaudithook(asked_for)
level = logging.Logger.setLevel
logging.Logger.setLevel = lambda self, _: level(self, logging.DEBUG)
sys.exit(main(sys.argv[1:]))
"""


def config(port: int, upstream: str, more: str = "") -> str:
    return f"""
[server]
port = {port}
max_header_kb = 8
[ledger]
path = "ledger.sqlite3"
[compression]
bypass_share = 0
deadline_ms = 10000
[upstream.fake]
url = "{upstream}"
[upstream.own]
url = "{upstream}"
key_env = "UPSTREAM_KEY"
first_byte = 0.3
[policy.broken]
extends = "aggressive"
[policy.broken.context]
compressor = "chatty"
[[route]]
name = "broken"
path = "/broken"
upstream = "own"
policy = "broken"
[[route]]
name = "nowhere"
path = "/nowhere"
upstream = "gone"
policy = "aggressive"
[upstream.gone]
url = "http://127.0.0.1:1"
[[route]]
name = "good"
path = "/good"
upstream = "fake"
policy = "aggressive"
[[route]]
name = "own"
header = {{ name = "x-own", value = "yes" }}
upstream = "own"
policy = "audit"
{more}
"""


MESSAGES = [
    system(f"{RULES} {PROMPT}"),
    user(f"Context:\n{PROMPT} {NUMBERED} {PROMPT}\n\nQuestion: {QUESTION} {ASKED}"),
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": f'{{"q":"{ARGUMENT}"}}'}}
        ],
    },
    tool(json.dumps({"rows": ROWS, RESULT: f"{RESULT} {NUMBERED}"})),
]
GOOD = body(MESSAGES)
MINE: list[Header] = [(b"authorization", b"Bearer " + CALLER.encode()), (b"x-secret", SECRET_HEADER.encode())]
SAID = json.dumps(completion(content=ANSWER)).encode()
STREAMED = stream_head() + event(delta(ANSWER)) + event({**delta(), "choices": [], "usage": USAGE}) + DONE + END
BAD_BODIES = [
    GOOD[:-40],
    GOOD.replace(b"Context", b"\xff"),
    GOOD.replace(b'"tools"', b'"messages"'),
    GOOD.replace(b'"role": "tool"', b'"role": null'),
    b"[" * 100_000 + PROMPT.encode(),
    PROMPT.encode(),
]
TROUBLES: list[tuple[Step, ...]] = [
    (whole(json.dumps({"error": {"message": f"{PROMPT} {ANSWER} {UPSTREAM}"}}).encode(), status=400),),
    (whole(b"", (b"x-echo", CALLER.encode()), status=503),),
    (b"SSH-2.0 " + ANSWER.encode() + b"\r\n",),
    (head(200, (b"content-length", b"9999")) + ANSWER.encode(), Act.RESET),
    (stream_head() + event(delta(ANSWER)), Act.CLOSE),
    (Act.STALL,),
]


@dataclass
class Running:
    """A process that serves, and what was heard of it."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    heard: list[bytes] = field(default_factory=list)  # of ours: headers, pages, errors

    def ask(self, data: bytes) -> int:
        """Sends a request; keeps what is ours of the answer."""
        with connected(self.url) as sock:
            sock.sendall(data.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
            told, _, content = read_all(sock).partition(b"\r\n\r\n")
        ours = b'"laconic_error"' in content
        self.heard += [line for line in told.split(b"\r\n") if ours or line.startswith(b"x-laconic")]
        self.heard += [content] * ours
        return int(told.split(b" ")[1]) if told.startswith(b"HTTP/1.1 ") else 0

    def page(self, path: str) -> int:
        status, headers, content = ask(self.url, request("GET", path))
        self.heard += [content, *(b": ".join(header) for header in headers)]
        return status

    def reload(self, text: str, said: bytes) -> None:
        """Waits until the log says so."""
        (self.folder / "laconic.toml").write_text(text)
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(said)

    def wait_for(self, said: bytes) -> None:
        deadline = time.monotonic() + 10
        while said not in (self.folder / "stderr").read_bytes():
            assert time.monotonic() < deadline, f"not said: {said!r}"
            time.sleep(0.02)


@contextmanager
def serving(folder: Path, fake: Provider, otlp: str) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "laconic.toml").write_text(config(port, fake.url))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LACONIC_", "OTEL_"))}
    environment |= {"UPSTREAM_KEY": UPSTREAM, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp, "NO_PROXY": "127.0.0.1"}
    environment |= {"OTEL_EXPORTER_OTLP_COMPRESSION": "none", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    command = [sys.executable, "-c", SERVE, "serve", "--config", "laconic.toml"]
    with (
        (folder / "stdout").open("wb") as out,
        (folder / "stderr").open("wb") as err,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err) as process,
    ):
        it = Running(f"http://127.0.0.1:{port}", process, folder)
        try:
            it.wait_for(b"Pruner is loaded")
            it.wait_for(b"Classifier is loaded")
            yield it
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def good_days(it: Running, fake: Provider) -> None:
    for path in ("/good", "/broken"):
        for script in ((whole(SAID),), (STREAMED,)):
            fake.script(*script)
            assert it.ask(chat(GOOD, *MINE).replace(b"/v1", path.encode() + b"/v1", 1)) == 200
            assert PROMPT.encode() in fake.last.body
            key = CALLER if path == "/good" else UPSTREAM
            assert fake.last.header("authorization") == [b"Bearer " + key.encode()]
    fake.script(whole(SAID))
    assert it.ask(chat(GOOD, *MINE, (b"x-own", b"yes"))) == 200
    assert it.ask(request("POST", "/good/v1/embeddings", GOOD, *MINE)) == 200


def bad_days(it: Running, fake: Provider) -> None:
    for raw in BAD_BODIES:
        fake.script(whole(SAID))
        assert it.ask(chat(raw, *MINE).replace(b"/v1", b"/good/v1", 1)) == 200
        assert fake.last.body == raw
    for odd in ((b"x-laconic", PROMPT.encode()), (b"content-encoding", PROMPT.encode())):
        fake.script(whole(SAID))
        assert it.ask(chat(GOOD, *MINE, odd).replace(b"/v1", b"/good/v1", 1)) == 200
    for script in TROUBLES:
        fake.script(*script)
        it.ask(chat(GOOD, *MINE).replace(b"/v1", b"/broken/v1", 1))
    assert it.ask(chat(GOOD, *MINE).replace(b"/v1", b"/nowhere/v1", 1)) == 502


def refusals(it: Running, fake: Provider) -> None:
    seen = len(fake.requests)
    twice = [*MINE, *MINE]
    disguised = [*MINE, (b"api_key", CALLER.encode())]
    large = [*MINE, *[(b"x-%d" % n, SECRET_HEADER.encode() * 40) for n in range(20)]]
    lengths = [*MINE, (b"transfer-encoding", b"chunked")]
    assert [it.ask(chat(GOOD, *more)) for more in (twice, disguised, large, lengths)] == [400, 400, 431, 400]
    assert it.ask(chat(GOOD, *MINE)) == 404
    for target in (f"/good/v1/../{IN_PATH}", f"/{IN_PATH}/v1/models?key={CALLER}", f"/good/%2e%2e/{IN_PATH}"):
        assert it.ask(request("GET", target, b"", *MINE)) in (400, 404)
    assert it.ask(b"GET /" + IN_PATH.encode() + b" HTTP/1.1\r\n" + CALLER.encode() + b"\r\n\r\n") == 400
    assert len(fake.requests) == seen


def leaving(it: Running, fake: Provider) -> None:
    fake.script(stream_head() + event(delta(ANSWER)), Act.STALL)
    with connected(it.url) as sock:
        sock.sendall(chat(GOOD, *MINE).replace(b"/v1", b"/good/v1", 1))
        read_head(sock)
    it.wait_for(b"client_left")


def reloads(it: Running, fake: Provider) -> None:
    text = (it.folder / "laconic.toml").read_text()
    for n, wrong in enumerate(
        (
            f'[upstream.bad]\nurl = "https://a/v1"\nkey = "{UPSTREAM}"\n',
            f'[upstream.bad]\nurl = "https://user:{UPSTREAM}@a/v1"\n',
            f'[upstream.bad]\nurl = "https://a/v1"\nkey_env = "{UPSTREAM}"\n',
            f'[upstream.bad]\nurl = "https://a/v1"\nfirst_byte = "{UPSTREAM}"\n',
            f'[upstream.bad]\nurl = "{UPSTREAM}',
        ),
        5,
    ):
        it.reload(text.replace("max_header_kb = 8", f"max_header_kb = {n}") + wrong, b"not reloaded")
        (it.folder / "laconic.toml").write_text(text)
    it.reload(text, b"reloaded: 4 routes")
    (it.folder / "laconic.toml").write_text("")


def test_no_canary_is_found_in_anything_that_was_written(tmp_path: Path, fake: Provider) -> None:
    with collector() as (otlp, taken):
        with serving(tmp_path, fake, otlp) as it:
            good_days(it, fake)
            bad_days(it, fake)
            refusals(it, fake)
            leaving(it, fake)
            reloads(it, fake)
            assert [it.page(path) for path in ("/metrics", "/readyz", "/healthz")] == [200, 200, 200]
            time.sleep(0.6)  # the ledger is written, and not yet folded into one file
            alive = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        told = {name: b"".join(bodies) for name, bodies in taken.items()}
    (tmp_path / "laconic.toml").unlink()
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3.seen", "stderr", "stdout"} <= set(alive)
    assert {"/v1/traces", "/v1/metrics", "/v1/logs"} <= set(told)
    for written in (left["ledger.sqlite3"], alive["ledger.sqlite3-wal"], told["/v1/logs"], told["/v1/traces"]):
        assert b"error: ValueError" in written
    assert all(said in left["stderr"] for said in (b" DEBUG ", b"not reloaded", b"error: ValueError"))
    assert b"Traceback" not in left["stderr"]
    assert len(it.heard) > 100
    asked_for = left["connects"].splitlines()  # by exporters and whatever else runs in it: nobody but the collector
    assert asked_for
    assert all(b"127.0.0.1" in host for host in asked_for)
    for canary in CANARIES:
        for name, written in {**alive, **left, **told, "heard": b"\n".join(it.heard)}.items():
            assert canary.encode() not in written, f"{canary} in {name}"


WRONG = [
    f'[upstream.a]\nurl = "https://a/v1"\nkey = "{UPSTREAM}"',
    f'[upstream.a]\nurl = "https://a/v1"\ntoken = "{UPSTREAM}"',
    f'[upstream.a]\nurl = "https://user:{UPSTREAM}@a/v1"',
    f'[upstream.a]\nurl = "https://a/v1?key={UPSTREAM}"',
    f'[upstream.a]\nurl = "https://a/v1"\nkey_env = "{UPSTREAM}"',
    f'[upstream.a]\nurl = "https://a/v1"\nkey_file = "{UPSTREAM}"',
    f'[upstream.a]\nurl = "https://a/v1"\nidle = "{UPSTREAM}"',
    f'[server]\nport = "{UPSTREAM}"',
    f'[upstream.a]\nurl = "https://a/v1"\nkey_env = "{UPSTREAM}',
    f'[[route]]\nname = "a"\nkey = "{UPSTREAM}"',
    f'[upstream]\na = "{UPSTREAM}"',
]


@pytest.mark.parametrize("text", WRONG)
def test_complaints_about_settings_quote_no_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "laconic.toml").write_text(text)
    with pytest.raises(ConfigError) as found:
        load(tmp_path / "laconic.toml", {"KEY": UPSTREAM})
    assert UPSTREAM not in f"{found.value} {found.value.problems!r} {found.value.args}"


def test_settings_and_what_check_prints_show_no_key(tmp_path: Path) -> None:
    file = tmp_path / "laconic.toml"
    file.write_text(
        config(8787, "http://127.0.0.1:9", '[compressor.mine]\nuse = "lexical"\n').replace("chatty", "mine")
    )
    settings = load(file, {"UPSTREAM_KEY": UPSTREAM})
    assert settings.upstreams["own"].key == UPSTREAM
    assert UPSTREAM not in f"{settings!r} {settings}"
    command = [sys.executable, "-c", SERVE, "check", "--config", str(file)]
    done = subprocess.run(command, env={**os.environ, "UPSTREAM_KEY": UPSTREAM}, capture_output=True, check=True)
    assert b"a key of its own" in done.stdout
    assert UPSTREAM.encode() not in done.stdout + done.stderr
