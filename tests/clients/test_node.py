"""openai-node through the proxy: it gets the same answers, and the provider the same requests, as without it."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Service
from prompts import LONG, POLICIES, is_shortened, prompt
from provider import Provider, Request, whole

HERE = Path(__file__).parent
pytestmark = pytest.mark.clients
EXPECTED = {
    "chat": "hello there",
    "stream": {"text": "hello there", "prompt_tokens": 40},
    "tools": ["weather", "time"],
    "stream_tools": ["weather", "time"],
    "structured": {"city": "Paris"},
    "image": "hello there",
    "embeddings": [0.25, -0.5],
    "models": ["gpt-4o"],
    "responses": "hello there",
    "files": "file-1",
    "transcription": "hello there",
    "speech": b"ID3\x00\xff\xfe".hex(),
}


def node(scenario: str, url: str) -> Any:
    """What the scenario printed, run with nothing but the two variables that applications set."""
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    told = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "sk-caller", "LONG_PROMPT": LONG}
    command = ["node", "scenarios.mjs", scenario]
    done = subprocess.run(command, cwd=HERE, env=known | told, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def seen(request: Request) -> tuple[str, str, bytes, list[bytes]]:
    """What must not differ between a request sent directly and one sent through the proxy. The boundary between the
    parts of a form is drawn anew for each request."""
    body = re.sub(rb"-{2,}[A-Za-z]*FormBoundary\w+|formdata-[\w-]+", b"BOUNDARY", request.body)
    return request.method, request.target, body, request.header("authorization")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("scenario", EXPECTED)
def test_answers_and_requests_are_those_of_a_direct_call(
    service: Service, fake: Provider, scenario: str, policy: str
) -> None:
    direct = node(scenario, fake.url)
    sent = seen(fake.last)
    through = node(scenario, service.start(fake.url, policy))
    assert direct == through == EXPECTED[scenario]
    assert seen(fake.last) == sent
    assert len(fake.requests) == 2


@pytest.mark.parametrize("scenario", ["long_chat", "long_stream"])
def test_a_long_prompt_is_shortened_by_balanced_only(service: Service, fake: Provider, scenario: str) -> None:
    answers = [node(scenario, service.start(fake.url, policy)) for policy in POLICIES]
    assert answers[0] == answers[1]
    off, balanced = map(prompt, fake.requests)
    assert off == LONG
    assert is_shortened(balanced)


def test_the_providers_errors_arrive(service: Service, fake: Provider) -> None:
    error = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    fake.script(whole(error, (b"retry-after", b"7"), (b"x-request-id", b"req_9"), status=429))
    told = node("errors", service.start(fake.url, "balanced"))
    assert told == {"status": 429, "code": "rate_limit_exceeded", "id": "req_9", "retry": "7"}
