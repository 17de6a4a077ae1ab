"""Settings from file, environment and flags; and every problem with its place."""

import re
from pathlib import Path

import pytest

from policies.base import Mode
from policies.routes import Route
from proxy.config import ConfigError, Problem, load
from proxy.settings import Compression, Limits, Settings, Timeouts

EXAMPLE = Path(__file__).parent.parent / "laconic.example.toml"
HASH = "0123456789abcdef" * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "laconic.toml"


def settings(file: Path, text: str, **environ: str) -> Settings:
    file.write_text(text)
    return load(file, environ)


def problems(file: Path, text: str, **environ: str) -> list[tuple[int | None, str, str]]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ)
    assert {p.file for p in caught.value.problems} == {str(file)}
    return [(p.line, p.key, p.message) for p in caught.value.problems]


# What the settings become.


def test_nothing_given_is_enough() -> None:
    found = load()
    assert found.upstreams["openai"].url == "https://api.openai.com/v1"
    assert found.upstreams["openai"].key is None
    assert found.routes == (Route("default", "openai", "balanced"),)
    assert (found.host, found.port, found.limits, found.compression) == ("127.0.0.1", 8787, Limits(), Compression())
    assert found.ledger is not None
    assert found.ledger.endswith("ledger.sqlite3")


def test_a_file_says_everything(file: Path) -> None:
    text = f"""
    [server]
    host = "::1"
    port = 0
    drain_seconds = 1.5
    body_idle_seconds = 2
    max_body_mb = 3
    max_header_kb = 4
    max_headers = 5
    [compression]
    deadline_ms = 6
    workers = 7
    queue = 8
    [ledger]
    path = "kept/here.sqlite3"
    [upstream.mine]
    url = "http://10.0.0.1:8000/openai/v1/"
    key_env = "MINE"
    connect = 1
    first_byte = 2
    idle = 3
    total = 4
    [[route]]
    name = "all"
    path = "/rag/"
    model = "gpt-*"
    header = {{ name = "X-Team", value = "a*" }}
    key = "sha256:{HASH.upper()}"
    policy = "p"
    [policy.p]
    extends = "audit"
    [prices."m.1"]
    input = 2
    """
    found = settings(file, text, MINE="sk-mine\n")
    assert found.routes == (Route("all", "mine", "p", "/rag", "gpt-*", ("X-Team", "a*"), HASH),)
    assert found.limits == Limits(3 * 2**20, 4 * 2**10, 5, body_idle_seconds=2.0, drain_seconds=1.5)
    assert found.compression == Compression(6.0, 7, 8)
    assert (found.host, found.port) == ("::1", 0)
    assert found.ledger == str(file.parent / "kept/here.sqlite3"), "beside the file that names it"
    upstream = found.upstreams["mine"]
    assert (upstream.url, upstream.key) == ("http://10.0.0.1:8000/openai/v1", "sk-mine")
    assert upstream.timeouts == Timeouts(1.0, 2.0, 3.0, 4.0)
    assert found.policies["p"].mode is Mode.AUDIT
    assert found.prices == {"m.1": {"input": 2}}
    assert list(found.policies)[:5] == ["off", "audit", "safe", "balanced", "aggressive"]


def test_the_example_is_valid() -> None:
    found = load(EXAMPLE)
    assert [r.policy for r in found.routes] == ["search", "aggressive", "audit", "balanced"]
    assert (found.limits, found.compression) == (Limits(), Compression()), "it shows defaults"


def test_the_ledger_may_be_off(file: Path) -> None:
    assert settings(file, '[ledger]\npath = "off"').ledger is None


# Who wins.


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text('[server]\nhost = "file"\nport = 1\n[ledger]\npath = "file"')
    environ = {"LACONIC_CONFIG": str(file), "LACONIC_PORT": "2", "LACONIC_LEDGER": "off"}
    found = load(None, environ, {"port": 3, "host": None})
    assert (found.host, found.port, found.ledger) == ("file", 3, None)
    assert load(None, environ).port == 2


def test_there_is_one_process_unless_somebody_asks_for_more(file: Path) -> None:
    assert load().workers == 1
    file.write_text("[server]\nworkers = 2\n[compression]\nworkers = 5")
    assert (load(file).workers, load(file).compression.workers) == (2, 5)
    assert load(file, {"LACONIC_WORKERS": "3"}).workers == 3
    assert load(file, {"LACONIC_WORKERS": "3"}, {"workers": 4}).workers == 4


def test_a_given_upstream_and_policy_hold_for_every_route_and_no_key_goes_along(file: Path) -> None:
    """A key in the file is meant for the upstream in the file."""
    text = (
        '[upstream.a]\nurl = "https://a/v1"\nkey_env = "KEY"\n[[route]]\nname = "x"\npath = "/x"\n[[route]]\nname = "y"'
    )
    found = settings(file, text, KEY="sk-a", LACONIC_UPSTREAM="http://127.0.0.1:9", LACONIC_POLICY="off")
    assert [(r.name, found.upstreams[r.upstream].url, r.policy) for r in found.routes] == [
        ("x", "http://127.0.0.1:9", "off"),
        ("y", "http://127.0.0.1:9", "off"),
    ]
    assert {found.upstreams[r.upstream].key for r in found.routes} == {None}


def test_a_given_upstream_is_enough() -> None:
    found = load(flags={"upstream": "http://127.0.0.1:9/v1"})
    assert [found.upstreams[r.upstream].url for r in found.routes] == ["http://127.0.0.1:9/v1"]


