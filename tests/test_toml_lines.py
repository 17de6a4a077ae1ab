"""Where keys stand in a TOML text."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from policies.tables import Path
from proxy.toml_lines import line_of, lines

TEXT = '''# a comment with [brackets] and = signs
title = "one # no comment"   # one
port = 1.5
when = 1979-05-27 07:32:00

[upstream.openai]
url = "https://example.com/v1"
"odd.name" = { inner = "}", list = [1, 2] }

[[route]]
name = "a"
[[route]]
name = "b"

header = { name = "x", value = "y" }
[route.more]
deep.er = true

[policy.rag.context]
ranges = [
    { min = 1, rate = 0.5 }, # first

    # second
    { min = 2, rate = 0.4 },
]
text = """
[not.a.header]
k = 1 \\""" still inside"""
last = \'\'\'it\'s " [here]\'\'\'
end = 0
'''


def test_every_key_has_its_line() -> None:
    """Headers, dotted and quoted keys, arrays of tables, inline tables, strings with marks inside."""
    found = lines(TEXT)
    wanted = {
        ("title",): 2,
        ("port",): 3,
        ("when",): 4,
        ("upstream", "openai"): 6,
        ("upstream", "openai", "url"): 7,
        ("upstream", "openai", "odd.name"): 8,
        ("upstream", "openai", "odd.name", "inner"): 8,
        ("upstream", "openai", "odd.name", "list", 1): 8,
        ("route", 0): 10,
        ("route", 0, "name"): 11,
        ("route", 1, "name"): 13,
        ("route", 1, "header", "value"): 15,
        ("route", 1, "more", "deep", "er"): 17,
        ("policy", "rag", "context"): 19,
        ("policy", "rag", "context", "ranges", 0, "rate"): 21,
        ("policy", "rag", "context", "ranges", 1): 24,
        ("policy", "rag", "context", "ranges", 1, "rate"): 24,
        ("policy", "rag", "context", "text"): 26,
        ("policy", "rag", "context", "last"): 29,
        ("policy", "rag", "context", "end"): 30,
    }
    assert {path: found.get(path) for path in wanted} == wanted


def test_every_path_that_tomllib_sees_is_found() -> None:
    found = lines(TEXT)
    assert _paths(tomllib.loads(TEXT)) <= set(found)


def test_a_key_that_is_not_written_lies_where_its_table_does() -> None:
    found = lines(TEXT)
    assert line_of(("route", 1, "policy"), found) == 12
    assert line_of(("nowhere", "at", "all"), found) is None


def test_line_ends_of_either_kind_count_once() -> None:
    assert lines('a = 1\r\nb = """x\r\ny"""\r\nc = 3\r\n')[("c",)] == 4


names = st.sampled_from(["a", "b.c", "d", "e f", "g"])
values = st.recursive(
    st.sampled_from(["1", "-1.5e3", '"x = [1]"', "'#'", "true", "07:32:00", '"""\n[x]\n"""']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[\n" + ",\n# {\n".join(items) + "]"),
)


@given(st.lists(st.tuples(names, values), max_size=5, unique_by=lambda pair: pair[0]))
def test_no_valid_text_confuses_the_scanner(pairs: list[tuple[str, str]]) -> None:
    """Whatever keys and values stand in a text, the paths are those that tomllib reads."""
    text = "".join(f"[[list]]\n'{name}' = {value}\n[{name.replace(' ', '-')}.in]\nk = 1\n" for name, value in pairs)
    seen = _paths(tomllib.loads(text))
    found = lines(text)
    assert seen <= set(found)
    for path, line in found.items():
        if path[-1] == "k":
            assert text.split("\n")[line - 1] == "k = 1"


def _paths(value: object, at: Path = ()) -> set[Path]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {at} - {()} | {path for key, inner in pairs for path in _paths(inner, (*at, key))}
