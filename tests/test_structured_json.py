"""JSON, JSON Lines, Python literals: valid before, valid after; rows whole; the scanner as strict as json.loads."""

import ast
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import Rate, Task, Tokens
from compressors.spans import join
from compressors.structured import Structured
from compressors.structured.scanner import JSON, PYTHON, scan


def shorten(text: str, rate: float, question: str = "") -> str:
    return join(text, Structured().compress([Task(text, Rate(rate), question)])[0].spans)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=8), inner, max_size=12),
    max_leaves=80,
)
DOCUMENTS = st.lists(VALUES, max_size=30) | st.dictionaries(st.text(max_size=8), VALUES, max_size=30)
ROWS = st.lists(
    st.fixed_dictionaries({"id": st.integers(), "note": st.text(max_size=60), "tags": st.lists(st.text(max_size=5))}),
    min_size=5,
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 2]), st.booleans(), st.sampled_from([1.0, 0.6, 0.2]))
def test_valid_json_stays_valid_and_says_nothing_new(
    document: Any, indent: int | None, plain: bool, rate: float
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=plain)
    kept = json.loads(shorten(text, rate, "a 1"))
    assert _within(kept, json.loads(text))
    if rate == 1:
        assert json.dumps(kept) == json.dumps(json.loads(text))


def _within(part: Any, whole: Any) -> bool:
    """Whether `part` is `whole` with items of lists and members of objects left out, in order."""
    if isinstance(part, list) and isinstance(whole, list):
        rest = iter(whole)
        return all(any(_within(item, other) for other in rest) for item in part)
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _within(value, whole[key]) for key, value in part.items())
    return type(part) is type(whole) and (part == whole or part != part)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([0.7, 0.4, 0.1]))
def test_rows_that_survive_are_the_same_bytes(rows: list[dict[str, Any]], rate: float) -> None:
    written = [json.dumps(row, separators=(",", ":")) for row in rows]
    kept = shorten("[" + ",".join(written) + "]", rate)
    assert all(json.dumps(row, separators=(",", ":")) in written for row in json.loads(kept))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_python_literals_stay_literals(rows: list[dict[str, Any]]) -> None:
    kept = ast.literal_eval(shorten(repr(rows), 0.4))
    assert all(row in rows for row in kept)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='[]{},:"\\1-.eE+0 \ntrufalsn', max_size=14))
def test_the_scanner_accepts_nothing_that_json_refuses(text: str) -> None:
    for document in (text, f"[{text}]", f'{{"a":{text}}}'):
        item = scan(document, 0, len(document))
        if item is not None and item.end == len(document):
            json.loads(document)


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS)
def test_the_scanner_reads_whatever_python_writes(document: Any) -> None:
    text = json.dumps(document, indent=1)
    item = scan(text, 0, len(text), JSON)
    assert item is not None
    assert item.end == len(text)
    assert len(item.items or ()) == len(document)


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("[1,]", False),
        ("[,1]", False),
        ("[1 2]", False),
        ("[01]", False),
        ("[1.]", False),
        ("[+1]", False),
        ("{1:2}", False),
        ('{"a"}', False),
        ('{"a":1,}', False),
        ('["\t"]', False),
        ('["\\x41"]', False),
        ("[1}", False),
        ("['a']", False),
        ("[NaN,-Infinity,1e400,-0.0]", True),
        ('{"a":1,"a":2}', True),
        ("[ ] ", True),
        ('{"\\u00e9\\n":[{}]}', True),
    ],
)
def test_the_grammar_is_json_and_what_json_loads_adds(text: str, ok: bool) -> None:
    assert (scan(text, 0, len(text)) is not None) == ok


def test_python_words_are_another_grammar() -> None:
    text = "[{'a': None, \"it's\": True, 'b\\'c': 'x\\n\\x1b', 'd': -1.5e-07}]"
    assert scan(text, 0, len(text), PYTHON) is not None
    assert scan("[None]", 0, 6, JSON) is None


def test_only_white_space_outside_strings_is_free() -> None:
    text = '{\n  "a  b" : [ 1.0 , 1e400 ] ,\r\n\t"c": "x \\" , y" , "c": null\n}\n'
    assert shorten(text, 1) == '{"a  b":[1.0,1e400],"c":"x \\" , y","c":null}\n'


def test_errors_and_outliers_outlast_ordinary_rows() -> None:
    rows: list[dict[str, Any]] = [{"id": n, "ms": 20 + n % 5, "state": "done", "error": None} for n in range(60)]
    rows[23]["error"] = "disk full"
    rows[31]["ms"] = 9_000
    rows[44]["state"] = "stuck"
    rows[52]["extra"] = {"retries": 3}
    kept = [row["id"] for row in json.loads(shorten(json.dumps(rows), 0.2))]
    assert {0, 23, 31, 44, 52, 59} <= set(kept)


def test_an_error_in_every_row_marks_none() -> None:
    rows = [{"id": n, "error": f"code {n}"} for n in range(60)]
    assert {"id": 41, "error": "code 41"} in json.loads(shorten(json.dumps(rows), 0.1, "What is code 41?"))


def test_a_large_record_keeps_what_says_which_it_is() -> None:
    owner = {"id": 7, "name": "Ida", **{f"{what}_url": f"https://example.org/{what}" for what in "abcdefghijkl"}}
    record = {"id": 12, "title": "Leak", "owner": owner, "stars": 5, **{f"flag_{n}": False for n in range(40)}}
    kept = json.loads(shorten(json.dumps(record), 0.3, "How many stars?"))
    assert kept["id"] == 12
    assert kept["title"] == "Leak"
    assert kept["stars"] == 5
    assert "flag_30" not in kept
    if "owner" in kept:
        assert kept["owner"]["name"] == "Ida"


def test_a_key_counts_with_the_keys_around_it() -> None:
    part = {f"field_{n}": "some value or other" for n in range(20)}
    record = {"seller": {**part, "town": "Ulm"}, "buyer": {**part, "town": "Bern"}, "agent": {**part, "town": "Graz"}}
    kept = json.loads(shorten(json.dumps(record), 0.1, "What is buyer.town?"))
    assert kept["buyer"]["town"] == "Bern"


def test_json_lines_lose_whole_lines() -> None:
    lines = [json.dumps({"n": n, "text": f"line {n}"}) for n in range(50)]
    kept = shorten("\n".join(lines) + "\n", 0.3, "line 33").splitlines()
    assert json.loads(kept[0]) == {"n": 0, "text": "line 0"}
    assert {"n": 33, "text": "line 33"} in map(json.loads, kept)


def test_the_text_itself_is_never_dropped_for_its_size() -> None:
    text = json.dumps({"path": "a.txt", "content": "word " * 500, "mode": 420, "lines": 1})
    assert "word word" in join(text, Structured().compress([Task(text, Tokens(10))])[0].spans)


def test_what_stands_around_json_stays() -> None:
    body = json.dumps([{"n": n} for n in range(100)])
    text = f"OBSERVATION:\n{body}\n(exit code 0)\n"
    kept = shorten(text, 0.4)
    assert kept.startswith("OBSERVATION:\n[")
    assert kept.endswith("]\n(exit code 0)\n")
