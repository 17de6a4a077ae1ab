"""Usage is found in whatever pieces the bytes come, and nothing is guessed where it cannot be."""

import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.savings import Usage
from proxy.sse import BOUND, EventReader, Reader, reader

USAGE = {"prompt_tokens": 40, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
FOUND = Usage(40, 3, 8, None)
EVENTS = b"data: " + json.dumps({"choices": [{"delta": {"content": '"usage"'}}], "usage": None}).encode()
LAST = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode()
TWO_LINES = LAST.replace(b"[], ", b"[],\ndata: ")
STREAM = b": hello\n\n" + EVENTS + b"\n\nevent: x\nid: 1\n" + TWO_LINES + b"\n\ndata: [DONE]\n\n"

JSON = (b"content-type", b"application/json; charset=utf-8")
SSE = (b"content-type", b"text/event-stream; charset=utf-8")


def fed(it: Reader, *pieces: bytes) -> Usage | None:
    for piece in pieces:
        it.feed(piece)
    return it.usage()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_split_of_a_stream_gives_the_same_usage(end: bytes) -> None:
    stream = STREAM.replace(b"\n", end)
    for at in range(len(stream) + 1):
        assert fed(EventReader(), stream[:at], stream[at:]) == FOUND
    assert fed(EventReader(), *(stream[i : i + 1] for i in range(len(stream)))) == FOUND


@given(st.lists(st.integers(1, 40), min_size=1))
def test_random_pieces_give_the_same_usage(sizes: list[int]) -> None:
    it, rest = EventReader(), STREAM
    for size in sizes * len(STREAM):
        it.feed(rest[:size])
        rest = rest[size:]
        if not rest:
            break
    assert it.usage() == FOUND


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"data: {\ndata: " + LAST[7:] + b"\n\n", FOUND),  # one event in two data lines
        (LAST, FOUND),  # cut off before the end of the line
        (LAST.replace(b"data: ", b"data:") + b"\n\n", FOUND),
        (EVENTS + b"\n\n", None),
        (b'data: {broken "usage"\n\n' + LAST + b"\n\n", FOUND),
        (LAST.replace(b"40", b"41") + b"\n\n" + LAST + b"\n\n" + EVENTS + b"\n\n", FOUND),  # the last one that says any
        (b"", None),
        (b"usage: {}\n\n", None),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, found: Usage | None) -> None:
    assert fed(EventReader(), stream) == found


def test_a_line_that_does_not_end_is_let_go() -> None:
    """Memory stays bounded, time linear, and what follows is read again."""
    it = EventReader()
    piece = b"x" * 4096
    tracemalloc.start()
    for _ in range(16 * BOUND // len(piece)):
        it.feed(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * BOUND
    assert fed(it, b"\n\n" + LAST + b"\n\n") == FOUND


def test_an_event_of_endless_data_lines_is_let_go() -> None:
    it = EventReader()
    for _ in range(3 * BOUND // 1000):
        it.feed(b"data: " + b"y" * 1000 + b"\n")
    assert fed(it, b"\n" + LAST + b"\n\n") == FOUND


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (USAGE, FOUND),
        ({"prompt_tokens": 7}, Usage(7)),
        ({"prompt_tokens": 7, "completion_tokens": 0}, Usage(7, 0)),
        ({"prompt_tokens": 7, "prompt_tokens_details": {"cache_write_tokens": 2}}, Usage(7, None, None, 2)),
        ({"prompt_tokens": 7, "prompt_cache_hit_tokens": 3}, Usage(7, None, 3)),
        (
            {"prompt_tokens": 7, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4},
            Usage(7, None, 3, 4),
        ),
        ({}, Usage()),
        ({"prompt_tokens": "seven"}, None),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": 2**63}, None),
        ({"prompt_tokens": 10**400}, None),
        (None, None),
        ([], None),
    ],
)
def test_unknown_is_none_and_never_zero(usage: object, found: Usage | None) -> None:
    assert fed(reader([JSON]), json.dumps({"choices": [], "usage": usage}).encode()) == found


@pytest.mark.parametrize(("model", "found"), [("gpt-4o-2024-11-20", "gpt-4o-2024-11-20"), ({"a": [1]}, ""), (None, "")])
def test_the_answer_says_which_model_it_is_of_and_an_odd_one_loses_no_count(model: object, found: str) -> None:
    answer = json.dumps({"choices": [], "model": model, "usage": {"prompt_tokens": 7}}).encode()
    for kind, data in ((JSON, answer), (SSE, b"data: " + answer + b"\n\n")):
        usage = fed(reader([kind]), data)
        assert usage is not None
        assert (usage.input, usage.model) == (7, found)


def test_an_answer_beyond_the_bound_stays_unknown() -> None:
    answer = json.dumps({"data": "x" * BOUND, "usage": USAGE}).encode()
    assert fed(reader([JSON]), answer[:BOUND], answer[BOUND:]) is None


ANSWER = json.dumps({"choices": [], "usage": USAGE}).encode()


@pytest.mark.parametrize(
    ("coding", "packed"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"identity", bytes)]
)
def test_known_codings_are_unpacked_piece_by_piece(coding: bytes, packed: object) -> None:
    assert callable(packed)
    for kind, plain in ((JSON, ANSWER), (SSE, STREAM)):
        data = packed(plain)
        pieces = (data[i : i + 7] for i in range(0, len(data), 7))
        assert fed(reader([kind, (b"content-encoding", coding)]), *pieces) == FOUND


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        (b"br", ANSWER),
        (b"zstd", ANSWER),
        (b"gzip, br", ANSWER),
        (b"gzip", b"no gzip"),
        (b"gzip", gzip.compress(bytes(9 << 20))),
    ],
    ids=["br", "zstd", "two", "not gzip", "bomb"],
)
def test_what_cannot_be_unpacked_within_bounds_stays_unknown(coding: bytes, data: bytes) -> None:
    assert fed(reader([JSON, (b"content-encoding", coding)]), data) is None


def test_other_kinds_of_answers_are_not_read() -> None:
    assert fed(reader([(b"content-type", b"audio/mpeg")]), ANSWER) is None
    assert fed(reader([]), ANSWER) is None


@pytest.mark.parametrize(
    "odd",
    [b'"x":' + b"[" * 100_000, b'"model":' + b'{"a":' * 100_000, b'"model":"\xff"', b'"model":' + b"9" * 10_000],
    ids=["deep", "deep model", "not UTF-8", "digits"],
)
def test_hostile_answers_stay_unknown_and_break_nothing(odd: bytes) -> None:
    """What the reader raised here would cut the stream that it looks on."""
    hostile = b'{"usage": {"prompt_tokens": 1}, ' + odd
    assert fed(reader([JSON]), hostile) is None
    assert fed(reader([SSE]), b"data: " + hostile + b"\n\n" + STREAM) == FOUND
