"""Sent once, sent the same: conversations replayed turn by turn through the real pipeline, in the texts that it sends.

Providers discount a prefix that they have seen, byte for byte. So each message must leave in every later request as it
left in the first one. The one exception is context in the system message, which `balanced` sends whole once a second
question leans on it.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from layouts import CALL, LOG, PASSAGES, ROWS, RULES, system, texts, tool, user

from compressors import load
from policies.presets import PRESETS
from proxy.shorten import Stages, shorten

Messages = list[dict[str, Any]]
QUESTIONS = (
    "How many days does a member have to return a bike?",
    "May a child ride in the box of the bike?",
    "What does the voucher at the counter pay for?",
    "Who became mayor of the town?",
)
LONG = PASSAGES[0] + "\n\n" + PASSAGES[1]
FOLLOWING = (
    "Translate your last answer into French.",
    "Please rewrite that as a formal letter.",
    "Extract all the numbers from it.",
    "Which of the two answers is better? Rate the responses from 1 to 10.",
    "Now edit the file bikes.py and fix the code.",
    "Summarise what we have said.",
    "thanks!",
)


def answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def retrieving(form: str, answers: Sequence[str]) -> Messages:
    """A chat in which every user message brings the documents of its own question."""
    asked = [user(form.format(c=p, q=q)) for p, q in zip(PASSAGES, QUESTIONS, strict=True)]
    return [system(RULES)] + [m for ask, said in zip(asked, answers, strict=True) for m in (ask, answer(said))]


def agent(outputs: Sequence[str], *then: dict[str, Any]) -> Messages:
    return [user(QUESTIONS[0]), *(m for text in outputs for m in (CALL, tool(text))), *then]


ONE = user(f"Context:\n{PASSAGES[0]}\n\nQuestion: {QUESTIONS[0]}")
SMALL = json.dumps(ROWS[:3], indent=4)
LARGE = json.dumps(ROWS, indent=2)
CONVERSATIONS: dict[str, Messages] = {
    "labels": retrieving("Context:\n{c}\n\nQuestion: {q}", [LONG] * 4),
    "tags": retrieving("<context>\n{c}\n</context>\n\n{q}", [LONG] * 4),
    "headings": retrieving("# Context\n{c}\n\n# Question\n{q}", ["It has 37 days.", LONG, LONG, "Nobody."]),
    "plain": retrieving("Use the passages below.\n\n{c}\n\n{q}", [LONG] * 4),
    "yes and no": retrieving("<context>\n{c}\n</context>\n\n{q}", ["Yes", "No", "No", "Yes"]),
    "json answers": retrieving("Context:\n{c}\n\nQuestion: {q}", ['{"a": 1}', '{"a": 2}', '{"a": 3}', '{"a": 4}']),
    "small outputs": agent([SMALL] * 4),
    "large outputs": agent([LARGE, LOG, LARGE], answer(LONG), user("Now classify each bike as lent or free.")),
    "prose outputs": agent(PASSAGES),
    "long answers": [m for q in QUESTIONS for m in (user(q), answer(LONG))],
    "pasted first": [user(PASSAGES[0]), answer("What about it?"), user(QUESTIONS[0]), answer(LONG), user("And?")],
    "parts": [
        m
        for p, q in zip(PASSAGES, QUESTIONS, strict=True)
        for m in (user([{"type": "text", "text": f"Context:\n{p}"}, {"type": "text", "text": q}]), answer(LONG))
    ],
    "a later system message": [ONE, answer(LONG), system("From now on, translate every answer."), user(QUESTIONS[1])],
    "a system message after tools": [
        *agent([LARGE, LOG], answer(LONG)),
        system("Rewrite all that was said in plain language."),
        user(QUESTIONS[1]),
    ],
    "a second speaker": [ONE | {"name": "anna"}, answer(LONG), user(QUESTIONS[1]) | {"name": "ben"}],
    "observations": [
        system("Use Thought, Action and Observation."),
        user(QUESTIONS[0]),
        *(m for p in PASSAGES for m in (answer("Thought: I search.\nAction: search"), user(f"Observation: {p}"))),
    ],
    **{f"then: {said}": [ONE, answer(LONG), user(said)] for said in FOLLOWING},
    "marks": [
        m
        for p, q in zip(PASSAGES, QUESTIONS, strict=True)
        for m in (user(f"<laconic:context>{p}</laconic:context>\n{q}"), answer(LONG))
    ],
}


def sent(messages: Messages, policy: str) -> list[tuple[str, str]]:
    raw = json.dumps({"model": "gpt-4o", "messages": messages}).encode()
    return texts(shorten(raw, PRESETS[policy], load, Stages()).body)


def requests(conversation: Messages) -> Iterator[Messages]:
    """What the client sends each time that it is the model's turn."""
    for n, message in enumerate(conversation, 1):
        after = conversation[n]["role"] if n < len(conversation) else "assistant"
        if message["role"] in ("user", "tool") and after == "assistant":
            yield conversation[:n]


@pytest.mark.parametrize("policy", ["safe", "balanced", "aggressive"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_what_was_sent_is_sent_the_same_in_every_later_turn(name: str, policy: str) -> None:
    for before, after in pairwise(sent(messages, policy) for messages in requests(CONVERSATIONS[name])):
        assert after[: len(before)] == before


@pytest.mark.parametrize(
    "name", ["labels", "tags", "headings", "plain", "large outputs", "long answers", "parts", "marks"]
)
def test_the_conversations_are_long_enough_to_be_shortened(name: str) -> None:
    """Else the test above would say nothing."""
    whole = CONVERSATIONS[name]
    raw = texts(json.dumps({"messages": whole}).encode())
    shorter = [len(new) < len(old) for (_, new), (_, old) in zip(sent(whole, "aggressive"), raw, strict=True)]
    assert sum(shorter[:-1]) >= 1


def test_context_in_the_system_message_changes_once_and_only_where_the_policy_says_so() -> None:
    chat = [system(f"{RULES}\n\nContext:\n" + "\n\n".join(PASSAGES))]
    chat += [m for q in QUESTIONS for m in (user(q), answer("It says so [1]."))]
    for policy, changes in (("balanced", 1), ("aggressive", 0)):
        forms = [sent(messages, policy)[0][1] for messages in requests(chat)]
        assert sum(one != other for one, other in pairwise(forms)) == changes
        assert len(forms[0]) < len(chat[0]["content"])
