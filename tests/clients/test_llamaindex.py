"""LlamaIndex through the proxy. It reads OPENAI_API_BASE and not OPENAI_BASE_URL; nothing else is particular to it."""

from collections.abc import Callable

import pytest
from conftest import Service
from llama_index.core import PromptTemplate
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI
from prompts import LONG, POLICIES, is_shortened, prompt
from provider import Provider
from pydantic import BaseModel

pytestmark = pytest.mark.clients
HELLO = [ChatMessage(role="user", content="Hello?")]


class Place(BaseModel):
    """A place."""

    city: str


def weather() -> str:
    """The weather."""
    return "sunny"


def time() -> str:
    """The time."""
    return "noon"


def llm() -> OpenAI:
    return OpenAI(model="gpt-4o", max_retries=0)


def ask() -> object:
    return llm().chat(HELLO).message.content


def stream() -> object:
    return [answer.message.content for answer in llm().stream_chat(HELLO)][-1]


def tools() -> object:
    offered = [FunctionTool.from_defaults(weather), FunctionTool.from_defaults(time)]
    answer = llm().chat_with_tools(offered, user_msg="Hello?", allow_parallel_tool_calls=True)
    return [call.tool_name for call in llm().get_tool_calls_from_response(answer)]


def structured() -> object:
    return llm().structured_predict(Place, PromptTemplate("Hello?"))


def embeddings() -> object:
    return OpenAIEmbedding(model="text-embedding-3-small", max_retries=0).get_text_embedding("x")


EXPECTED: dict[Callable[[], object], object] = {
    ask: "hello there",
    stream: "hello there",
    tools: ["weather", "time"],
    structured: Place(city="Paris"),
    embeddings: [0.25, -0.5],
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("scenario", EXPECTED, ids=lambda it: it.__name__)
def test_answers_and_requests_are_those_of_a_direct_call(
    service: Service, fake: Provider, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[], object], policy: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-caller")
    monkeypatch.setenv("OPENAI_API_BASE", f"{fake.url}/v1")
    direct = scenario()
    monkeypatch.setenv("OPENAI_API_BASE", f"{service.start(fake.url, policy)}/v1")
    assert scenario() == direct == EXPECTED[scenario]
    first, second = fake.requests
    assert (first.target, first.body) == (second.target, second.body)
    assert second.header("authorization") == [b"Bearer sk-caller"]


def test_a_long_prompt_is_shortened_by_balanced_only(
    service: Service, fake: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-caller")
    for policy in POLICIES:
        monkeypatch.setenv("OPENAI_API_BASE", f"{service.start(fake.url, policy)}/v1")
        assert llm().complete(LONG).text == "hello there"
    off, balanced = map(prompt, fake.requests)
    assert off == LONG
    assert is_shortened(balanced)
