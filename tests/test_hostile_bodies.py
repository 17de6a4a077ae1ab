"""Bodies that nobody in their right mind sends: they go as they came, or are spliced right. Nothing raises.

Bodies are made as text and not with `json.dumps`, so that keys stand twice, are written with escapes, and numbers are
what no library would write. What our own reader makes of a body is compared with the standard library's.
LACONIC_EXAMPLES sets how many are tried, which are then others each time.
"""

import asyncio
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import UNDRAWN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, NUMBERED, QUESTION, body, kept_of, user

from policies.presets import PRESETS
from policies.routes import Route
from proxy import wire
from proxy.pipeline import Pipeline, Prepared
from proxy.savings import Outcome
from proxy.settings import Compression, Settings
from proxy.shorten import guarded
from proxy.wire import UnknownShape

EXAMPLES = int(os.environ.get("LACONIC_EXAMPLES", "150"))

# The grammar: texts of JSON, good and bad

LITERALS = (
    "null", "true", "false", "0", "-0", "1.0", "1e400", "-1E+2", "9" * 5000, "0." + "1" * 5000, "NaN", "Infinity",
    "-Infinity",
)  # fmt: skip
BAD = (
    "nul", "01", "+1", ".5", "1.", "'a'", "undefined", "", "{", "[1,]", '{"a":1,}', "/**/1", '"\\x41"', '"\\ud8',
    '"\t"', "0x10", "\ufeff1",
)  # fmt: skip
KEYS = (
    "messages", "model", "stream", "tools", "role", "content", "type", "text", "refusal", "name", "cache_control", "x",
    "", "Content",
)  # fmt: skip


def escaped(text: str, how: int) -> str:
    """A JSON string, its n-th character written as an escape (-1: as it is)."""
    plain = json.dumps(text, ensure_ascii=False)
    if not 0 <= how < len(text) or text[how] > "\uffff":
        return plain
    return f"{json.dumps(text[:how])[:-1]}\\u{ord(text[how]):04X}{json.dumps(text[how + 1 :])[1:]}"


ROWS = json.dumps([{"a": n} for n in range(90)])
SPACE = st.sampled_from(["", "", "", " ", "\n", "\r\n\t", "\u00a0", "\x0c"])
TEXTS = st.one_of(
    st.text(max_size=20),  # lone surrogates included
    st.sampled_from(
        ["\ud800", "\udfff\ud800", "\x00", "\u2028", "é", "😀", "<laconic:context>", "</laconic:keep>", "a" * 3000]
    ),
    st.sampled_from(
        [f"Context:\n{NUMBERED}\n\nQuestion: {QUESTION}", NUMBERED, json.dumps([{"a": n} for n in range(90)])]
    ),
)
STRINGS = st.builds(escaped, TEXTS, st.integers(-1, 3))
GOOD_NAMES = st.builds(escaped, st.sampled_from(KEYS), st.integers(-4, 3))
NAMES = st.one_of(*[GOOD_NAMES] * 9, st.sampled_from(['"x\t"', '"x', "x", "'x'", "1", ""]))
SCALARS = st.one_of(st.sampled_from(LITERALS), STRINGS, STRINGS, st.sampled_from([*LITERALS, *BAD]))


def listed(values: list[str], space: str) -> str:
    return "[" + f",{space}".join(values) + space + "]"


def tabled(pairs: list[tuple[str, str]], space: str) -> str:
    return "{" + ",".join(f"{space}{key}{space}:{space}{value}" for key, value in pairs) + "}"


def pairs(values: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(NAMES, values), max_size=most)


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(listed, st.lists(inner, max_size=3), SPACE), st.builds(tabled, pairs(inner), SPACE)
    ),
    max_leaves=6,
)


def with_more(known: list[tuple[str, str]]) -> st.SearchStrategy[str]:
    """An object with these members and some others, in any order."""
    mixed = pairs(VALUES, 2).flatmap(lambda more: st.permutations([*known, *more]))
    return st.builds(tabled, mixed, SPACE)


ROLES = st.sampled_from(['"user"', '"system"', '"tool"', '"assistant"', '"us\\u0065r"', '"developer"'])
PARTS = STRINGS.flatmap(lambda text: with_more([('"type"', '"text"'), ('"text"', text)]))
CONTENTS = st.one_of(STRINGS, STRINGS, st.builds(listed, st.lists(st.one_of(PARTS, VALUES), max_size=3), SPACE), VALUES)
MESSAGES = st.tuples(ROLES, CONTENTS).flatmap(lambda m: with_more([('"role"', m[0]), ('"content"', m[1])]))
CONVERSATIONS = st.builds(listed, st.lists(st.one_of(MESSAGES, MESSAGES, MESSAGES, VALUES), max_size=4), SPACE)
BODIES = st.tuples(
    st.sampled_from(['"messages"', '"\\u006dessages"']), st.one_of(CONVERSATIONS, CONVERSATIONS, VALUES)
).flatmap(lambda pair: with_more([pair, ('"model"', '"gpt-4o"')]))
ENDS = st.sampled_from(["", "", "", "", "\n", " {}", "\x00", "garbage", "\ufeff"])
CODINGS = st.sampled_from(["utf-8"] * 8 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])


