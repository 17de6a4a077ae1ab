"""Whatever a text is, it is cut in full, once, in linear time, and as it was cut before."""

from typing import Any

import pytest
from cutting import FERRY, STRUCTURES, TOSHOKAN, assistant, cut, request, user
from hypothesis import given
from hypothesis import strategies as st

from proxy.segmentation import segment
from proxy.wire import ChatRequest

HOSTILE = {
    "brackets": "[" * 300_000,
    "braces": "{" * 300_000,
    "angles": "<" * 300_000,
    "nested json": '[{"a":' * 50_000,
    "quotes": '"' * 300_000,
    "backslashes": '{"a": "' + "\\" * 300_000,
    "escaped quotes": '{"a": "' + '\\"' * 300_000 + "]}",
    "colons": ":" * 300_000,
    "blanks": " " * 300_000 + "x",
    "line ends": "\n" * 300_000 + "x",
    "fences": "```\n" * 30_000,
    "rules": "Context:\n---\n" * 15_000,
    "labels": "Question: b\nAnswer: c\n" * 15_000,
    "open tags": "<context>\n" * 30_000,
    "nested tags": "<a>\n<context>\n" * 10_000 + "</context>\n</a>\n" * 10_000,
    "marks": "<laconic:context>" * 15_000,
    "pairs of marks": "<laconic:keep>a</laconic:keep>" * 5_000,
    "one long line": "word " * 100_000,
    "open brackets": 'Context:\n"\n' + "[\n" * 100_000,
    "closed at the end": 'Context:\n"\n' + "[\n" * 100_000 + "]",
    "outputs": "Output:\n" + "Output: c\n" * 30_000,
    "names": "ann: b\nbo: c\n" * 20_000,
    "labels before quotes": 'chunk: """\na\n"""\n' * 6_000,
    "never closed quotes": 'chunk: """\na\n' * 9_000,
    "quoted mails": "> > a b.\n" * 40_000,
    "nodes of a page": "[1] link a\n" * 40_000,
    "steps": "```\nStep 1: a\n" * 9_000,
    "joints": "; A a" * 60_000,
    "one rule and headings": "Answer.\n" + "# a\n" * 30_000 + "---\n" + "word " * 1_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_hostile_texts_are_cut_in_full(name: str, role: str) -> None:
    """Quadratic work would run into the time limit of the suite; nothing raises."""
    message = {"role": role, "content": HOSTILE[name], "tool_call_id": "c"}
    assert_covers(request(message, user("What?")))


def test_many_messages_are_cut() -> None:
    assert_covers(request(*(user(f"message {i}") if i % 2 else assistant(f"answer {i}") for i in range(10_000))))


def assert_covers(body: ChatRequest) -> None:
    """Segments are ordered, apart, have no blank edges and leave nothing but white space between them."""
    ends = [0] * len(body.fields)
    for s in segment(body):
        text = body.fields[s.field].text
        assert s.start < s.end
        assert s.text == text[s.start : s.end] == s.text.strip()
        assert not text[ends[s.field] : s.start].strip()
        ends[s.field] = s.end
    for field, end in zip(body.fields, ends, strict=True):
        assert not field.text[end:].strip()


SNIPPETS = st.sampled_from(
    [
        *(
            "Context:",
            "Question: why?",
            "Answer:",
            "<context>",
            "</context>",
            "---",
            "```",
            "```json",
            '"""',
            "[1] Title",
        ),
        *(
            "[[ ## question ## ]]",
            "# Notes",
            "Observation: found",
            "Thought: hm",
            "Human: hi",
            "Assistant: ho",
            "",
            " ",
        ),
        *(
            "<laconic:keep>",
            "</laconic:keep>",
            "<laconic:context>",
            "</laconic:context>",
            '{"question": "a", "b": "c"}',
        ),
        *(
            "Here is the text:",
            "You must cite.",
            "Source: a.pdf",
            "END CONTEXT",
            "[END CONTEXT]",
            "«",
            "」",
            "a,b,c",
            "1 | x",
        ),
        *(
            FERRY,
            TOSHOKAN,
            "質問：",
            "【資料】",
            "<![CDATA[x",
            "]]>",
            "Example:",
            "Original Answer: x",
            "\u2028",
            "\x1f",
            "🙂",
        ),
    ]
)
TEXTS = st.lists(SNIPPETS | st.text(max_size=20), max_size=12).flatmap(
    lambda parts: st.sampled_from(["\n", "\n\n", " ", ""]).map(lambda by: by.join(parts))
)
MESSAGES = st.builds(
    lambda role, content, name: {
        "role": role,
        "content": content,
        "tool_call_id": "c",
        **({"name": name} if name else {}),
    },
    st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
    TEXTS | st.lists(TEXTS.map(lambda t: {"type": "text", "text": t}), max_size=3),
    st.sampled_from([None, "ann", "bob", "example_user"]),
)


@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_segments_cover_every_character_once(messages: list[dict[str, Any]]) -> None:
    assert_covers(request(*messages))


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_a_message_becomes_does_not_hang_on_later_turns(name: str) -> None:
    """Providers cache prefixes: the cuts of a message stay when the conversation goes on."""
    text = STRUCTURES[name][0]
    now = cut(user(text))
    later = [s for s in cut(user(text), assistant("Sure."), user("And then?")) if s.message == 0]
    assert [(s.start, s.end, s.question) for s in now] == [(s.start, s.end, s.question) for s in later]
