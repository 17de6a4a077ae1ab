"""Who may use the service: keys of its own, what they may do, and that nobody else comes in or is reached."""

import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import UNDRAWN, Service, Told
from openai import AuthenticationError, OpenAI, PermissionDeniedError
from provider import Provider
from raw import Header, ask, chat, connected, read_head, request

from policies.presets import PRESETS
from policies.routes import Route
from proxy import access
from proxy.access import admit, exposed, is_loopback, new_key
from proxy.app import create_app
from proxy.check import check
from proxy.config import ConfigError, load
from proxy.errors import Unauthorized
from proxy.override import gentler
from proxy.pipeline import Pipeline
from proxy.reload import Current
from proxy.server import running
from proxy.settings import Key, Limits, Settings, Upstream

COMMAND = [sys.executable, "-c", "import sys; from proxy.cli import main; sys.exit(main())"]
SHELVES = " ".join(f"Shelf {n} of the seed library keeps {n} jars of beans from the valley." for n in range(60))


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key(name: str, **more: Any) -> Key:
    """Its key is `laconic-NAME`."""
    return Key(name, digest(f"laconic-{name}"), **more)


def own(name: str) -> Header:
    return b"x-laconic-key", b"laconic-" + name.encode()


def bearer(token: str) -> Header:
    return b"authorization", b"Bearer " + token.encode()


def keyed(url: str, *keys: Key, policy: str = "off", upstream_key: str | None = None) -> Settings:
    routes = (Route("rag", "fake", policy, path="/rag"), Route("rest", "fake", policy))
    return Settings({"fake": Upstream("fake", url, upstream_key)}, routes, PRESETS, keys=keys, compression=UNDRAWN)


def error(body: bytes) -> tuple[str, str]:
    told = json.loads(body)["error"]
    return told["type"], told["code"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Who is let in.


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"x-laconic-key", b"")],
        [(b"x-laconic-key", b"laconic-an")],
        [(b"x-laconic-key", b"laconic-anna1")],
        [(b"x-laconic-key", b"LACONIC-ANNA")],
        [(b"x-laconic-key", digest("laconic-anna").encode())],
        [own("anna"), own("anna")],
        [own("anna"), own("bob")],
        [bearer("laconic-anna"), (b"api-key", b"laconic-bob")],
        [(b"x-laconic-key", b"wrong"), bearer("laconic-anna")],
        [bearer("sk-provider")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic bGFjb25pYy1hbm5h")],
        [(b"cookie", b"x-laconic-key=laconic-anna")],
        [own("anna"), *((b"api-key", b"%d" % n) for n in range(access.MOST))],
    ],
)
def test_without_a_whole_key_nothing_is_let_in(
    service: Service, fake: Provider, told: Told, headers: list[Header]
) -> None:
    url = service.start_with(keyed(fake.url, key("anna"), key("bob")))
    for target in ("/v1/chat/completions", "/v1/models", "/rag/v1/models", "/nowhere", "/metrics/x"):
        status, got, body = ask(url, request("POST", target, b"{}", *headers))
        assert (status, *error(body)) == (401, "laconic_error", "invalid_api_key")
        assert dict(got)[b"www-authenticate"] == b"Bearer"
    assert (fake.connections, told.records) == (0, [])


