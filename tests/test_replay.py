"""Sent once, sent the same: conversations replayed turn by turn through the real pipeline, in the texts that it sends.

Providers discount a prefix that they have seen, byte for byte. So each message must leave in every later request as it
left in the first one. First by the rules alone, then with a memory of what was decided.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from layouts import CALL, FACTS, LOG, PASSAGES, ROWS, RULES, TOOLS, system, texts, tool, user

from compressors import Compressor, Kept, Task, load
from policies.cachesafe import Market
from policies.presets import PRESETS
from policies.rules import RulePolicy
from policies.written import build
from proxy.pace import Pace
from proxy.pipeline import Pipeline
from proxy.recognised import Recognised, Seen
from proxy.settings import Compression
from proxy.shorten import Stages, shorten
from proxy.sketch import Sketch

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


# With a memory of what was decided, and the doors by which a memory could do harm: other workers, restarts, batches.

DEAR = Market(usd=2e-7, cached=0.1, usd_per_second=0.002)
MARKETS = (Market(), Market(1.25e-6), Market(4e-6, written=1.25, cached_share=0.9), Market(2.5e-6, cached=0.5), DEAR)
LINES = build(
    {
        name: {
            "context": {"compressor": "lexical", "rate": rate, "min_tokens": 40},
            "tool_output": {"compressor": "structured", "rate": rate, "min_tokens": 40},
            "history": {"compressor": "words", "rate": rate, "min_tokens": 20, "roles": ["assistant"]},
        }
        for name, rate in (("half", 0.5), ("fifth", 0.2), ("lossless", 1.0))
    },
    {},
    [],
    ["lexical", "structured", "words"],
)
SHORT = [" ".join(fact.format(n=30 + 7 * p + i) for i, fact in enumerate(FACTS[p : p + 4])) for p in range(6)]
OUTPUTS = (json.dumps(ROWS[:6], indent=4), json.dumps(ROWS[6:20]), LOG[:900], SHORT[0])


class Drops:
    """History by a rule: every third word goes. It stands in for a classifier, which takes longer."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [Kept(tuple(m.span() for n, m in enumerate(re.finditer(r"\S+\s*", t.text)) if n % 3)) for t in tasks]


def compressor(name: str) -> Compressor:
    return Drops() if name == "words" else load(name)


def conversation(random: Random, name: str) -> Messages:
    """A conversation of any of the forms above, its texts drawn from a few, so that conversations share some. `name`:
    what makes its beginning its own."""
    documents = "\n\n".join(f"[{n}] {text}" for n, text in enumerate(random.sample(SHORT, 2), 1))
    chat = [system(name + (f"{RULES}\n\n# Documents\n\n{documents}" if random.random() < 0.5 else RULES))]
    for _ in range(random.choice((2, 2, 3, 4))):
        form = random.choice(("{q}", "Context:\n{c}\n\nQuestion: {q}", "<context>\n{c}\n</context>\n\n{q}"))
        chat.append(user(form.format(c=random.choice((documents, *SHORT)), q=random.choice(QUESTIONS))))
        for _ in range(random.choice((0, 0, 1, 2))):
            chat += [CALL, tool(random.choice(OUTPUTS))]
        chat.append(answer(random.choice(("Yes.", *SHORT))))
    return chat


def test_of_1000_conversations_every_prefix_once_sent_is_a_prefix_of_what_is_sent_next(tmp_path: Path) -> None:
    """Several at a time, each request by another worker, workers restarted now and then, prices changing; some miss
    the deadline of their first request, whereafter its messages stay as they left."""
    random = Random(7)
    workers = [Recognised(Sketch(tmp_path / "seen"), Pace()) for _ in range(3)]
    running: list[tuple[Iterator[Messages], RulePolicy, bool, list[tuple[str, str]]]] = []
    begun = short = pinned = 0
    while begun < 1000 or running:
        if begun < 1000 and len(running) < 8:
            begun += 1
            misses = random.random() < 0.05
            chat = conversation(random, f"Ticket {begun}.\n" if misses else "")
            running.append((requests(chat), random.choice(list(LINES.values())), misses, []))
        going, policy, misses, before = running.pop(random.randrange(len(running)))
        messages = next(going, None)
        if messages is None:
            continue
        if random.random() < 0.02:
            workers[random.randrange(3)] = Recognised(Sketch(tmp_path / "seen"), Pace())
        raw = json.dumps({"model": "gpt-4o", "messages": messages, "tools": TOOLS}).encode()
        seen = Seen(random.choice(workers), policy.name.encode(), lambda _: random.choice(MARKETS))
        result = shorten(raw, policy, compressor, Stages(), seen.settle)
        met = bool(before) or not misses
        seen.left(met)
        now = texts(result.body if met else raw)
        assert now[: len(before)] == before
        short += now != texts(raw)
        pinned += any("cache-pinned" in reason for reason in result.reasons)
        running.append((going, policy, misses, now))
    assert short > 1000
    assert pinned > 300


@pytest.mark.parametrize("policy", [LINES["half"], LINES["fifth"]], ids=["half", "fifth"])
def test_context_in_the_system_message_keeps_its_first_form(policy: RulePolicy, tmp_path: Path) -> None:
    chat = [system(f"{RULES}\n\nContext:\n" + "\n\n".join(PASSAGES))]
    chat += [m for q in QUESTIONS for m in (user(q), answer("It says so [1]."))]
    forms = []
    for messages in requests(chat):
        pipeline = Pipeline(Compression(bypass_share=0), compressor, Sketch(tmp_path / "seen"))  # after a restart
        raw = json.dumps({"model": "gpt-4o", "messages": messages}).encode()
        forms.append(texts(asyncio.run(pipeline.prepare(raw, policy)).body)[0][1])
        pipeline.close()
    assert len(set(forms)) == 1
    assert len(forms[0]) < len(chat[0]["content"])
