"""langchain-openai through the proxy, told where to go by the environment only."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Service
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from prompts import LONG, POLICIES, is_shortened, prompt
from provider import Provider
from pydantic import BaseModel

pytestmark = pytest.mark.clients


@tool
def weather() -> str:
    """The weather."""
    return "sunny"


@tool
def time() -> str:
    """The time."""
    return "noon"


class Place(BaseModel):
    """A place."""

    city: str


def chat(**more: Any) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", max_retries=0, **more)


def ask() -> object:
    return chat().invoke("Hello?").content


def stream() -> object:
    chunks = list(chat(stream_usage=True).stream("Hello?"))
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    return "".join(str(chunk.content) for chunk in chunks), usage[-1]["input_tokens"]


def tools() -> object:
    return [call["name"] for call in chat().bind_tools([weather, time]).invoke("Hello?").tool_calls]


def streamed_tools() -> object:
    chunks = chat().bind_tools([weather, time]).stream("Hello?")
    return [call["name"] for chunk in chunks for call in chunk.tool_call_chunks]


def structured() -> object:
    return chat().with_structured_output(Place, method="json_schema").invoke("Hello?")


def embeddings() -> object:
    """Checking lengths would make the client fetch a vocabulary from the network."""
    return OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False).embed_query("x")


EXPECTED: dict[Callable[[], object], object] = {
    ask: "hello there",
    stream: ("hello there", 40),
    tools: ["weather", "time"],
    streamed_tools: ["weather", "time"],
    structured: Place(city="Paris"),
    embeddings: [0.25, -0.5],
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("scenario", EXPECTED, ids=lambda it: it.__name__)
def test_answers_and_requests_are_those_of_a_direct_call(
    service: Service, fake: Provider, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[], object], policy: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-caller")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{fake.url}/v1")
    direct = scenario()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{service.start(fake.url, policy)}/v1")
    assert scenario() == direct == EXPECTED[scenario]
    first, second = fake.requests
    assert (first.target, first.body) == (second.target, second.body)
    assert second.header("authorization") == [b"Bearer sk-caller"]


def test_a_long_prompt_is_shortened_by_balanced_only(
    service: Service, fake: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-caller")
    for policy in POLICIES:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{service.start(fake.url, policy)}/v1")
        assert chat().invoke(LONG).content == "hello there"
    off, balanced = map(prompt, fake.requests)
    assert off == LONG
    assert is_shortened(balanced)
