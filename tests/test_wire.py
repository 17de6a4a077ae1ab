"""Bytes to text fields and back: nothing moves but the texts that were replaced."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import wire


def chat(*messages: dict[str, Any], **rest: Any) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": list(messages), **rest}).encode()


def test_string_content_becomes_one_field_with_the_span_of_its_literal() -> None:
    body = b'{"messages" : [ {"content":"say \\"hi\\"", "role":"user"} ]}'
    request = wire.parse(body)
    (field,) = request.fields
    assert (field.message, field.part, field.role, field.text) == (0, None, "user", 'say "hi"')
    assert request.source[field.start : field.end] == '"say \\"hi\\""'


def test_parts_become_fields_and_media_parts_are_passed_over() -> None:
    request = wire.parse(
        chat(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": "data:…"}},
                    {"type": "text", "text": "and this?"},
                ],
            },
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        )
    )
    assert [(f.message, f.part, f.key, f.text) for f in request.fields] == [
        (0, 0, "text", "what is this?"),
        (0, 2, "text", "and this?"),
        (1, 0, "refusal", "no"),
    ]
    assert [m.has_media for m in request.messages] == [True, False]


def test_tool_calls_functions_names_and_flags_are_read() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
    request = wire.parse(
        chat(
            {"role": "developer", "content": "be brief"},
            {"role": "assistant", "content": None, "tool_calls": [call, call]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
            {"role": "function", "name": "old", "content": "legacy"},
            stream=True,
            n=2,
            tools=[{"type": "function", "function": {"name": "find"}}],
            response_format={"type": "json_object"},
        )
    )
    assert request.messages[1].tool_calls == ("find", "find")
    assert request.messages[1].fields == ()
    assert request.messages[2].tool_call_id == "c1"
    assert request.messages[3].name == "old"
    assert (request.model, request.stream, request.tools) == ("gpt-4o", True, ("find",))


STRANGE = (
    '{ "temperature":1.0,"seed":1e400 , "x":{"a":1,"a":2}, "big":' + "9" * 6000 + ', "messages":[ {"role":"user",'
    '"content":"caf\\u00e9 \\/ ok" , "unknown":[1, 2.50]} ,{"role":"system","content":"日本"}],"model":"m","nan":NaN}'
)


def test_everything_but_the_replaced_text_stays_byte_for_byte() -> None:
    request = wire.parse(STRANGE.encode())
    assert wire.splice(request, {}) == STRANGE.encode()
    assert wire.splice(request, {1: "本"}) == STRANGE.replace('"日本"', '"本"').encode()


def test_a_replaced_text_is_escaped_as_the_old_one_was() -> None:
    request = wire.parse(STRANGE.encode())
    assert b'"content":"\\u00e9"' in wire.splice(request, {0: "é"})
    surrogate = wire.parse(b'{"messages":[{"role":"user","content":"\xc3\xa9\\ud800 tail"}]}')
    assert json.loads(wire.splice(surrogate, {0: "é\ud800"}))["messages"][0]["content"] == "é\ud800"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "object"),
        (b"[]", "object"),
        (b"{}", "no messages"),
        (b"\xff\xfe", "UTF-8"),
        (b'\xef\xbb\xbf{"messages":[]}', "object"),
        (b'{"messages":[]} {}', "follows"),
        (b'{"messages":[]', "JSON"),
        (b'{"messages":[{"role":"user","content":"a","content":"b"}]}', "twice"),
        (b'{"messages":[],"messages":[]}', "twice"),
        (b'{"messages":[{"content":"a"}]}', "role"),
        (b'{"messages":[{"role":"user","content":7}]}', "content"),
        (b'{"messages":[{"role":"user","content":{"a":1}}]}', "content"),
        (b'{"messages":[{"role":"user","content":[{"type":"text"}]}]}', "no text"),
        (b'{"messages":"none"}', "list"),
        (b'{"messages":[{"role":"user","content":nul}]}', "JSON"),
        (b'{"messages":[{"role":"user","content":[{"type":}]}]}', "JSON"),
        (b'{"messages":[{"role":"user","content":' + b"[" * 200_000, "object"),
        (b'{"x":' + b"[" * 200_000, "deep"),
        (b'{"messages":[' + b'{"role":"user"},' * 20_001 + b"]}", "more than"),
        (b'{"messages":[{"role":"user","content":"bad \x01 control"}]}', "JSON"),
    ],
)
def test_a_body_that_is_not_certain_is_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(wire.UnknownShape, match=why):
        wire.parse(body)


texts = st.text(st.characters(), max_size=40)  # lone surrogates included
content = st.one_of(
    st.none(),
    texts,
    st.lists(
        st.one_of(
            st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
            st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": texts})}),
        ),
        max_size=3,
    ),
)
bodies = st.fixed_dictionaries(
    {
        "model": texts,
        "messages": st.lists(st.fixed_dictionaries({"role": texts, "content": content}), max_size=4),
        "extra": st.recursive(st.one_of(st.none(), st.floats(), texts), lambda x: st.lists(x, max_size=3)),
    }
)


@given(bodies, st.booleans(), st.sampled_from([None, 1, 4]))
def test_any_body_survives_being_read_and_rewritten(body: dict[str, Any], escape: bool, indent: int | None) -> None:
    try:
        raw = json.dumps(body, ensure_ascii=escape, indent=indent).encode()
    except UnicodeEncodeError:  # a lone surrogate can only be sent as an escape
        raw = json.dumps(body, indent=indent).encode()
    request = wire.parse(raw)
    assert wire.splice(request, {}) == raw
    again = wire.parse(wire.splice(request, {n: f.text[::-1] for n, f in enumerate(request.fields)}))
    assert [f.text[::-1] for f in again.fields] == [f.text for f in request.fields]
    assert again.messages == request.messages


def test_peek_reads_model_and_stream_and_never_fails() -> None:
    assert wire.peek(chat(stream=True)) == wire.Peek("gpt-4o", True)
    assert wire.peek(b"not json") == wire.Peek()
    assert wire.peek(b'{"model": 5}') == wire.Peek()