def encoded(text: str, end: str, coding: str, at: int) -> bytes:
    """`at` >= 0: a byte there becomes one that UTF-8 does not know."""
    raw = (text + end).encode(coding, "replace" if coding == "latin-1" else "surrogatepass")
    return raw if not 0 <= at < len(raw) else raw[:at] + b"\xff" + raw[at + 1 :]


RAW = st.builds(encoded, BODIES, ENDS, CODINGS, st.integers(-400, 40))
hostile = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="LACONIC_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


# Reading and splicing


def read(raw: bytes) -> wire.ChatRequest | None:
    try:
        return wire.parse(raw)
    except UnknownShape:
        return None


def outside(request: wire.ChatRequest, source: str, lengths: dict[int, int]) -> list[str]:
    """What of a body is not the literal of a field, given how long each of the new literals is."""
    found, at, moved = [], 0, 0
    for n, field in enumerate(request.fields):
        found.append(source[at : field.start + moved])
        moved += lengths.get(n, field.end - field.start) - (field.end - field.start)
        at = field.end + moved
    return [*found, source[at:]]


@hostile
@given(RAW, st.lists(TEXTS, min_size=1, max_size=3))
def test_a_body_is_refused_with_a_reason_or_spliced_right(raw: bytes, texts: list[str]) -> None:
    wire.peek(raw)
    request = read(raw)
    if request is None:
        return
    assert wire.splice(request, {}) == raw
    new = {n: texts[n % len(texts)] for n in range(len(request.fields)) if n % 2 == 0 or len(texts) == 1}
    spliced = wire.splice(request, new)
    again = wire.parse(spliced)
    for n, (old, now) in enumerate(zip(request.fields, again.fields, strict=True)):
        assert now.text == new.get(n, old.text)
        assert json.loads(spliced.decode()[now.start : now.end]) == now.text
    lengths = {n: field.end - field.start for n, field in enumerate(again.fields)}
    assert outside(request, spliced.decode(), lengths) == outside(request, request.source, {})
    assert again.messages == request.messages


@hostile
@given(RAW)
def test_what_is_read_is_what_everybody_reads(raw: bytes) -> None:
    """Else the text that we shorten is not the one that the provider goes by."""
    request = read(raw)
    if request is None:
        return
    read_by_all = json.loads(raw.decode(), parse_int=lambda digits: 0, strict=True)
    contents = [(n, m["role"], m.get("content")) for n, m in enumerate(read_by_all["messages"])]
    assert [(f.message, f.role, f.text) for f in request.fields] == list(texts_of(contents))


def texts_of(contents: list[tuple[int, str, Any]]) -> Iterator[tuple[int, str, str]]:
    for n, role, content in contents:
        if isinstance(content, str):
            yield n, role, content
        for part in content if isinstance(content, list) else ():
            key = {"text": "text", "input_text": "text", "refusal": "refusal"}.get(str(part.get("type")))
            if key is not None:
                yield n, role, part[key]


@hostile
@given(RAW)
def test_segments_of_any_body_lie_in_order_within_their_fields(raw: bytes) -> None:
    request = read(raw)
    if request is None:
        return
    at = dict.fromkeys(range(len(request.fields)), 0)
    for segment in guarded(request):
        assert at[segment.field] <= segment.start <= segment.end <= len(request.fields[segment.field].text)
        assert segment.text == request.fields[segment.field].text[segment.start : segment.end]
        assert all(segment.start <= a < b <= segment.end for a, b in segment.may_change)
        at[segment.field] = segment.end


# The whole pipeline

AGGRESSIVE = PRESETS["aggressive"]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    it = Pipeline(Compression(60_000, bypass_share=0))
    it.settle(Settings({}, (Route("all", "", "aggressive"),), PRESETS, compression=UNDRAWN))
    yield it
    it.close()


def prepare(pipeline: Pipeline, raw: bytes) -> Prepared:
    """What goes upstream. Nothing that a body can be is an error within."""
    prepared = asyncio.run(pipeline.prepare(raw, AGGRESSIVE))
    measured = prepared.measured
    assert not measured.reason.startswith("error"), measured.reason
    if measured.outcome is not Outcome.COMPRESSED:
        assert prepared.body == raw
        assert measured.reason
        return prepared
    assert prepared.shortened
    before = prepared.shortened.examined.request
    after = pipeline._worker.submit(wire.parse, prepared.body).result(20)  # with as much room on the stack
    lengths = {n: field.end - field.start for n, field in enumerate(after.fields)}
    assert outside(before, after.source, lengths) == outside(before, before.source, {})
    for n, (old, new) in enumerate(zip(before.fields, after.fields, strict=True)):
        assert new.text == prepared.shortened.texts.get(n, old.text)
        assert kept_of(new.text, old.text)
    return prepared


