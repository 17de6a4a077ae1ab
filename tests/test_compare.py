"""Answers are read out of documents and streams, and agree as far as they say the same."""

import gzip
import json
import zlib
from typing import Any

import pytest
from provider import USAGE, completion, delta

from proxy.guard.answers import BOUND, Answer, read_answer
from proxy.guard.compare import agreement, wants_json, word_f1, worse
from proxy.savings import Usage

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]


def document(**message: object) -> bytes:
    return json.dumps(completion(**message)).encode()


def stream(*events: object, end: bytes = b"data: [DONE]\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


def ended(event: dict[str, Any], reason: str = "stop") -> dict[str, Any]:
    event["choices"][0]["finish_reason"] = reason
    return event


def call(index: int, name: str | None = None, arguments: str = "", identity: str = "") -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": identity} if identity else {})


# Reading


def test_a_document_and_a_stream_of_the_same_answer_read_the_same() -> None:
    one = read_answer(JSON, document(content="It is 42 km."))
    usage = {**delta(), "choices": [], "usage": USAGE}
    other = read_answer(EVENTS, stream(delta(role="assistant"), delta("It is "), ended(delta("42 km.")), usage))
    assert one == other == Answer("It is 42 km.", usage=Usage(40, 3, 8))


def test_calls_are_put_together_from_the_pieces_of_a_stream() -> None:
    pieces = [
        delta(tool_calls=[call(0, "search", '{"q": "b')]),
        delta(tool_calls=[call(1, "open", "{}"), call(0, None, 'ikes"}')]),
        ended(delta(), "tool_calls"),
    ]
    found = read_answer(EVENTS, stream(*pieces))
    assert found
    assert found.calls == (("search", '{"q": "bikes"}'), ("open", "{}"))


@pytest.mark.parametrize(
    "pieces",
    [
        [call(0, "search", '{"q": "b', "a"), call(0, "search", 'ikes"}', "a"), call(1, "open", "{}", "b")],
        [call(0, "search", '{"q": "b', "a"), call(0, None, 'ikes"}'), call(0, "open", "{}", "b")],
        [call(0, "search", '{"q": "b', "a"), call(0, None, 'ikes"}', "z"), call(0, "open", "{}", "b")],
        [call(0, "sea", "", "a"), call(0, "rch", '{"q": "bikes"}'), call(1, "open", "{}")],
    ],
    ids=["the name is repeated", "one place for both", "an id with each part", "the name in parts"],
)
def test_servers_that_write_calls_in_their_own_way_are_read_alike(pieces: list[dict[str, Any]]) -> None:
    found = read_answer(EVENTS, stream(*(delta(tool_calls=[piece]) for piece in pieces), ended(delta(), "tool_calls")))
    assert found
    assert found.calls == (("search", '{"q": "bikes"}'), ("open", "{}"))


def test_two_calls_of_one_function_are_two() -> None:
    pieces = [delta(tool_calls=[call(0, "f", "{}", "a")]), delta(tool_calls=[call(0, "f", "{}", "b")])]
    found = read_answer(EVENTS, stream(*pieces, ended(delta(), "tool_calls")))
    assert found
    assert found.calls == (("f", "{}"), ("f", "{}"))


def test_what_is_packed_is_unpacked_up_to_the_bound() -> None:
    packed = [*JSON, (b"content-encoding", b"gzip")]
    assert read_answer(packed, gzip.compress(document(content="x"))) == read_answer(JSON, document(content="x"))
    assert read_answer([*JSON, (b"content-encoding", b"deflate")], zlib.compress(document(content="x"))) is not None
    assert read_answer(packed, gzip.compress(b" " * (BOUND + 1))) is None
    assert read_answer(packed, gzip.compress(document(content="x"))[:-9]) is None
    assert read_answer([*JSON, (b"content-encoding", b"br")], b"x") is None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (JSON, b""),
        (JSON, b"[]"),
        (JSON, b'{"choices": []}'),
        (JSON, b'{"choices": [{"message": {"content": "x"'),
        (JSON, b"\xff"),
        (JSON, b"[" * 100_000),
        (EVENTS, stream(delta("It is "))),  # no end
        (EVENTS, stream(delta("It is "), {"error": {"message": "no"}}, ended(delta("x")))),
        (EVENTS, b"data: nothing\n\n"),
        (EVENTS, b""),
    ],
)
def test_what_is_no_whole_answer_is_not_read(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    assert read_answer(headers, body) is None


def test_only_the_first_choice_counts() -> None:
    both = completion(content="second")
    both["choices"] = [{**both["choices"][0], "index": 1}, {"index": 0, "message": {"content": "first"}}]
    found = read_answer(JSON, json.dumps(both).encode())
    assert found
    assert found.text == "first"


@pytest.mark.parametrize("message", [{"content": None, "refusal": "I can't."}, {"content": " \n"}, {"content": None}])
def test_refusals_and_empty_answers_agree_with_nothing(message: dict[str, object]) -> None:
    found = read_answer(JSON, document(**message))
    assert found
    assert agreement(found, Answer("It is 42 km.")) == 0
    assert agreement(found, found) == 0
    filtered = read_answer(EVENTS, stream(ended(delta("It"), "content_filter")))
    assert filtered
    assert filtered.empty


# Comparing


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("The answer is 42.", "answer is 42", 1.0),
        ("It is 42 km.", "It is 43 km.", 0.75),
        ("3.5", "35", 0.0),
        ("-5 degrees", "5 degrees", 0.5),
        ("A", "B", 0.0),
        ("A", "A.", 1.0),
        ("Straße ＡＢ", "STRASSE ab", 1.0),
        ("一天三次", "一天两次", 0.75),
        ("한국어 문장", "한국어 문장 하나", 0.8),
        ("?", "?", 1.0),
        ("?", "!", 0.0),
        ("yes yes yes", "yes", 0.5),
    ],
)
def test_texts_agree_by_the_words_that_they_share(one: str, other: str, f1: float) -> None:
    assert word_f1(one, other) == pytest.approx(f1)
    assert word_f1(other, one) == pytest.approx(f1)


