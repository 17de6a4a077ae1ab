"""Two answers to one request, compared."""

import json
from collections import Counter
from typing import Any

from compressors.spans import terms


def agreement(a: str, b: str) -> float:
    """0 to 1. JSON (structured output, tool calls) is the same or not; of text, the F1 of its words, as SQuAD has it
    (Rajpurkar et al., 2016)."""
    left, right = _json(a), _json(b)
    if left is not None or right is not None:
        return float(left == right)
    if a == b:
        return 1.0
    words, others = Counter(terms(a)), Counter(terms(b))
    common = (words & others).total()
    return 2 * common / (words.total() + others.total()) if common else 0.0


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
