"""Which conversations bypass compression: a draw that every worker repeats, and that later turns do not change."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import Service
from provider import Provider
from raw import ask, chat
from test_pipeline import BODY, Doing, Everything, half, raises, times_out

from compressors import Compressor
from policies.base import Mode
from policies.presets import PRESETS
from policies.routes import Route
from proxy.arm import BYPASS, TREATED, assigned, digest
from proxy.pipeline import Asked, Pipeline, Prepared
from proxy.savings import Measured, Outcome
from proxy.settings import Compression, Settings, Upstream
from proxy.wire import ChatRequest, parse

RULES = {"role": "system", "content": "Answer from the context only."}
ASK = {"role": "user", "content": [{"type": "text", "text": "How many cranes has the harbour?"}]}
ANSWER = {"role": "assistant", "content": "Forty."}
MORE = {"role": "user", "content": "And boats?"}


def request(*messages: dict[str, Any], **more: object) -> ChatRequest:
    return parse(json.dumps({"model": "gpt-4o", "messages": messages, **more}).encode())


def test_all_turns_of_a_conversation_share_a_digest() -> None:
    first = digest(request(RULES, ASK), b"tenant")
    assert digest(request(RULES, ASK, ANSWER, MORE), b"tenant") == first
    assert digest(request(RULES, ASK, ANSWER, MORE, ANSWER, {"role": "system", "content": "x"}), b"tenant") == first
    assert digest(request(RULES, ASK, temperature=0.5, stream=True), b"tenant") == first


@pytest.mark.parametrize(
    "messages",
    [
        (RULES, MORE),
        (ASK,),
        (RULES | {"role": "developer"}, ASK),
        (RULES, {"role": "system", "content": ""}, ASK),
        ({"role": "system", "content": RULES["content"] + "\ud800"}, ASK),
    ],
)
def test_another_beginning_is_another_conversation(messages: tuple[dict[str, Any], ...]) -> None:
    assert digest(request(*messages), b"tenant") != digest(request(RULES, ASK), b"tenant")


def test_callers_do_not_share_conversations() -> None:
    assert digest(request(RULES, ASK), b"one") != digest(request(RULES, ASK), b"other")


def test_the_digest_is_the_same_in_every_version() -> None:
    """A release that drew anew would send warm conversations as they never were."""
    assert digest(request(RULES, ASK), b"tenant").hex() == "ccf1749d235c90460ce0494ddec12f87"


def test_as_many_conversations_bypass_as_are_to() -> None:
    requests = [request(RULES, {"role": "user", "content": f"Question {n}"}) for n in range(5000)]
    for share in (0.01, 0.25, 1.0):
        arms = [assigned(Measured(Outcome.COMPRESSED), it, b"t", share).arm for it in requests]
        assert set(arms) <= {BYPASS, TREATED}
        assert arms.count(BYPASS) == pytest.approx(share * 5000, abs=4 * (share * (1 - share) * 5000) ** 0.5)


def test_who_bypasses_at_a_small_share_does_so_at_a_larger_one() -> None:
    requests = [request({"role": "user", "content": f"Question {n}"}) for n in range(500)]
    drawn = [
        {n for n, it in enumerate(requests) if assigned(Measured(Outcome.UNTOUCHED), it, b"", s).arm == BYPASS}
        for s in (0.1, 0.3)
    ]
    assert drawn[0] < drawn[1]


def test_every_process_draws_alike() -> None:
    """By the digest and nothing else: this one stands at 0.8005 of all that there are."""
    conversation = request(RULES, ASK)
    arms = [assigned(Measured(Outcome.COMPRESSED), conversation, b"tenant", share).arm for share in (0.80, 0.801)]
    assert arms == [TREATED, BYPASS]


# In the pipeline


def prepare(compressor: Compressor, share: float, mode: Mode = Mode.ON, body: bytes = BODY) -> Prepared:
    async def run() -> Prepared:
        pipeline = Pipeline(Compression(deadline_ms=5000, bypass_share=share), lambda _: compressor)
        try:
            return await pipeline.prepare(body, replace(Everything(), mode=mode), Asked(b"tenant"))
        finally:
            pipeline.close()

    return asyncio.run(run())


def test_the_arm_is_measured_and_sent_as_it_came() -> None:
    prepared = prepare(Doing(half), share=1.0)
    measured = prepared.measured
    assert (prepared.body, prepared.shortened, prepared.damage) == (BODY, None, None)
    assert (measured.outcome, measured.reason, measured.arm) == (Outcome.AUDITED, "bypass arm", BYPASS)
    assert measured.tokens_before
    assert measured.tokens_after
    assert measured.tokens_after < measured.tokens_before


def test_the_others_are_treated() -> None:
    prepared = prepare(Doing(half), share=1e-9)
    assert prepared.body != BODY
    assert (prepared.measured.outcome, prepared.measured.arm) == (Outcome.COMPRESSED, TREATED)
    assert len(prepared.measured.conversation) == 16


@pytest.mark.parametrize("do", [raises, times_out])
def test_what_was_to_be_shortened_belongs_to_its_arm_whatever_came_of_it(do: Any) -> None:
    """With its size, so that it is part of the comparison."""
    for share, arm in ((1e-9, TREATED), (1.0, BYPASS)):
        measured = prepare(Doing(do), share).measured
        assert (measured.outcome, measured.arm) == (Outcome.FAILED_OPEN, arm)
        assert measured.tokens_before == prepare(Doing(half), share).measured.tokens_before


def test_there_is_no_trial_where_nothing_would_be_shortened_or_none_is_wanted() -> None:
    for measured in (
        prepare(Doing(half), share=1.0, mode=Mode.AUDIT).measured,
        prepare(Doing(half), share=1.0, mode=Mode.OFF).measured,
        prepare(Doing(half), share=0.0).measured,
        prepare(Doing(half), share=1.0, body=b"not JSON").measured,
    ):
        assert (measured.arm, measured.conversation) == ("", b"")


def test_a_conversation_is_in_no_record_that_is_shown() -> None:
    measured = prepare(Doing(half), share=1.0).measured
    assert str(measured.conversation) not in repr(measured)


def test_every_turn_of_a_conversation_stays_in_its_arm_whichever_worker_takes_it(
    service: Service, fake: Provider
) -> None:
    """Two workers take turns; a bypassing conversation arrives as it was sent, each time."""
    settings = Settings({"fake": Upstream("fake", fake.url)}, (Route("default", "fake", "aggressive"),), PRESETS)
    pipelines = [Pipeline(Compression(10_000, bypass_share=0.5)) for _ in range(2)]
    assert [pipeline.settle(settings) for pipeline in pipelines] == [(), ()]
    workers = [service.start_with(settings, pipeline) for pipeline in pipelines]
    context = " ".join(f"Pier {n} of the harbour has {n} cranes and a shed." for n in range(60))
    sides = []
    for n in range(8):
        messages = [RULES, {"role": "user", "content": f"Context:\n{context}\n\nQuestion: How many has pier {n}?"}]
        outcomes = []
        for turn in range(3):
            raw = json.dumps({"model": "gpt-4o", "messages": messages}).encode()
            headers = dict(ask(workers[(n + turn) % 2], chat(raw, (b"authorization", b"Bearer k")))[1])
            outcomes.append(headers[b"x-laconic-outcome"])
            assert (fake.last.body == raw) is (headers.get(b"x-laconic-reason") == b"bypass arm")
            messages += [ANSWER, MORE]
        assert len(set(outcomes)) == 1, outcomes
        sides.append(outcomes[0])
    assert set(sides) == {b"compressed", b"audited"}


def test_no_trial_is_held_of_conversations_that_bring_material_in_a_system_message() -> None:
    """Others bring the same text: only those in the arm would bring it whole, and find it in nobody's cache."""
    pipeline = Pipeline(Compression(10_000, bypass_share=1.0))
    context = " ".join(f"Pier {n} of the harbour has {n} cranes and a shed." for n in range(60))
    question = {"role": "user", "content": "How many cranes has pier 7?"}
    arms = []
    for rules in (RULES, {"role": "system", "content": f"{RULES['content']}\n\n# Documents\n\n{context}"}):
        raw = json.dumps({"model": "gpt-4o", "messages": [rules, question]}).encode()
        arms.append(asyncio.run(pipeline.prepare(raw, PRESETS["safe"])).measured.arm)
    pipeline.close()
    assert arms == ["bypass", ""]