@settings(hostile, max_examples=EXAMPLES // 2)
@given(raw=RAW)
def test_no_body_is_too_odd_for_the_whole_way(pipeline: Pipeline, raw: bytes) -> None:
    prepare(pipeline, raw)


LONG = LAYOUTS["labels"]


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def tables(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


PART = {"type": "text", "text": NUMBERED}
DEEP = {  # where @ stands, something is nested
    "beside": body(LONG)[:-3] + b', "y":@}',
    "in a message": body([{**user("hi"), "x": "@"}, *LONG]),
    "in a part": body([user([{**PART, "x": "@"}])]),
    "as a part": body([user(["@", PART])]),
    "as content": body([user("@"), *LONG]),
    "in a tool": body(LONG).replace(b'"parameters": {}', b'"parameters": "@"'),
}


@pytest.mark.parametrize("where", DEEP)
@pytest.mark.parametrize("depth", [10, 700, 950, 990, 1000, 1100, 10_000, 1_000_000])
def test_depth_is_bounded_and_told(pipeline: Pipeline, where: str, depth: int) -> None:
    nested = (lists if len(where) % 2 else tables)(depth)
    raw = DEEP[where].replace(b'"@"' if b'"@"' in DEEP[where] else b"@", nested)
    measured = prepare(pipeline, raw).measured
    wire.peek(raw)
    if depth >= 10_000:
        assert measured.outcome is Outcome.UNTOUCHED
        assert "deep" in measured.reason or "object" in measured.reason or "neither" in measured.reason


def test_a_million_messages_are_not_read_to_their_end(pipeline: Pipeline) -> None:
    raw = b'{"model":"gpt-4o","messages":[' + b",".join([b'{"role":"user","content":"hi"}'] * 1_000_000) + b"]}"
    began = time.monotonic()
    tracemalloc.start()
    try:
        measured = prepare(pipeline, raw).measured
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (measured.outcome, measured.reason) == (
        Outcome.UNTOUCHED,
        f"there are more than {wire.MAX_MESSAGES} messages",
    )
    assert most < 4 * len(raw)
    assert time.monotonic() - began < 20


WELL_FORMED = {
    "escaped keys": body(LONG).replace(b'"messages"', b'"\\u006dessages"').replace(b'"content"', b'"c\\u006Fntent"'),
    "keys nobody knows, twice": body(LONG).replace(b'"n": NaN', b'"n": NaN, "n": Infinity, "n": -Infinity'),
    "huge numbers": body(LONG).replace(b"1e400", b"9" * 100_000),
    "a sign on nothing": body(LONG).replace(b"1e400", b"-0"),
    "an escaped solidus": body(LONG).replace(b"https://", b"https:\\/\\/"),
    "surrogate pairs as escapes": body(LONG).replace(b"caf\\u00e9", b"caf\\ud83d\\ude00"),
    "white space everywhere": json.dumps({"model": "gpt-4o", "messages": LONG}, indent=7).encode(),
}


@pytest.mark.parametrize("odd", WELL_FORMED)
def test_odd_but_well_formed_bodies_are_still_shortened(pipeline: Pipeline, odd: str) -> None:
    assert prepare(pipeline, WELL_FORMED[odd]).measured.outcome is Outcome.COMPRESSED


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (body(LONG).replace(b'"messages"', b'"messages":[],"\\u006dessages"', 1), "twice"),
        (body(LONG).replace(b'"content"', b'"cont\\u0065nt":"a","content"', 1), "twice"),
        (body(LONG).replace(b'"role"', b'"role":"user","r\\u006fle"', 1), "twice"),
        (b"\xef\xbb\xbf" + body(LONG), "object"),
        (body(LONG) + b"\x00", "follows"),
        (body(LONG) + b"]", "follows"),
        (body(LONG).decode().encode("utf-16"), "UTF-8"),
        (body(LONG).decode().encode("utf-16-le"), "object|JSON"),
        (body(LONG).decode().encode("utf-32-be"), "object|JSON"),
        (body(LONG).replace(b"Mill Lane", b"Mill\xc0\xafLane"), "UTF-8"),
        (body(LONG).replace(b"Mill Lane", b"Mill\xed\xa0\x80Lane"), "UTF-8"),
        (body(LONG).replace(b"Mill Lane", b"Mill\x1fLane"), "JSON"),
        (body(LONG).replace(b"Mill Lane", b"Mill\\u12Lane"), "JSON"),
    ],
)
def test_what_two_readers_could_read_differently_is_left_alone(pipeline: Pipeline, raw: bytes, why: str) -> None:
    measured = prepare(pipeline, raw).measured
    assert measured.outcome is Outcome.UNTOUCHED
    assert any(word in measured.reason for word in why.split("|")), measured.reason
