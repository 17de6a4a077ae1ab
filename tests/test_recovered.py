"""Names, dates and numbers of answers, restored in the bytes of answers and streams; everything else as it came."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider import completion, delta

from compressors.damage import Damage
from compressors.recovery import Restorer
from compressors.spans import complement
from proxy.json_walk import UnknownShape
from proxy.recovered import BOUND, Events, recovered

TEXT = "The plan was approved by Dr. Eleanor van der Berg on 14 March 2021, and then it went to Anna Maria Lee."
GONE = ("van der ", "March ", "Maria ")
DAMAGE = Damage([(TEXT, complement([(TEXT.index(g), TEXT.index(g) + len(g)) for g in GONE], len(TEXT)))])
SAID = "It was Eleanor Berg, on 14 2021; Anna Lee knew."
RIGHT = "It was Eleanor van der Berg, on 14 March 2021; Anna Maria Lee knew."


# Whole answers


def test_only_the_text_of_the_choices_changes() -> None:
    body = (
        '{ "x":1.0,"x" : 1e400, "id":"Eleanor Berg", "choices" :[{"index":0,"message":{"content" : "%s \\u00e9\\/",\r\n'
        ' "role":"assistant", "reasoning_content": "Eleanor Berg"},"finish_reason":"stop"},{"finish_reason":"stop",'
        '"message":{"content":"Nobody."},"index":1}],"usage":{"total_tokens": 5}, "note": "é Anna Lee"}\n'
    )
    right = (body % RIGHT).replace("\\u00e9\\/", "\\u00e9/").encode()
    assert recovered((body % SAID).encode(), DAMAGE) == right
    assert recovered((body % "No name.").encode(), DAMAGE) == (body % "No name.").encode()


def test_new_text_is_escaped_as_the_old_was() -> None:
    plain = '{"choices":[{"message":{"content":"%s é"},"finish_reason":"stop"}]}'
    assert recovered((plain % SAID).encode(), DAMAGE) == (plain % RIGHT).encode()


@pytest.mark.parametrize(
    "body",
    [
        completion(content=SAID, annotations=[{"type": "url_citation", "start_index": 1}]),
        completion(content=SAID, audio={"id": "a"}),
        completion(content=[{"type": "text", "text": SAID}]),
        completion(content=None, tool_calls=[{"function": {"name": "f", "arguments": f'{{"a": "{SAID}"}}'}}]),
        completion(refusal=SAID),
        {"choices": [{"message": {"content": SAID}, "logprobs": {"content": []}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": SAID}, "content_filter_offsets": {"end_offset": 9}}]},
        {"choices": [{"text": SAID}]},
        {"choices": {"message": {"content": SAID}}},
        {"error": {"message": SAID}},
        {"data": [{"message": {"content": SAID}}]},
    ],
)
def test_what_is_not_ours_stays(body: object) -> None:
    raw = json.dumps(body).encode()
    assert recovered(raw, DAMAGE) == raw


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"{", b"", b"\xff", b'{"choices":[]} x', b'{"choices":[{},{}]}', b'{"choices":[{"index":-1}]}'),
        b'{"choices":[{"message":{"content":"a","content":"b"}}]}',
    ],
)
def test_what_is_not_understood_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, StopIteration)):
        recovered(body, DAMAGE)
    assert issubclass(UnknownShape, ValueError)


def test_the_last_word_of_a_text_that_was_cut_off_stays() -> None:
    cut = Damage([("Mr. Bergstrom came.", [(0, 8), (13, 19)])])
    for finish, right in (("stop", "It was Mr. Bergstrom"), ("length", "It was Mr. Berg")):
        body = {"choices": [{"message": {"content": "It was Mr. Berg"}, "finish_reason": finish}]}
        assert json.loads(recovered(json.dumps(body).encode(), cut))["choices"][0]["message"]["content"] == right


# Streams


def event(data: object, end: str = "\n") -> bytes:
    return f"data: {json.dumps(data)}{end}{end}".encode()


def part(content: str | None, index: int = 0, finish: str | None = None, **more: object) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": content, **more}, "finish_reason": finish}
    return {**delta(), "choices": [choice]}


def end(index: int = 0, finish: str = "stop") -> dict[str, Any]:
    return {**delta(), "choices": [{"index": index, "delta": {}, "finish_reason": finish}]}


def streamed(pieces: Iterable[str], *more: dict[str, Any]) -> bytes:
    parts = [part("", role="assistant"), *map(part, pieces), end(), *more]
    return b"".join(map(event, parts)) + b"data: [DONE]\n\n"


def through(data: Sequence[bytes], damage: Damage = DAMAGE) -> bytes:
    events = Events(damage)
    return b"".join([*map(events.feed, data), events.finish()])


def contents(stream: bytes, index: int = 0) -> str:
    """The text of a choice, put together as a client does it."""
    found = ""
    for data in re.findall(rb"^data:\s*(\{.*)", stream, re.MULTILINE):
        for choice in json.loads(data).get("choices", ()):
            if choice.get("index", 0) == index:
                found += choice["delta"].get("content") or ""
    return found


def masked(stream: bytes) -> list[bytes]:
    """The events with their texts taken out, and without those that hold nothing else than a template's text."""
    return [re.sub(rb'"content": ?"[^"]*"', b"X", e) for e in stream.split(b"\n\n")]


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(n % (len(data) + 1) for n in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def split(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


@given(size=st.integers(1, 60), at=st.lists(st.integers(0, 10_000), max_size=12))
def test_the_text_is_restored_however_it_is_cut(size: int, at: list[int]) -> None:
    stream = streamed(split(SAID, size), {**delta(), "choices": [], "usage": {"prompt_tokens": 1}})
    out = through(cut(stream, at))
    assert contents(out) == RIGHT
    assert out == through([stream])
    assert [e for e in masked(out) if masked(out).count(e) == 1] == [
        e for e in masked(stream) if masked(stream).count(e) == 1
    ]
    assert len(out.split(b"\n\n")) <= len(stream.split(b"\n\n")) + 1, "one event at most is put in"


@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_other_bytes_of_the_stream_stay(line: str) -> None:
    odd = ': ping~~id: 7~event: message~data:{"choices":[ {"delta":{"content":"by Anna Lee ", "x":1.0}}],"y":1e400}~~'
    odd = odd.replace("~", line)
    stream = odd.encode() + event(part("and more."), line) + event(end(), line) + f"data: [DONE]{line}{line}".encode()
    out = through([stream])
    assert contents(out) == "by Anna Maria Lee and more."
    assert out.count(b'"x":1.0') == out.count(b'"y":1e400') == 1
    assert out.startswith(odd.partition("by")[0].encode())
    assert line.encode() * 2 + b"data: [DONE]" in out


@pytest.mark.parametrize("text", ["hello there, all in small letters.", "Nobody named. Nothing to do! 7 times"])
def test_a_stream_without_anything_to_restore_says_the_same(text: str) -> None:
    stream = streamed(split(text, 4))
    assert contents(through([stream])) == text
    assert through([streamed(["all small ", "letters."])]) == streamed(["all small ", "letters."])


SPOKEN = ("so ", "it was ", "Eleanor ", "Berg", ", ", "and", " then")


def test_nothing_waits_but_what_may_be_part_of_a_name() -> None:
    events = Events(DAMAGE)
    out = [contents(events.feed(event(part(piece)))) for piece in SPOKEN]
    assert out == ["so ", "it was ", "", "", "", "", "Eleanor van der Berg, and "]
    assert events.feed(b": ping\n\n") == b": ping\n\n"
    assert events.feed(event({"object": "other"})) == event({"object": "other"})


def test_what_is_held_back_goes_out_before_the_choice_ends() -> None:
    for last in (event(end()), b"data: [DONE]\n\n", event(part(None, tool_calls=[{"index": 0}]))):
        events = Events(DAMAGE)
        events.feed(event(part("It was Anna Lee")))
        out = events.feed(last)
        assert out.endswith(last)
        assert contents(out[: -len(last)]) == "Anna Maria Lee"
        assert json.loads(out.split(b"\n\n")[0][6:])["choices"][0]["finish_reason"] is None


def test_an_event_that_brings_text_and_the_end_has_both() -> None:
    out = through([event(part("It was Anna ")) + event(part("Lee", finish="stop"))])
    assert contents(out) == "It was Anna Maria Lee"
    assert len(out.split(b"\n\n")) == 3


def test_a_text_that_is_cut_off_ends_as_it_came() -> None:
    assert contents(through([event(part("It was Anna Lee")) + event(end(finish="length"))])) == "It was Anna Lee"
    assert contents(through([event(part("It was Anna Lee", finish="length"))])) == "It was Anna Lee"
    assert contents(through([event(part("It was Anna Lee"))])) == "It was Anna Lee", "the stream broke off"


def test_choices_are_kept_apart() -> None:
    one, other = split("Then Eleanor Berg spoke.", 5), split("Then Anna Lee left it.", 5)
    mixed = [event(part(p, i)) for pair in zip(one, other, strict=True) for i, p in enumerate(pair)]
    out = through([*mixed, event(end(1)), event(end(0)), b"data: [DONE]\n\n"])
    assert contents(out, 0) == "Then Eleanor van der Berg spoke."
    assert contents(out, 1) == "Then Anna Maria Lee left it."
    both = {**delta(), "choices": [*part("Eleanor Berg", 0)["choices"], *part("Anna Lee", 1)["choices"]]}
    out = through([event(both), event(end(1)), event(end(0))])
    assert (contents(out, 0), contents(out, 1)) == ("Eleanor van der Berg", "Anna Maria Lee")


@pytest.mark.parametrize(
    "stream",
    [
        [event(part(None, tool_calls=[{"function": {"arguments": SAID}}])), event(end(finish="tool_calls"))],
        [event(part(None, reasoning_content=SAID)), event(end())],
        [event(part(None, refusal=SAID)), event(end())],
        [event({"choices": [{"index": 0, "text": SAID}]})],
        [
            event({"choices": [{"delta": {"content": SAID}, "logprobs": {"content": []}}]}),
            event(part(SAID)),
            event(end()),
        ],
        [b"data: not JSON\n\n", b'data: {"content": }\n\n', event(part(SAID)), event(end())],
        [b'data: {"choices": [{"delta":\ndata: {"content": "x"}}]}\n\n'],
        [event({"error": {"message": f'"content" {SAID}'}})],
        [b"data: " + b"x" * (BOUND + 10) + SAID.encode(), b'"content"\n\n', event(part(SAID))],
    ],
)
def test_what_is_not_ours_goes_on_as_it_came(stream: list[bytes]) -> None:
    events = Events(DAMAGE)
    out = []
    for data in stream:
        try:
            out.append(events.feed(data))
        except (ValueError, StopIteration, RuntimeError):
            out.append(events.give_up())
    assert b"".join([*out, events.finish()]) == b"".join(stream)


@pytest.mark.parametrize(
    "bad",
    [
        b'data: {"choices": 3, "content"}\n\n',
        b'data: {"choices":[{},{}], "content": 1}\n\n',
        b'data: {"content": "\xff"}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"content": "x", "content": "y"}}]}\n\n',
    ],
)
@pytest.mark.parametrize("size", [2, 5, 40])
def test_after_trouble_nothing_is_lost_and_nothing_comes_twice(bad: bytes, size: int) -> None:
    pieces = split(SAID, size)
    for at in range(len(pieces)):
        events = Events(DAMAGE)
        stream = [event(part(p)) for p in pieces]
        stream.insert(at, bad)
        out = []
        for data in stream:
            try:
                out.append(events.feed(data))
            except (ValueError, StopIteration, RuntimeError):
                out.append(events.give_up())
        whole = b"".join([*out, events.finish()])
        assert whole.count(bad) == 1
        assert contents(whole.replace(bad, b"")) in _mixtures(pieces, at)


def _mixtures(pieces: list[str], at: int) -> list[str]:
    """What was certain before the trouble is restored; what was held back, and all after, is as it came."""
    restorer = Restorer(DAMAGE)
    before = "".join(map(restorer.feed, pieces[:at]))
    return [before + restorer.held + "".join(pieces[at:])]


def test_a_restorer_that_breaks_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, count = Restorer.feed, 0

    def breaks(self: Restorer, piece: str) -> str:
        nonlocal count
        count += 1
        if count == 4:
            raise ZeroDivisionError
        return feed(self, piece)

    monkeypatch.setattr(Restorer, "feed", breaks)
    events = Events(DAMAGE)
    out = b""
    for data in [event(part(p)) for p in split(SAID, 6)]:
        try:
            out += events.feed(data)
        except ZeroDivisionError:
            out += events.give_up()
    assert contents(out + events.finish()) == SAID