def test_a_caller_without_a_key_is_refused_before_his_body_is_read(service: Service, fake: Provider) -> None:
    """Neither a length nor a `100-continue` is looked at before it."""
    url = service.start_with(replace(keyed(fake.url, key("anna")), limits=Limits(body_bytes=10)))
    for more in ((b"content-length", b"1000000"), (b"expect", b"100-continue"), (b"x_laconic_key", b"laconic-anna")):
        with connected(url) as sock:
            sock.sendall(request("POST", "/v1/chat/completions", b"", *dict([(b"content-length", b"5"), more]).items()))
            assert read_head(sock).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("shown", "arrives"),
    [
        ([own("anna"), bearer("sk-mine")], {"authorization": [b"Bearer sk-mine"]}),
        ([own("anna"), (b"api-key", b"az-mine")], {"api-key": [b"az-mine"]}),
        ([bearer("laconic-anna")], {}),
        ([(b"authorization", b"bearer   laconic-anna ")], {}),
        ([(b"api-key", b"laconic-anna")], {}),
        ([(b"x-api-key", b"laconic-anna"), bearer("sk-mine")], {"authorization": [b"Bearer sk-mine"]}),
        ([own("anna"), bearer("laconic-anna")], {}),
        ([own("anna"), (b"authorization", b"Token laconic-bob"), (b"x-api-key", b"laconic-bob")], {}),
    ],
)
def test_a_key_of_ours_never_goes_upstream_and_the_providers_does(
    service: Service, fake: Provider, told: Told, shown: list[Header], arrives: dict[str, list[bytes]]
) -> None:
    url = service.start_with(keyed(fake.url, key("bob"), key("anna")))
    assert ask(url, chat(b'{"messages":[]}', *shown))[0] == 200
    assert {n: v for n in ("authorization", "api-key", "x-api-key") if (v := fake.last.header(n))} == arrives
    assert b"laconic-" not in b"".join(name + value for name, value in fake.last.headers)
    assert told.one().caller == "anna"
    assert "laconic-anna" not in repr(told.records)
    assert digest("laconic-anna") not in repr(told.records)


def test_an_upstream_with_a_key_gets_that_instead_of_the_callers(service: Service, fake: Provider) -> None:
    url = service.start_with(keyed(fake.url, key("anna"), upstream_key="sk-house"))
    with OpenAI(base_url=url + "/v1", api_key="laconic-anna", max_retries=0) as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello?"}])
    assert answer.choices[0].message.content == "hello there"
    assert fake.last.header("authorization") == [b"Bearer sk-house"]


def test_the_openai_client_understands_the_refusals(service: Service, fake: Provider) -> None:
    url = service.start_with(keyed(fake.url, key("anna", routes=frozenset({"rag"})), upstream_key="sk-house"))
    with OpenAI(base_url=url + "/v1", api_key="sk-nobody", max_retries=0) as client:
        with pytest.raises(AuthenticationError) as refused:
            client.models.list()
        assert (refused.value.code, refused.value.type) == ("invalid_api_key", "laconic_error")
        with pytest.raises(PermissionDeniedError) as forbidden:
            client.with_options(api_key="laconic-anna").models.list()
        assert forbidden.value.code == "route_forbidden"
        assert (
            client.with_options(api_key="laconic-anna", base_url=url + "/rag/v1").models.list().data[0].id == "gpt-4o"
        )
    assert [got.target for got in fake.requests] == ["/v1/models"]


@pytest.mark.parametrize(
    ("target", "kind", "body", "status"),
    [
        ("/v1/embeddings", b"application/json", b'{"model": "dear"}', 403),
        ("/v1/embeddings", b"", b'{"model": "dear"}', 403),
        ("/v1/embeddings", b"application/x+json", b'{"model": "dear"}', 403),
        ("/v1/chat/complet%69ons", b"text/plain", b'{"model": "dear"}', 403),
        ("/v1/embeddings", b"application/json", b"\x1f\x8b", 403),
        ("/v1/audio/transcriptions", b"multipart/form-data; boundary=x", b"--x", 403),
        ("/v1/embeddings", b"text/plain", b'{"model": "cheap"}', 200),
        ("/v1/models", b"", b"", 200),
    ],
)
def test_a_model_that_a_key_may_not_use_cannot_be_hidden(
    service: Service, fake: Provider, target: str, kind: bytes, body: bytes, status: int
) -> None:
    settings = keyed(fake.url, key("anna", routes=frozenset({"rest"})), upstream_key="sk-house")
    routes = (Route("dear", "fake", "off", model="dear*"), Route("rest", "fake", "off"))
    url = service.start_with(replace(settings, routes=routes))
    kinds = [(b"content-type", kind)] if kind else []
    asked = request("POST" if body else "GET", target, body, bearer("laconic-anna"), *kinds)
    assert ask(url, asked)[0] == status
    assert len(fake.requests) == (status == 200)