def test_structured_output_agrees_where_it_is_the_same_json() -> None:
    one, other = Answer('{"a": 1.0, "b": [1, 2]}'), Answer('{"b":[1,2],\n"a":1}')
    assert agreement(one, other, structured=True) == 1
    assert agreement(one, Answer('{"a": 1, "b": [2, 1]}'), structured=True) == 0
    assert agreement(one, Answer('{"a": true, "b": [1, 2]}'), structured=True) == 0
    assert agreement(Answer("{"), Answer("{"), structured=True) == 0


def test_calls_agree_by_names_and_arguments_in_any_order() -> None:
    one = Answer("I look.", (("search", '{"q": "x", "n": 2}'), ("open", "{}")))
    assert agreement(one, Answer("", (("open", "{ }"), ("search", '{"n":2,"q":"x"}')))) == 1
    assert agreement(one, Answer("", (("search", '{"q": "x", "n": 3}'), ("open", "{}")))) == 0
    assert agreement(one, Answer("", (("open", "{}"),))) == 0
    assert agreement(one, Answer("I look.")) == 0


def test_worse_is_measured_against_what_originals_have_in_common() -> None:
    a, b, c = Answer("red"), Answer("green blue"), Answer("green grey")
    assert worse(a, b, c, agreement) == 0.5
    assert worse(b, a, c, agreement) == -0.25
    assert worse(a, a, a, agreement) == 0


@pytest.mark.parametrize(
    ("body", "structured"),
    [
        (b'{"response_format": {"type": "json_schema"}}', True),
        (b'{"response_format": {"type": "json_object"}}', True),
        (b'{"response_format": {"type": "text"}}', False),
        (b"{}", False),
        (b"[]", False),
        (b"{", False),
    ],
)
def test_a_request_for_json_is_told_by_its_format(body: bytes, structured: bool) -> None:
    assert wants_json(body) is structured


def test_an_answer_does_not_show_itself() -> None:
    assert "secret" not in repr(read_answer(JSON, document(content="secret")))
