"""What the real pipeline does with texts that come again: for other questions, in other conversations, marked."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from layouts import PASSAGES, RULES, system, user

from policies.base import Mode
from policies.cachesafe import Market
from policies.presets import PRESETS, TABLES
from policies.rules import RulePolicy
from policies.written import build
from proxy.pace import Pace
from proxy.pipeline import Asked, Pipeline, Prepared
from proxy.recognised import Recognised, Seen
from proxy.savings import Outcome
from proxy.settings import Compression
from proxy.shorten import Stages, examine
from proxy.sketch import Sketch

WORDS = build({"words": {"extends": "balanced", "context": {"compressor": "lexical"}}}, TABLES, [])["words"]
LONG = "\n\n".join(f"[{n}] {text}" for n, text in enumerate([*PASSAGES, *(p[::-1].title() for p in PASSAGES)], 1))
FIRST, SECOND = "May a child ride in the box of the bike?", "What does the voucher at the counter pay for?"
THIRD = "Who became mayor of the town?"
LIKELY = "cache-pinned: may be asked of again"
PINNED = "cache-pinned: asked of again and again"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1e9

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new(clock: Clock) -> Iterator[Pipeline]:
    """To which every application is new."""
    with_memory = Pipeline(Compression(20_000, bypass_share=0), sketch=Sketch(now=clock))
    yield with_memory
    with_memory.close()


@pytest.fixture
def pipeline(new: Pipeline) -> Pipeline:
    """Which knows the application below, as one that brings its own documents each time."""
    for who in (b"anna", b"ben"):
        taught(new, who)
    return new


def taught(pipeline: Pipeline, tenant: bytes = b"anna", **more: Any) -> None:
    for n in range(8):
        prepare(pipeline, asking(FIRST, f"Page {n}. {LONG}"), tenant, **more)


def asking(question: str, documents: str = LONG, **more: Any) -> list[dict[str, Any]]:
    return [system(RULES), user(f"Context:\n{documents}\n\nQuestion: {question}") | more]


def prepare(
    pipeline: Pipeline,
    messages: list[dict[str, Any]],
    tenant: bytes = b"anna",
    policy: RulePolicy = WORDS,
    **more: Any,
) -> Prepared:
    raw = json.dumps({"model": "gpt-5", "messages": messages} | more).encode()
    return asyncio.run(pipeline.prepare(raw, policy, Asked(tenant)))


def outcome(prepared: Prepared) -> str:
    return prepared.measured.reason or prepared.measured.outcome.value


def test_a_text_that_comes_again_for_another_question_is_left_to_the_providers_cache(pipeline: Pipeline) -> None:
    first = prepare(pipeline, asking(FIRST))
    assert outcome(first) == "compressed"
    assert outcome(prepare(pipeline, asking(SECOND))) == PINNED
    assert prepare(pipeline, asking(FIRST)).body == first.body


def test_somebody_elses_text_is_his_business(pipeline: Pipeline) -> None:
    prepare(pipeline, asking(FIRST))
    assert outcome(prepare(pipeline, asking(SECOND), b"ben")) == "compressed"


def test_so_is_one_behind_another_beginning(pipeline: Pipeline) -> None:
    """No provider could have it in its cache."""
    prepare(pipeline, asking(FIRST))
    assert outcome(prepare(pipeline, asking(SECOND, f"Page 21. {LONG}"))) == "compressed"


def test_a_short_beginning_is_in_nobodys_cache(pipeline: Pipeline) -> None:
    prepare(pipeline, asking(FIRST, PASSAGES[0] + PASSAGES[1]))
    assert outcome(prepare(pipeline, asking(SECOND, PASSAGES[0] + PASSAGES[1]))) == "compressed"


def test_after_a_while_the_cache_is_cold(pipeline: Pipeline, clock: Clock) -> None:
    prepare(pipeline, asking(FIRST))
    clock.seconds += 20 * 60
    assert outcome(prepare(pipeline, asking(SECOND))) == "compressed"


def test_an_application_that_brings_large_texts_is_watched_first(new: Pipeline) -> None:
    seen = [outcome(prepare(new, asking(FIRST, f"Page {n}. " + LONG * 5))) for n in range(12)]
    assert seen == [LIKELY] * 10 + ["compressed"] * 2


def test_other_texts_are_shortened_from_the_first_request_on(new: Pipeline) -> None:
    assert outcome(prepare(new, asking(FIRST))) == "compressed"


def test_what_is_too_short_for_a_cache_is_shortened_from_the_first_request_on(new: Pipeline) -> None:
    assert outcome(prepare(new, asking(FIRST, PASSAGES[0] + PASSAGES[1]))) == "compressed"


def test_an_application_whose_texts_come_again_is_known_by_and_by(pipeline: Pipeline) -> None:
    texts = [f"{n}. {LONG}" for n in range(12)]
    seen = [outcome(prepare(pipeline, asking(question, text))) for text in texts for question in (FIRST, SECOND, THIRD)]
    assert seen[:3] == ["compressed", PINNED, PINNED]
    assert seen[-3:] == [LIKELY, PINNED, PINNED]


def test_one_that_brings_new_texts_is_not_held_back_by_a_few_that_come_again(pipeline: Pipeline) -> None:
    for n in range(6):
        assert outcome(prepare(pipeline, asking(FIRST, f"{n}. {LONG}"))) == "compressed"
    prepare(pipeline, asking(SECOND, f"0. {LONG}"))
    assert outcome(prepare(pipeline, asking(SECOND, f"7. {LONG}"))) == "compressed"


@pytest.mark.parametrize("where", ["message", "part"])
def test_what_the_caller_marks_for_the_cache_is_not_shortened_for_a_question(pipeline: Pipeline, where: str) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    [rules, asked] = asking(FIRST, f"1. {LONG}")
    part = {"type": "text", "text": asked["content"]}
    marked = asked | mark if where == "message" else asked | {"content": [part | mark]}
    assert outcome(prepare(pipeline, [rules, marked])) == PINNED
    assert outcome(prepare(pipeline, [rules | mark, *asking(FIRST, f"0. {LONG}")[1:]])) == "compressed"


def test_requests_with_other_cache_keys_do_not_share_a_cache(pipeline: Pipeline) -> None:
    for key in ("a", "b"):
        for n in range(8):
            prepare(pipeline, asking(FIRST, f"{key}{n}. {LONG}"), prompt_cache_key=key)
    prepare(pipeline, asking(FIRST), prompt_cache_key="a")
    assert outcome(prepare(pipeline, asking(SECOND), prompt_cache_key="b")) == "compressed"
    assert outcome(prepare(pipeline, asking(THIRD), prompt_cache_key="a")) == PINNED


def test_in_a_conversation_the_form_stays_whatever_others_ask(pipeline: Pipeline) -> None:
    first = prepare(pipeline, asking(FIRST))
    whole = prepare(pipeline, asking(SECOND))
    for begun, question in ((first, FIRST), (whole, SECOND)):
        later = [*asking(question), {"role": "assistant", "content": "Yes."}, user("Why?")]
        sent = json.loads(prepare(pipeline, later).body)["messages"]
        assert sent[:2] == json.loads(begun.body)["messages"]


def test_chats_about_one_document_are_known_by_and_by(new: Pipeline) -> None:
    """Context in a system message that several turns lean on is needed whole."""
    later = [{"role": "assistant", "content": "Yes."}, user(SECOND)]
    opened = []
    for n in range(10):
        chat = [system(f"{RULES}\n\n# Documents\n\n{LONG} The bike {n} is new."), user(FIRST)]
        opened.append(outcome(prepare(new, chat)))
        prepare(new, [*chat, *later])
    assert opened[0] == "compressed"
    assert opened[-5:] == [LIKELY] * 5


def test_a_compressor_that_costs_more_than_it_saves_is_spared() -> None:
    dear = Market(usd=2e-8, usd_per_second=10.0)
    pipeline = Pipeline(Compression(20_000, bypass_share=0), market=lambda route, model: dear)
    taught(pipeline)  # now it is known how long that takes, too
    assert outcome(prepare(pipeline, asking(FIRST))) == "costs more than it saves"
    pipeline.close()


def test_a_body_that_left_whole_for_a_deadline_is_shortened_when_it_is_sent_again(clock: Clock) -> None:
    pipeline = Pipeline(Compression(0.001, bypass_share=0), sketch=Sketch(now=clock))
    assert prepare(pipeline, asking(FIRST)).measured.outcome is Outcome.FAILED_OPEN
    pipeline.deadline = 20.0
    taught(pipeline)
    assert outcome(prepare(pipeline, asking(FIRST))) == "compressed"
    pipeline.close()


def test_where_each_request_has_other_instructions_its_caller_is_known_all_the_same(new: Pipeline) -> None:
    seen = []
    for n in range(14):
        messages = [system(f"It is {n} o'clock. {RULES}"), *asking(FIRST, f"Page {n}. " + LONG * 5)[1:]]
        seen.append(outcome(prepare(new, messages)))
    assert seen[0] == LIKELY
    assert seen[-2:] == ["compressed"] * 2


def test_a_mark_that_moves_on_leaves_what_was_marked_as_it_was(tmp_path: Path) -> None:
    """Another machine, which knows nothing, takes the second turn."""
    mark = {"cache_control": {"type": "ephemeral"}}
    [rules, asked] = asking(FIRST)
    later = [{"role": "assistant", "content": "Yes."}, user("Why?") | mark]
    assert outcome(prepare(machine(tmp_path / "a"), [rules, asked | mark])) == PINNED
    sent = prepare(machine(tmp_path / "b"), [rules, asked, *later])
    assert json.loads(sent.body)["messages"][1] == asked


def test_a_dated_name_or_another_key_does_not_change_a_form(pipeline: Pipeline) -> None:
    first = json.loads(prepare(pipeline, asking(FIRST)).body)["messages"]
    later = [*asking(FIRST), {"role": "assistant", "content": "Yes."}, user("Why?")]
    prepare(pipeline, asking(SECOND))
    dated: dict[str, Any] = {"model": "gpt-5-2025-08-07"}
    for more in (dated, {"prompt_cache_key": "new"}):
        assert json.loads(prepare(pipeline, later, **more).body)["messages"][:2] == first


def test_an_audit_says_what_would_be_removed_and_changes_nothing_for_later(pipeline: Pipeline) -> None:
    audit = replace(WORDS, mode=Mode.AUDIT)
    taught(pipeline, policy=audit)
    found = [prepare(pipeline, asking(question), policy=audit) for question in (FIRST, SECOND, THIRD)]
    assert [one.measured.outcome for one in found] == [Outcome.AUDITED, Outcome.UNTOUCHED, Outcome.UNTOUCHED]
    assert outcome(prepare(pipeline, asking(SECOND))) == "compressed"


def test_a_slot_that_holds_nonsense_is_passed_over(clock: Clock) -> None:
    sketch = Sketch(now=clock)
    pipeline = Pipeline(Compression(20_000, bypass_share=0), sketch=sketch)
    put, sketch.put = sketch.put, lambda key, one, two=0: put(key, 77, two)  # type: ignore[method-assign]
    prepare(pipeline, asking(FIRST))
    assert prepare(pipeline, asking(FIRST)).measured.outcome is not Outcome.FAILED_OPEN
    pipeline.close()


def test_what_gains_nothing_says_so_in_every_turn(pipeline: Pipeline) -> None:
    tidy = asking(FIRST, "A bike has two wheels and a box in front of it. " * 12)
    safe = PRESETS["safe"]
    first = prepare(pipeline, tidy, policy=safe)
    later = prepare(pipeline, [*tidy, {"role": "assistant", "content": "Yes."}, user("Why?")], policy=safe)
    assert dict(first.measured.reasons)["no gain"] == dict(later.measured.reasons)["no gain"] == 1


def machine(path: Path) -> Pipeline:
    return Pipeline(Compression(20_000, bypass_share=0), sketch=Sketch(path))


def test_what_left_whole_for_want_of_time_stays_whole_in_later_turns(pipeline: Pipeline) -> None:
    release = threading.Event()
    busy = [pipeline._worker.submit(release.wait, 30) for _ in range(2)]
    pipeline._worker._typical = 100.0
    conversation = asking(FIRST)
    first = prepare(pipeline, conversation)
    release.set()
    assert all(job.result(10) for job in busy)
    assert first.measured.reason == "overloaded"
    conversation += [{"role": "assistant", "content": "Yes, if it has a bench and a belt."}, user(SECOND)]
    second = prepare(pipeline, conversation)
    assert json.loads(second.body)["messages"][:2] == json.loads(first.body)["messages"]
    assert prepare(pipeline, asking(FIRST), b"ben").measured.outcome is Outcome.COMPRESSED, "not so for others"


def test_what_left_short_before_stays_short_when_there_was_no_time_in_between(pipeline: Pipeline) -> None:
    conversation = asking(FIRST)
    first = prepare(pipeline, conversation)
    assert first.measured.outcome is Outcome.COMPRESSED
    conversation += [{"role": "assistant", "content": "Yes, if it has a bench and a belt."}, user(SECOND)]
    release = threading.Event()
    for _ in range(2):
        pipeline._worker.submit(release.wait, 30)
    pipeline._worker._typical = 100.0
    assert prepare(pipeline, conversation).measured.reason == "overloaded"
    release.set()
    pipeline._worker._typical = 0.0
    conversation += [{"role": "assistant", "content": "A brake check."}, user(THIRD)]
    third = prepare(pipeline, conversation)
    assert json.loads(third.body)["messages"][:2] == json.loads(first.body)["messages"]


def test_a_deadline_that_passes_while_it_is_settled_breaks_nothing() -> None:
    """At each point at which the deadline may pass, the event loop reads what the thread has got so far."""
    seen: list[Seen] = []

    def market(*_: str) -> Market:
        seen[0].failed(b"{}")  # as the event loop would, just now
        return Market()

    recognised = Recognised(Sketch(), Pace())
    seen.append(Seen(recognised, b"anna", market))
    raw = json.dumps({"model": "gpt-5", "messages": asking(FIRST)}).encode()
    examined = examine(raw, Stages())
    assert seen[0].settle(examined, WORDS.plan(examined.segments)).steps
    seen[0].failed(raw)
