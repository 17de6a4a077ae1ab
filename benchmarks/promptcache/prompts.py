"""A chat body as the row of tokens that a model reads: each message between markup tokens, its text by o200k_base.

Providers don't say how they write messages down; a few tokens a message come close, and all arms are treated alike.
"""

import json
from functools import lru_cache
from typing import Any

import numpy as np

from compressors.tokenizers import counter
from promptcache.provider import Prompt, Tokens

_START, _MIDDLE, _END = 300_000, 300_001, 300_002  # beyond every vocabulary


@lru_cache(maxsize=50_000)
def _tokens(text: str) -> Tokens:
    """Conversations carry each message again and again: it is tokenised once."""
    return np.array(counter("o200k_base").ids(text), np.int32)


def rendered(body: bytes) -> Prompt:
    """What is billed of a chat body. Tool calls count as their JSON; tool schemas and media are not known here."""
    request = json.loads(body)
    pieces: list[Tokens] = []
    ends: list[int] = []
    marks: list[int] = []
    size = 0
    for message in request["messages"]:
        head = np.concatenate(([_START], _tokens(_speaker(message)), [_MIDDLE])).astype(np.int32)
        parts = _parts(message)
        for n, (text, marked) in enumerate(parts):
            own = [head] if n == 0 else []
            own.append(_tokens(text))
            if n == len(parts) - 1:
                own.append(np.array([_END], np.int32))
            size += sum(map(len, own))
            pieces += own
            if marked:
                marks.append(len(ends))
            ends.append(size)
    pieces.append(np.array([_START, *_tokens("assistant"), _MIDDLE], np.int32))
    return Prompt(np.concatenate(pieces), tuple(ends), tuple(marks))


def _speaker(message: dict[str, Any]) -> str:
    return " ".join(str(message[key]) for key in ("role", "name", "tool_call_id") if message.get(key))


def _parts(message: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each text of a message, and whether the caller marked its end."""
    content = message.get("content") or ""
    parts = [{"text": content}] if isinstance(content, str) else content
    found = [(str(part.get("text", "")), "cache_control" in part) for part in parts]
    if calls := message.get("tool_calls"):
        found.append((json.dumps([call["function"] for call in calls], ensure_ascii=False), False))
    return found