def test_a_route_may_still_be_chosen_by_key(service: Service, fake: Provider, told: Told) -> None:
    settings = keyed(fake.url, key("anna"), key("bob"))
    routes = (Route("annas", "fake", "off", key=digest("laconic-anna")), Route("rest", "fake", "off"))
    url = service.start_with(replace(settings, routes=routes))
    for shown in ([own("anna")], [bearer("laconic-anna")], [bearer("laconic-bob")], [own("anna"), bearer("sk-x")]):
        ask(url, chat(b"{}", *shown))
    until(lambda: len(told.records) == 4)
    assert [record.route for record in told.records] == ["annas", "annas", "rest", "rest"]


def test_every_key_is_compared_in_full_with_every_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the first or the last fits, or none: the comparisons are the same ones, and `==` is none of them."""
    compared: list[str] = []
    honest = hmac.compare_digest

    def counting(one: str, other: str) -> bool:
        compared.append(other)
        return bool(honest(one, other))

    monkeypatch.setattr(hmac, "compare_digest", counting)
    keys = [key(name) for name in ("anna", "bob", "carl")]
    for shown in ("laconic-anna", "laconic-carl", "laconic-nobody"):
        compared.clear()
        assert (access.owner(shown.encode(), keys) is None) is (shown == "laconic-nobody")
        assert compared == [each.hash for each in keys]


# What a key may do.


FLOORS = [
    (None, None, "compressed"),
    (None, b"off", "bypassed"),
    ("off", None, "bypassed"),
    ("off", b"0.1", "bypassed"),
    ("audit", None, "audited"),
    ("audit", b"0.2", "audited"),
    ("audit", b"off", "bypassed"),
    ("0.9", b"audit", "audited"),
    ("0.9", b"0.1", "compressed"),
    ("0.1", b"nonsense", "bypassed"),
]


def test_the_gentler_of_floor_and_header_holds(service: Service, fake: Provider, told: Told) -> None:
    message = {"role": "user", "content": SHELVES + "\n\nHow many jars on shelf 17?"}
    body = json.dumps({"model": "gpt-4o", "messages": [message]}).encode()
    keys = [key(str(floor), floor=floor) for floor in dict.fromkeys(floor for floor, _, _ in FLOORS)]
    settings = keyed(fake.url, *keys, policy="balanced")
    pipeline = Pipeline(settings.compression)
    pipeline.settle(settings)
    url = service.start_with(settings, pipeline)
    for floor, header, outcome in FLOORS:
        ask(url, chat(body, own(str(floor)), *([(b"x-laconic", header)] if header else [])))
        assert (fake.last.body == body) is (outcome != "compressed")
        assert fake.last.header("x-laconic") == []
    until(lambda: len(told.records) == len(FLOORS))
    assert [record.measured.outcome for record in told.records] == [outcome for _, _, outcome in FLOORS]
    shares = [(m.tokens_after or 0) / (m.tokens_before or 1) for r in told.records if (m := r.measured)]
    assert shares[0] < 0.8 < 0.85 < shares[8], "the header asks for less than the floor, and the floor holds"


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (None, b"0.5", b"0.5"),
        (b"0.25", b".3", b".3"),
        (b"1", b"0.3", b"1"),
        (b"1", b"audit", b"audit"),
        (b"audit", b"0.9", b"audit"),
        (b"off", b"audit", b"off"),
        (b"0.9", b"off", b"off"),
        (b"rubbish", b"audit", b"rubbish"),
    ],
)
def test_of_two_wishes_the_gentler_one_counts(one: bytes | None, other: bytes, wanted: bytes) -> None:
    assert gentler(one, other) == wanted


def test_callers_do_not_share_what_compressors_found(fake: Provider) -> None:
    """Their credentials for the provider are the same ones; their keys here are not."""
    seen: list[bytes] = []

    class Noting(Pipeline):
        async def prepare(self, body: bytes, policy: Any, asked: Any = None) -> Any:
            seen.append(asked.tenant)
            return await super().prepare(body, policy, asked)

    settings = keyed(fake.url, key("anna"), key("bob"), policy="balanced")
    with running(create_app(lambda: settings, Noting(settings.compression))) as url:
        for shown in (own("anna"), own("bob"), own("anna")):
            ask(url, chat(b'{"messages":[]}', shown, bearer("sk-x")))
    assert seen[0] == seen[2] != seen[1]


# Configuration.


def problems(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "laconic.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "laconic.toml")
    return [str(problem).partition("laconic.toml")[2] for problem in refused.value.problems]


def test_a_key_in_clear_is_refused_and_not_repeated(tmp_path: Path) -> None:
    clear = problems(tmp_path, '[key.anna]\nkey = "laconic-secret"\nhash = "sha256:' + "0" * 64 + '"')
    assert clear == [':2: key.anna.key: keys don\'t belong in this file; allowed: hash = "sha256:…"']
    (said,) = problems(tmp_path, '[key.anna]\nhash = "laconic-secret"')
    assert said == ':2: key.anna.hash: this string is out of place; allowed: "sha256:" and 64 hex digits'
    (said,) = problems(tmp_path, '[admin]\nkey_hash = "laconic-secret"')
    assert "laconic-secret" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[key.a]\nfloor = 0", 'key.a.floor: 0 is out of place; allowed: "off", "audit" or a number'),
        ('[key.a]\nfloor = "on"', "key.a.floor: this string is out of place"),
        ('[key.a]\nroutes = ["serch"]', "key.a.routes: no route is called 'serch'; did you mean 'search'?"),
        ("[key.a]\nrequests_per_minute = 0", "key.a.requests_per_minute: 0 is out of place"),
        ("[key.a]\nusd_per_day = -1", "key.a.usd_per_day: -1 is out of place"),
        ('[admin]\nhost = "0.0.0.0"', "admin.host: stands there without a port"),
        ('[server]\nopen = "yes"', "server.open: this string is out of place; allowed: true or false"),
    ],
)
def test_what_is_wrong_with_a_key_is_told(tmp_path: Path, text: str, said: str) -> None:
    hashed = text.replace("[key.a]", '[key.a]\nhash = "sha256:' + "0" * 64 + '"')
    (found,) = problems(tmp_path, f'{hashed}\n[[route]]\nname = "search"')
    assert said in found


def test_two_keys_may_not_be_the_same_one_and_none_may_be_empty(tmp_path: Path) -> None:
    hashes = [digest("x"), digest("x").upper(), digest("")]
    text = "".join(f'[key.k{n}]\nhash = "sha256:{one}"\n' for n, one in enumerate(hashes))
    twin, empty = problems(tmp_path, text)
    assert "key.k1.hash: is that of 'k0', too" in twin
    assert "key.k2.hash: is that of an empty key" in empty


def test_a_new_key_is_one_that_the_printed_table_lets_in(tmp_path: Path) -> None:
    one, table = new_key("An na")
    assert (one != new_key("x")[0], len(one)) == (True, len("laconic-") + 43)
    (tmp_path / "laconic.toml").write_text(table + '\nfloor = 0.5\n[ledger]\npath = "off"')
    (known,) = load(tmp_path / "laconic.toml").keys
    assert (known.name, known.floor) == ("An na", "0.5")
    assert admit([known], [bearer(one)]) == (known, [(b"x-laconic", b"0.5")])
    with pytest.raises(Unauthorized):
        admit([known], [bearer(one[:-1])])
    assert known.hash not in repr(known)


def test_keys_new_prints_a_key_and_its_table() -> None:
    done = subprocess.run([*COMMAND, "keys", "new", "search"], capture_output=True, text=True, timeout=60, check=True)
    shown = done.stdout.splitlines()
    assert f'hash = "sha256:{digest(shown[0])}"' == shown[-1]
    assert "[key.search]" in shown


# Listening.


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *((host, True) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example", "box")),
    ],
)
def test_what_is_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_beyond_loopback_keys_or_plain_words_are_needed() -> None:
    plain = replace(load(environ={"LACONIC_LEDGER": "off"}), host="0.0.0.0")
    for way_out in ("127.0.0.1", "[key.NAME]", "open = true", "LACONIC_OPEN=true", "--open"):
        assert way_out in exposed(plain)
    assert exposed(plain) in check(lambda: plain).obstacles
    for fine in (replace(plain, host="::1"), replace(plain, keys=(key("a"),)), replace(plain, open=True)):
        assert exposed(fine) == ""
        assert check(lambda fine=fine: fine).obstacles == ()  # type: ignore[misc]
    said = " ".join(check(lambda: replace(plain, open=True)).lines)
    assert "anyone who can reach 0.0.0.0:8787 may use it, and your upstream keys" in said


def test_open_is_said_in_the_file_the_environment_or_a_flag(tmp_path: Path) -> None:
    (tmp_path / "laconic.toml").write_text("[server]\nopen = true")
    assert load(tmp_path / "laconic.toml").open
    assert load(environ={"LACONIC_OPEN": "true"}).open
    assert load(flags={"open": True}).open
    assert not load(environ={"LACONIC_OPEN": "false"}, flags={"open": None}).open
    with pytest.raises(ConfigError, match="LACONIC_OPEN"):
        load(environ={"LACONIC_OPEN": "1"})


@contextmanager
def serve(tmp_path: Path, *arguments: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LACONIC_")}
    run = [*COMMAND, "serve", "--ledger", str(tmp_path / "l.sqlite3"), *arguments]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True, env=clean | environ) as process:
        try:
            yield process
        finally:
            process.kill()


def listens(process: "subprocess.Popen[str]", port: int) -> bool:
    """Whether it comes to listen; else it has ended."""
    while process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            time.sleep(0.05)
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_serve_refuses_to_listen_beyond_loopback_unless_told(tmp_path: Path) -> None:
    with serve(tmp_path, "--port", str(free_port()), LACONIC_HOST="0.0.0.0") as process:
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 2
    assert said.startswith("laconic: listening on 0.0.0.0 lets anyone who reaches port")
    assert "Traceback" not in said
    port = free_port()
    flags = "--port", str(port), "--host", "0.0.0.0", "--policy", "off"
    with serve(tmp_path, *flags, LACONIC_OPEN="true") as process:
        assert listens(process, port)
        url = f"http://127.0.0.1:{port}"
        assert [ask(url, request("GET", path))[0] for path in ("/healthz", "/metrics", "/report")] == [200, 404, 404]
        ready = json.loads(ask(url, request("GET", "/readyz"))[2])
        assert "reasons" not in ready
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_reload_that_takes_the_keys_away_is_refused_beyond_loopback(caplog: pytest.LogCaptureFixture) -> None:
    from proxy.serving import unexposed

    began = replace(load(environ={"LACONIC_LEDGER": "off"}), host="0.0.0.0", keys=(key("a"),))
    new = [replace(began, keys=()), replace(began, keys=(), host="127.0.0.1"), replace(began, keys=(key("b"),))]
    current = Current(began, lambda: unexposed(new.pop(0), began.host))
    assert current.reload().problems != ()
    assert current.reload().problems != (), "where it listens counts from the next start only"
    assert current.current() is began
    assert current.reload().problems == ()
    assert "not reloaded: configuration: listening on 0.0.0.0" in caplog.text


def test_a_key_counts_from_the_next_request_after_a_reload(fake: Provider) -> None:
    settings = [keyed(fake.url, key("anna"))]
    with running(create_app(lambda: settings[-1], Pipeline(UNDRAWN))) as url:
        assert ask(url, request("GET", "/v1/models", b"", own("anna")))[0] == 200
        settings.append(keyed(fake.url, key("bob")))
        assert ask(url, request("GET", "/v1/models", b"", own("anna")))[0] == 401
        assert ask(url, request("GET", "/v1/models", b"", own("bob")))[0] == 200


def test_many_callers_at_once_are_told_apart(service: Service, fake: Provider, told: Told) -> None:
    names = [f"n{n}" for n in range(8)]
    url = service.start_with(keyed(fake.url, *(key(name) for name in names)))

    def call(name: str) -> None:
        for _ in range(10):
            assert ask(url, request("GET", "/v1/models", b"", own(name)))[0] == 200

    threads = [threading.Thread(target=call, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(told.records) == 80)
    assert {name: sum(r.caller == name for r in told.records) for name in names} == dict.fromkeys(names, 10)
