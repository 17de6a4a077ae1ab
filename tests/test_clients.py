"""openai-python works through the proxy as if it were not there."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import openai
import pytest
from conftest import Service
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from provider import Act, Provider, delta, event, stream_head, whole
from pydantic import BaseModel

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(params=["off", "audit", "balanced"])
def client(request: pytest.FixtureRequest, service: Service, fake: Provider) -> Iterator[OpenAI]:
    url = service.start(fake.url + "/v1", request.param)
    with OpenAI(base_url=url + "/v1", api_key="sk-caller", max_retries=0) as it:
        yield it


def tool(name: str) -> ChatCompletionToolParam:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


def test_chat(client: OpenAI, fake: Provider) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.choices[0].message.content == "hello there"
    assert fake.last.header("authorization") == [b"Bearer sk-caller"]
    assert fake.last.target == "/v1/chat/completions"


def test_streaming_with_usage(client: OpenAI) -> None:
    options: openai.types.chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True, stream_options=options)
    parts = list(stream)
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "hello there"
    assert parts[-1].usage is not None
    assert parts[-1].usage.prompt_tokens == 40


@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls(client: OpenAI, stream: bool) -> None:
    tools = [tool("weather"), tool("time")]
    if stream:
        with client.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=tools) as events:
            for _ in events:
                pass
            calls = events.get_final_completion().choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == ["weather", "time"]
    else:
        answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=tools)
        assert len(answer.choices[0].message.tool_calls or []) == 2


def test_tool_results_go_back(client: OpenAI, fake: Provider) -> None:
    call: ChatCompletionMessageParam = {
        "role": "assistant",
        "tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    }
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": "call_0", "content": "sunny"}
    client.chat.completions.create(model="gpt-4o", messages=[*HELLO, call, result], tools=[tool("weather")])
    assert fake.last.json()["messages"] == [*HELLO, call, result]


class Place(BaseModel):
    city: str


def test_structured_output(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Place)
    assert answer.choices[0].message.parsed == Place(city="Paris")


def test_images(client: OpenAI, fake: Provider) -> None:
    image: ChatCompletionMessageParam = {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ],
    }
    client.chat.completions.create(model="gpt-4o", messages=[image])
    assert fake.last.json()["messages"] == [image]


def test_everything_else_passes(client: OpenAI, fake: Provider) -> None:
    assert [model.id for model in client.models.list()] == ["gpt-4o"]
    vectors = client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
    assert vectors.data[0].embedding == [0.25, -0.5]
    assert client.responses.create(model="gpt-4o", input="Hello?").output_text == "hello there"
    assert client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch").id == "file-1"
    assert b'filename="a.jsonl"' in fake.last.body
    audio = io.BytesIO(b"RIFF\x00\xff")
    audio.name = "a.wav"
    assert client.audio.transcriptions.create(model="whisper-1", file=audio).text == "hello there"
    assert b"RIFF\x00\xff" in fake.last.body
    assert client.audio.speech.create(model="tts-1", voice="alloy", input="x").content == b"ID3\x00\xff\xfe"


def test_the_providers_errors_are_the_providers(client: OpenAI, fake: Provider) -> None:
    error = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    fake.script(whole(error, (b"retry-after", b"7"), (b"x-request-id", b"req_9"), status=429))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.request_id == "req_9"
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_stream_that_breaks_raises_after_what_came(client: OpenAI, fake: Provider) -> None:
    fake.script(stream_head() + event(delta("hello ")), Act.CLOSE)
    stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
    assert next(stream).choices[0].delta.content == "hello "
    with pytest.raises(openai.APIConnectionError):
        next(stream)


def test_the_async_client_and_many_at_once(service: Service, fake: Provider) -> None:
    url = service.start(fake.url, "balanced")

    @asynccontextmanager
    async def connected() -> AsyncIterator[AsyncOpenAI]:
        async with AsyncOpenAI(base_url=url + "/v1", api_key="sk-caller", max_retries=0) as it:
            yield it

    async def streamed(it: AsyncOpenAI) -> str:
        stream = await it.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        return "".join([part.choices[0].delta.content or "" async for part in stream])

    async def story() -> list[str]:
        async with connected() as it:
            return await asyncio.gather(*(streamed(it) for _ in range(20)))

    assert asyncio.run(story()) == ["hello there"] * 20
