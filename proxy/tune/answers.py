"""Two answers to one request, compared."""

import json
from typing import Any

from proxy.guard.compare import same_json, word_f1


def agreement(a: str, b: str) -> float:
    """0 to 1, as the quality guard has it. JSON (structured output, tool calls) is the same or not; of text, the F1 of
    its words."""
    structured = _json(a) is not None or _json(b) is not None
    return float(same_json(a, b)) if structured else word_f1(a, b)


def text_of(answer: Any) -> str | None:
    """What a whole chat completion says: its text, or its tool calls as JSON; None where it is none."""
    try:
        message = answer["choices"][0]["message"]
        if calls := message.get("tool_calls"):
            return json.dumps([_call(call["function"]) for call in calls], sort_keys=True)
        content = message.get("content")
    except (LookupError, TypeError, AttributeError):
        return None
    return content if isinstance(content, str) else None


def _call(function: Any) -> dict[str, object]:
    arguments = _json(function["arguments"])
    return {"name": function["name"], "arguments": function["arguments"] if arguments is None else arguments}


def _json(text: str) -> object:
    """An object or a list; None for anything else."""
    if text.strip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