@pytest.mark.parametrize(
    ("environ", "flags", "origin"),
    [
        ({"LACONIC_PORT": "eighty"}, {}, "LACONIC_PORT"),
        ({"LACONIC_WORKERS": "0"}, {}, "LACONIC_WORKERS"),
        ({}, {"workers": 65}, "--workers"),
        ({"LACONIC_POLICY": "balancd"}, {}, "LACONIC_POLICY"),
        ({}, {"policy": "balancd"}, "--policy"),
        ({"LACONIC_UPSTREAM": "https://ok/v1"}, {"upstream": "ftp://x"}, "--upstream"),
    ],
)
def test_a_problem_with_an_override_names_it(environ: dict[str, str], flags: dict[str, str], origin: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ, flags)
    assert [(p.file, p.line, p.key) for p in caught.value.problems] == [(origin, None, "")]


# What can be wrong.

TWO = '[upstream.a]\nurl = "https://a/v1"\n[upstream.b]\nurl = "https://b/v1"\n'


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ("[sever]\n", 1, "sever", "no key is called 'sever'; did you mean 'server'?"),
        ("[server]\n\nprot = 1", 3, "server.prot", "no key is called 'prot'; did you mean 'port'?"),
        ("[server]\nport = 65536", 2, "server.port", "65536 is out of place"),
        ("[server]\nmax_body_mb = 0.5", 2, "server.max_body_mb", "0.5 is out of place"),
        ("server = 3", 1, "server", "3 is out of place"),
        ("[compression]\ndeadline_ms = inf", 2, "compression.deadline_ms", "inf is out of place"),
        ("[ledger]\npath = ''", 2, "ledger.path", "this string is out of place"),
        ("[upstream.a]\nidle = 1", 1, "upstream.a.url", "is missing"),
        ("upstream.a = 'https://a/v1'", 1, "upstream.a", "is not a table"),
        (TWO, 1, "upstream", "are several, and no [[route]] says which takes what"),
        (TWO + "[[route]]\nname = 'x'", 5, "route[0].upstream", "is missing, and there are several"),
        ("[[route]]\nname = 'x'\nupstream = 'opnai'", 3, "route[0].upstream", "no upstream is called 'opnai'"),
        ("[[route]]\nname = 'x'\npolicy = 'of'", 3, "route[0].policy", "no policy is called 'of'; did you mean 'off'?"),
        ("[[route]]\npath = '/x'", 1, "route[0].name", "is missing"),
        ("[[route]]\nname = 'x'\npath = 'x'", 3, "route[0].path", "this string is out of place"),
        ("[[route]]\nname = 'x'\nkey = 'sk-1'", 3, "route[0].key", "this string is out of place"),
        ("[[route]]\nname = 'x'\nheader = { value = 'x' }", 3, "route[0].header.name", "is missing"),
        ("[[route]]\nname = 'x'\nheader = { name = 'a:' }", 3, "route[0].header.name", "this string is out of place"),
        ("[[route]]\nname = 'x'\npath = '/'\n[[route]]\nname = 'y'", 4, "route[1]", "is never reached"),
        ("[[route]]\nname = 'x'\npath = '/x'\n[[route]]\nname = 'x'", 5, "route[1].name", "'x' is taken"),
        ("[policy.off]\nmode = 'on'", 1, "policy.off", "is the name of a preset"),
        ("[prices.'gpt-x']\ninput = 1\noutput = -1", 3, "prices.gpt-x.output", "-1 is out of place"),
        ("[policy.p]\n[policy.p.context]\nrate = 2", 3, "policy.p.context.rate", "2 is out of place"),
    ],
)
def test_a_problem_is_told_with_its_line_and_key(file: Path, text: str, line: int, key: str, message: str) -> None:
    found = problems(file, text)
    assert [m for at, k, m in found if (at, k) == (line, key) and m.startswith(message)], found


def test_all_problems_are_told_at_once_in_the_order_of_the_file(file: Path) -> None:
    found = problems(file, "[server]\nport = -1\n[[route]]\nname = 3\n[policy.p]\ncontext = 1\n[[upstream]]\n")
    assert [(line, key) for line, key, _ in found] == [
        (2, "server.port"),
        (4, "route[0].name"),
        (6, "policy.p.context"),
        (7, "upstream"),
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("[server]\nport = = 1", 2), ("a = 1\na = 2", 2), ("\n\n[x", 3), ('a = """\nx', 2)]
)
def test_what_is_not_toml_is_told_with_its_line(file: Path, text: str, line: int) -> None:
    ((at, _, message),) = problems(file, text)
    assert (at, message.startswith("is not TOML: ")) == (line, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = " + "1" * 5000, "is not TOML: "),
        ("a = " + "[" * 5000, "is nested too deep"),
        ('[ledger]\npath = "~nobody-of-this-name/x"', "names a path that cannot be: "),
        ('[compressor.x]\nuse = "classifier"\nmodel = "~nobody-of-this-name/x"', "names a path that cannot be: "),
        ('[upstream.a]\nurl = "http://a/v1"\nkey_file = "a\\u0000b"', "names a path that cannot be: "),
    ],
)
def test_no_file_is_so_odd_that_it_ends_in_a_traceback(file: Path, text: str, said: str) -> None:
    ((_, _, message),) = problems(file, text)
    assert message.startswith(said)


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{file}: cannot be read: No such file")):
        load(file)
    file.write_bytes(b"a = 1\n# \xff")
    with pytest.raises(ConfigError, match=re.escape(f"{file}:2: is not UTF-8")):
        load(file)


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem("a.toml", 3, "server.port", "0.5 is out of place", "a whole number")) == (
        "a.toml:3: server.port: 0.5 is out of place; allowed: a whole number"
    )
    assert str(Problem("--port", None, "", "is missing")) == "--port: is missing"
