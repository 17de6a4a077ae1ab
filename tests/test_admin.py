"""Metrics, reports and the reasons for not being ready: who sees them, and where."""

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import UNDRAWN
from provider import Provider, chunk, stream_head
from raw import ask, chat, connected, read_all, read_head, request
from test_access import bearer, digest, error, free_port, key, keyed, listens, own, serve

from proxy.admin import Doors
from proxy.app import App
from proxy.endpoints import Parts
from proxy.ledger import open_ledger, read_only
from proxy.pipeline import Pipeline
from proxy.report import as_object
from proxy.savings import Measured, Outcome, Savings
from proxy.server import listen, running
from proxy.settings import Admin, Settings
from proxy.transport import Transport


class Crippled(Pipeline):
    def missing(self, settings: Settings) -> tuple[str, ...]:
        del settings
        return ("pruner needs a model that is not there",)


@dataclass
class Place:
    main: str
    beside: str = ""


@contextmanager
def service(settings: Settings, ledger: str | None = None, pipeline: type[Pipeline] = Pipeline) -> Iterator[Place]:
    """As `laconic serve` would, but for the port; the main listener is on loopback whatever `host` says."""
    parts = Parts(lambda: settings, pipeline(UNDRAWN), Transport())
    app = App(parts, lambda: (b"requests 1\n", "text/plain"), Doors.of(settings), ledger)
    beside = listen("127.0.0.1", 0) if settings.admin.port is not None else None
    with running(app, admin=beside) as url:
        yield Place(url, f"http://127.0.0.1:{beside.getsockname()[1]}" if beside else "")


def statuses(url: str, *shown: tuple[bytes, bytes]) -> list[int]:
    pages = ("/healthz", "/readyz", "/metrics", "/report")
    return [ask(url, request("GET", page, b"", *shown))[0] for page in pages]


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    path = str(tmp_path / "l.sqlite3")
    kept = open_ledger(path)
    for n, name in enumerate(("anna", "bob", "anna")):
        kept.record(Savings(f"id{n}", 1.7e9 + n, "r", "p", "u", False, Measured(Outcome.PASSED), 200, caller=name))
    kept.close()
    return path


ADMIN = bearer("laconic-admin")
KEYED = Admin(key_hash=digest("laconic-admin"))


@pytest.mark.parametrize(
    ("host", "keys", "admin", "plain", "as_admin"),
    [
        ("127.0.0.1", False, Admin(), [200, 200], [200, 200]),
        ("0.0.0.0", False, Admin(), [404, 404], [404, 404]),
        ("0.0.0.0", True, Admin(), [404, 404], [404, 404]),
        ("127.0.0.1", True, Admin(), [404, 404], [404, 404]),
        ("127.0.0.1", False, KEYED, [401, 401], [200, 200]),
        ("0.0.0.0", True, KEYED, [401, 401], [200, 200]),
        ("127.0.0.1", False, Admin(port=0), [404, 404], [404, 404]),
        ("0.0.0.0", True, replace(KEYED, port=0), [404, 404], [404, 404]),
    ],
)
def test_who_sees_what_on_the_main_port(
    fake: Provider, ledger: str, host: str, keys: bool, admin: Admin, plain: list[int], as_admin: list[int]
) -> None:
    settings = replace(keyed(fake.url, *([key("anna")] if keys else [])), host=host, admin=admin)
    with service(settings, ledger) as at:
        assert statuses(at.main) == [200, 200, *plain]
        assert statuses(at.main, ADMIN) == [200, 200, *as_admin]
        assert statuses(at.main, own("anna")) == [200, 200, *plain], "a caller is no admin"
        assert statuses(at.main, bearer("laconic-anna")) == [200, 200, *plain]
    assert fake.requests == []


def test_the_second_listener_has_the_pages_and_nothing_else(fake: Provider, ledger: str) -> None:
    with service(replace(keyed(fake.url), admin=Admin(port=0)), ledger) as at:
        assert statuses(at.beside) == [200, 200, 200, 200]
        assert ask(at.beside, chat(b'{"messages":[]}'))[0] == 404
        assert ask(at.beside, request("GET", "/v1/models"))[0] == 404
        assert fake.requests == []
        assert ask(at.main, request("GET", "/v1/models"))[0] == 200


def test_the_second_listener_may_want_its_key_too(fake: Provider, ledger: str) -> None:
    with service(replace(keyed(fake.url), admin=replace(KEYED, port=0)), ledger) as at:
        assert statuses(at.beside) == [200, 200, 401, 401]
        assert statuses(at.beside, bearer("laconic-wrong")) == [200, 200, 401, 401]
        assert statuses(at.beside, ADMIN) == [200, 200, 200, 200]


