"""What a compressor takes too much of is put back: nothing is left empty, nothing protected is lost, nothing grows."""

import json
from collections.abc import Callable, Sequence

import pytest
from conftest import Service
from layouts import CALL, LAYOUTS, QUESTION, body, tool, user
from provider import Provider
from raw import ask, chat, value

from compressors import Budget, Kept, Rate, Task, Threshold, Tokens, load
from compressors.tokenizers import counter
from policies.base import Kind, Plan, Segment, Step
from policies.budget import LOSSLESS
from policies.presets import PRESETS
from policies.routes import Route
from proxy import wire
from proxy.pipeline import Pipeline
from proxy.settings import Compression, Settings, Upstream
from proxy.shorten import Cut, Examined, _Verified

PROSE = "The mill stands by the river and its wheel turns slowly. Swallows nest under the roof of the old barn. " * 9


class Taking:
    """Keeps what it is told to keep."""

    def __init__(self, keep: Callable[[Task], tuple[tuple[int, int], ...]]) -> None:
        self.keep = keep

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        return [Kept(self.keep(task)) for task in tasks]


def sent(service: Service, fake: Provider, raw: bytes, keep: Callable[[Task], tuple[tuple[int, int], ...]]) -> bytes:
    """The reason that the caller is told, once the provider has got the very bytes that the caller sent."""
    it = Settings({"fake": Upstream("fake", fake.url)}, (Route("default", "fake", "aggressive"),), PRESETS)
    url = service.start_with(it, Pipeline(Compression(5000, bypass_share=0), lambda name: Taking(keep)))
    headers = ask(url, chat(raw))[1]
    assert fake.last.body == raw
    assert value(headers, b"x-laconic-outcome") == b"untouched"
    return value(headers, b"x-laconic-reason") or b""


def test_a_text_of_which_nothing_would_be_left_is_put_back(service: Service, fake: Provider) -> None:
    """APIs refuse an empty content of a tool or a user."""
    raw = body([user(QUESTION), CALL, tool(PROSE)])
    assert sent(service, fake, raw, lambda task: ()) == b"restored: nothing would be left"


@pytest.mark.parametrize("budget", [Tokens(0), Rate(0.001), Threshold(1)])
def test_no_budget_takes_the_best_unit(budget: Budget) -> None:
    (kept,) = load("lexical").compress([Task(PROSE + "The miller is called Ada.", budget, "Who is the miller?")])
    assert "Ada" in "".join((PROSE + "The miller is called Ada.")[a:b] for a, b in kept.spans)


@pytest.mark.parametrize("layout", ["labels", "tags", "developer"])
def test_a_compressor_that_drops_what_is_protected_changes_nothing(
    service: Service, fake: Provider, layout: str
) -> None:
    raw = body(LAYOUTS[layout])
    reason = sent(service, fake, raw, lambda task: ((0, task.protected[-1][0]),))
    assert reason == b"restored: it would have lost protected text"


count = counter("o200k_base").count


def part(text: str, start: int, end: int) -> Segment:
    return Segment(0, 0, None, start, end, Kind.CONTEXT, "user", text[start:end], tokens=count(text[start:end]))


def test_of_two_stretches_the_one_that_grows_is_put_back() -> None:
    """However much the other one saves."""
    word = " internationalization"
    text, split = word[:4] + word[5:], 4
    assert count(text) > count(word)
    whole, edge = PROSE + word, len(PROSE)
    request = wire.parse(json.dumps({"messages": [user(whole)]}).encode())
    own = part(whole, 0, edge), part(whole, edge, len(whole))
    steps = Step(0, 0, edge, (0,), "test", LOSSLESS, ""), Step(0, edge, len(whole), (1,), "test", LOSSLESS, "")
    cuts = {steps[0]: Cut(((9, 400),)), steps[1]: Cut(((edge + split, edge + split + 1),))}
    found = _Verified(Examined(request, own, "o200k_base", False), Plan(steps, ("planned", "planned")), cuts)
    assert found.texts == {0: whole[:9] + whole[400:]}
    assert found.reasons == ["compressed", "no gain"]


def test_a_text_that_has_as_many_tokens_as_before_is_put_back() -> None:
    """A segment may count fewer by itself, and the text that it stands in no fewer."""
    text, cut = "the wheel turns slowly", (9, 10)
    segment = text[: cut[1]]
    assert count(segment[: cut[0]]) < count(segment)
    assert count(text[: cut[0]] + text[cut[1] :]) >= count(text)
    request = wire.parse(json.dumps({"messages": [user(text)]}).encode())
    own = part(text, 0, cut[1])
    step = Step(0, 0, cut[1], (0,), "test", LOSSLESS, "")
    found = _Verified(Examined(request, (own,), "o200k_base", False), Plan((step,), ("planned",)), {step: Cut((cut,))})
    assert found.texts == {}
    assert found.reasons == ["no gain"]
    assert found.tokens == [own.tokens]
