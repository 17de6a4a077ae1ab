"""Sends the requests of the demo through a real proxy to the scripted provider, and notes what came of each."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from compressors.tokenizers import counter
from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.demo.cases import MODEL, Case
from proxy.demo.provider import Scripted, serving
from proxy.pipeline import Pipeline
from proxy.server import running
from proxy.settings import Compression, Settings, Upstream
from proxy.tokens import encoding_for

ROUTES = (
    Route("rag", "demo", "balanced", path="/rag"),
    Route("support", "demo", "aggressive", path="/support"),
    Route("agent", "demo", "balanced", path="/agent"),
    Route("default", "demo", "balanced"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One request. `before`, `after`: tokens of its texts, None where nobody counted. `kept`: whether the answer
    holds what the answer to the original holds. `sent`, `received`: the bodies on both sides of the proxy."""

    case: Case
    route: str
    outcome: str
    reason: str
    before: int | None
    after: int | None
    ms: float
    kept: bool
    prompt_tokens: int
    sent: bytes
    received: bytes


class Session:
    """A client of the proxy at `url`, behind which `provider` stands."""

    def __init__(self, url: str, provider: Scripted, client: httpx.Client) -> None:
        self._url = url
        self._provider = provider
        self._client = client

    def send(self, case: Case) -> Result:
        """Raises `httpx.HTTPError` where no good answer comes."""
        sent = case.body()
        url = f"{self._url}{case.route}/v1/chat/completions"
        response = self._client.post(url, content=sent, headers={"content-type": "application/json"})
        response.raise_for_status()
        message, usage = _streamed(response.text) if case.stream else _whole(response.json())
        told = {name.removeprefix("x-laconic-"): value for name, value in response.headers.items()}
        return Result(
            case=case,
            route=told["route"],
            outcome=told["outcome"],
            reason=told.get("reason", ""),
            before=_number(told, "tokens-before"),
            after=_number(told, "tokens-after"),
            ms=float(told.get("ms", 0)),
            kept=(case.line.fact or case.line.say or case.line.call) in message,
            prompt_tokens=usage["prompt_tokens"],
            sent=sent,
            received=self._provider.received[case.name],
        )


@contextmanager
def session(cases: list[Case]) -> Iterator[Session]:
    """Starts the provider and the proxy on free local ports and stops them at the end of the block."""
    counter(encoding_for(MODEL)[0])  # read from disk once, as `laconic serve` does before it listens
    provider = Scripted({case.name: case.line for case in cases})
    with serving(provider) as upstream:
        compression = Compression(bypass_share=0)  # each request shows what compression does
        settings = Settings({"demo": Upstream("demo", upstream)}, ROUTES, PRESETS, compression=compression)
        pipeline = Pipeline(settings.compression)
        pipeline.settle(settings)  # models are loaded before the first request, as behind a load balancer
        app = create_app(lambda: settings, pipeline)
        with running(app) as url, httpx.Client(trust_env=False, timeout=30) as client:
            client.get(f"{url}/readyz").raise_for_status()
            yield Session(url, provider, client)


def _number(told: Mapping[str, str], name: str) -> int | None:
    return int(told[name]) if name in told else None


def _whole(body: dict[str, Any]) -> tuple[str, dict[str, int]]:
    return _said(body["choices"][0]["message"]), body["usage"]


def _streamed(text: str) -> tuple[str, dict[str, int]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    said = "".join(_said(choice["delta"]) for event in events for choice in event["choices"])
    return said.strip(), events[-1]["usage"]


def _said(message: dict[str, Any]) -> str:
    """The text of a message, or the name of the tool that it calls."""
    calls = message.get("tool_calls")
    return calls[0]["function"]["name"] if calls else message.get("content") or ""