@pytest.mark.parametrize(
    ("host", "admin", "plain", "as_admin", "beside"),
    [
        ("127.0.0.1", Admin(), True, True, None),
        ("0.0.0.0", Admin(), False, False, None),
        ("0.0.0.0", KEYED, False, True, None),
        ("0.0.0.0", Admin(port=0), False, False, True),
        ("0.0.0.0", replace(KEYED, port=0, host="0.0.0.0"), False, True, False),
    ],
)
def test_the_reasons_for_not_being_ready_are_for_admins(
    fake: Provider, host: str, admin: Admin, plain: bool, as_admin: bool, beside: bool | None
) -> None:
    def tells(url: str, *shown: tuple[bytes, bytes]) -> bool:
        status, _, body = ask(url, request("GET", "/readyz", b"", *shown))
        said = json.loads(body)
        assert (status, said["status"]) == (503, "not ready")
        assert "reasons" not in said or said["reasons"] == ["pruner needs a model that is not there"]
        return "reasons" in said

    with service(replace(keyed(fake.url), host=host, admin=admin), None, Crippled) as at:
        assert (tells(at.main), tells(at.main, ADMIN)) == (plain, as_admin)
        if beside is not None:
            assert (tells(at.beside), tells(at.beside, ADMIN)) == (beside, True)


def test_the_report_is_that_of_the_command(fake: Provider, ledger: str) -> None:
    with service(keyed(fake.url), ledger) as at:
        for query, by in (("", "route"), ("?by=caller", "caller"), ("?by=day&since=2001-01-01", "day")):
            status, headers, body = ask(at.main, request("GET", "/report" + query))
            assert (status, dict(headers)[b"content-type"]) == (200, b"application/json")
            assert {**json.loads(body), "since": None} == json.loads(as_object(Path(ledger), by, None))  # type: ignore[arg-type]
        status, _, body = ask(at.main, request("GET", "/report?by=caller&since=2100-01-01"))
        assert json.loads(body)["groups"] == []
        for query in ("?by=key", "?since=yesterday"):
            assert ask(at.main, request("GET", "/report" + query))[0] == 400


def test_a_report_without_a_ledger_or_of_a_damaged_one_is_no_traceback(fake: Provider, tmp_path: Path) -> None:
    with service(keyed(fake.url)) as at:
        assert ask(at.main, request("GET", "/report"))[0] == 404
    (tmp_path / "broken").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with service(keyed(fake.url), str(tmp_path / "broken")) as at:
        status, _, body = ask(at.main, request("GET", "/report"))
        assert (status, error(body)[0]) == (503, "laconic_error")


def test_at_the_end_both_listeners_close_and_what_is_open_finishes(fake: Provider) -> None:
    go = threading.Event()
    fake.script(stream_head(), chunk(b"data: 1\n\n"), go, chunk(b"data: 2\n\n"), b"0\r\n\r\n")
    settings = replace(keyed(fake.url), admin=Admin(port=0))
    with ExitStack() as stack, service(settings) as at:
        sock = stack.enter_context(connected(at.main))
        sock.sendall(chat(b'{"stream":true}'))
        read_head(sock)
        threading.Timer(0.3, go.set).start()
        answer = stack.enter_context(ThreadPoolExecutor(1)).submit(read_all, sock)
    assert b"data: 2" in answer.result()
    for url in (at.main, at.beside):
        with pytest.raises(ConnectionRefusedError):
            ask(url, request("GET", "/healthz"))


def test_serve_has_all_of_it_and_knows_after_a_restart_what_was_used(tmp_path: Path, fake: Provider) -> None:
    """Keys, a second listener and a ledger, from a file, beyond loopback. No reload takes the keys away."""
    port, beside = free_port(), free_port()
    file = tmp_path / "laconic.toml"
    text = f"""
        [server]
        host = "0.0.0.0"
        port = {port}
        [admin]
        port = {beside}
        [upstream.fake]
        url = "{fake.url}"
        [[route]]
        name = "all"
        policy = "off"
    """
    keys = f'[key.anna]\nhash = "sha256:{digest("laconic-anna")}"\nrequests_per_minute = 1\n'
    main, admin = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{beside}"
    got = []
    for _ in range(2):
        file.write_text(text + keys)
        with serve(tmp_path, "--config", str(file)) as process:
            assert listens(process, port)
            assert statuses(main, own("anna")) == [200, 200, 404, 404]
            assert statuses(admin) == [200, 200, 200, 200]
            got += [ask(main, request("GET", "/v1/models", b"", own("anna")))[0] for _ in range(2)]
            metrics = ask(admin, request("GET", "/metrics"))[2]
            file.write_text(text)
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
            assert process.returncode == 0, said
    assert got == [200, 429, 429, 429], "a minute has not passed"
    assert "not reloaded: configuration: listening on 0.0.0.0 lets anyone" in said
    assert f"127.0.0.1:{beside}  /metrics  /report" in said
    assert b'laconic_refusals_total{laconic_code="rate_limited"} 2.0' in metrics
    assert "laconic-anna" not in said
    with closing(read_only(tmp_path / "l.sqlite3")) as rows:
        assert rows.execute("SELECT caller, count(*) FROM requests GROUP BY 1").fetchall() == [("anna", 1)]
