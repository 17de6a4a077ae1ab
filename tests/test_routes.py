"""Which route a request takes."""

import hashlib

import pytest

from policies.routes import Route, hash_key, match, needs_key, needs_model

KEY = hash_key(b"caller-one")
NO_HEADERS: list[tuple[bytes, bytes]] = []


def taken(route: Route, path: str = "/v1/chat/completions", model: str = "gpt-4o") -> bool:
    return match([route], path, model, NO_HEADERS, None) is route


@pytest.mark.parametrize(
    ("prefix", "path", "holds"),
    [
        ("", "/v1/models", True),
        ("/rag", "/rag/v1/chat/completions", True),
        ("/rag", "/rag", True),
        ("/rag", "/ragged/v1", False),
        ("/rag", "/v1/rag", False),
        ("/rag", "/RAG/v1", False),
        ("/a/b", "/a/b/v1", True),
        ("/a/b", "/a/v1", False),
    ],
)
def test_a_path_is_a_prefix_of_whole_steps(prefix: str, path: str, holds: bool) -> None:
    assert taken(Route("r", "u", "p", path=prefix), path=path) is holds


@pytest.mark.parametrize(
    ("glob", "model", "holds"),
    [
        ("gpt-4o*", "gpt-4o-mini", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-*", "GPT-4o", False),
        ("*", "", True),
        ("gpt-?.1", "gpt-4.1", True),
        ("gpt-[45]*", "gpt-3.5", False),
    ],
)
def test_a_model_matches_a_glob_in_its_own_case(glob: str, model: str, holds: bool) -> None:
    assert taken(Route("r", "u", "p", model=glob), model=model) is holds


@pytest.mark.parametrize(
    ("headers", "holds"),
    [
        ([(b"x-team", b"search")], True),
        ([(b"X-Team", b"search-eu")], True),
        ([(b"x-team", b"sales"), (b"x-team", b"search")], True),
        ([(b"x-team", b"sales")], False),
        ([(b"x-teams", b"search")], False),
        ([(b"x-team", b"search\xff")], True),
        ([], False),
    ],
)
def test_a_header_matches_in_any_case_of_its_name(headers: list[tuple[bytes, bytes]], holds: bool) -> None:
    route = Route("r", "u", "p", header=("X-team", "search*"))
    assert (match([route], "/", "", headers, None) is route) is holds


def test_a_key_matches_by_its_hash() -> None:
    route = Route("r", "u", "p", key=KEY)
    assert match([route], "/", "", NO_HEADERS, KEY) is route
    assert match([route], "/", "", NO_HEADERS, hash_key(b"caller-two")) is None
    assert match([route], "/", "", NO_HEADERS, None) is None


def test_a_key_is_hashed_as_sha256sum_does() -> None:
    assert hashlib.sha256(b"caller-one").hexdigest() == KEY


def test_every_condition_must_hold() -> None:
    route = Route("r", "u", "p", path="/rag", model="gpt-*", header=("x-team", "a"), key=KEY)
    team = [(b"x-team", b"a")]
    assert match([route], "/rag/v1", "gpt-4o", team, KEY) is route
    assert match([route], "/v1", "gpt-4o", team, KEY) is None
    assert match([route], "/rag/v1", "claude", team, KEY) is None
    assert match([route], "/rag/v1", "gpt-4o", NO_HEADERS, KEY) is None
    assert match([route], "/rag/v1", "gpt-4o", team, None) is None


def test_the_first_match_wins() -> None:
    first, second, rest = Route("a", "u", "p", path="/x"), Route("b", "u", "p", path="/x/y"), Route("c", "u", "p")
    assert match([first, second, rest], "/x/y/v1", "", NO_HEADERS, None) is first
    assert match([first, second, rest], "/v1", "", NO_HEADERS, None) is rest


def test_routes_say_what_they_need_to_know() -> None:
    plain, model, key = Route("a", "u", "p", path="/x"), Route("b", "u", "p", model="*"), Route("c", "u", "p", key=KEY)
    assert (needs_model([plain, key]), needs_model([plain, model])) == (False, True)
    assert (needs_key([plain, model]), needs_key([plain, key])) == (False, True)
    assert [r.catches_all for r in (plain, model, key, Route("d", "u", "p"))] == [False, False, False, True]
