"""A provider on this machine that answers from a script, out of the text that it really received.

What it answers to a question is the sentence that holds the fact asked for. If that sentence was cut away on the
way, it says so: then the demo shows it.
"""

import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from compressors.tokenizers import counter
from proxy.demo.cases import Line
from proxy.server import listen
from proxy.tokens import encoding_for

NOT_FOUND = "That is not in what I was given."
PER_MESSAGE = 4
"""Tokens that the frame of a message takes, about."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n|(?<=\},)")


class Scripted:
    """`lines` by the name of the request. Keeps the last body of each name, as it came."""

    def __init__(self, lines: Mapping[str, Line]) -> None:
        self._lines = lines
        self.received: dict[str, bytes] = {}
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw)
        name = body["metadata"]["demo"]
        self.received[name] = raw
        message = answer(self._lines[name], body["messages"])
        usage = _usage(body, message)
        if body.get("stream"):
            return StreamingResponse(_events(body, message, usage), media_type="text/event-stream")
        reason = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return JSONResponse(_object(body, "chat.completion") | {"choices": [choice], "usage": usage})


def answer(line: Line, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message for these messages."""
    if line.call:
        call = {"name": line.call, "arguments": json.dumps({"query": "Fjord Outdoor"})}
        calls = [{"index": 0, "id": "call_1", "type": "function", "function": call}]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    return {"role": "assistant", "content": line.say or _sentence(line.fact, messages)}


def _sentence(fact: str, messages: list[dict[str, Any]]) -> str:
    for message in messages:
        for sentence in _SENTENCE_END.split(message["content"] or ""):
            if fact in sentence:
                return sentence.strip()
    return NOT_FOUND


def _usage(body: dict[str, Any], message: dict[str, Any]) -> dict[str, int]:
    count = counter(encoding_for(body["model"])[0]).count
    prompt = sum(count(m["content"] or "") + PER_MESSAGE for m in body["messages"])
    completion = count(message["content"] or json.dumps(message["tool_calls"]))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _object(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-demo", "object": kind, "created": int(time.time()), "model": body["model"]}


async def _events(body: dict[str, Any], message: dict[str, Any], usage: dict[str, int]) -> AsyncIterator[str]:
    frame = _object(body, "chat.completion.chunk")
    pieces = re.findall(r"\s*\S+", message["content"] or "")
    deltas = [message] if "tool_calls" in message else [{"content": piece} for piece in pieces]
    for delta in deltas:
        yield _event(frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    reason = "tool_calls" if "tool_calls" in message else "stop"
    yield _event(frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    if body.get("stream_options", {}).get("include_usage"):
        yield _event(frame | {"choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


@contextmanager
def serving(provider: Scripted) -> Iterator[str]:
    """Serves from a thread on a free local port while the block lasts. Gives the base URL, without a path."""
    listener: socket.socket = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(provider.app, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), name="demo-provider", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
