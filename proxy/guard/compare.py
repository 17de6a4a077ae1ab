"""How far two answers agree, from 0 to 1. Pure.

Tool calls agree or not: the same functions with the same arguments as JSON, in any order, since parallel calls have
none. Structured output (the request has a `response_format` of JSON) agrees where it is the same JSON. Text agrees by
the F1 of its words (Rajpurkar et al., SQuAD, EMNLP 2016): the share of words that both have; `meaning` adds what the
words mean. A refusal or an empty answer agrees with nothing.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable

from proxy.guard.answers import Answer

Likeness = Callable[[str, str], float]
"""Of two texts, from 0 to 1."""

_WORD = re.compile(
    r"(?<!\w)[-−]?\d+(?:[.,:]\d+)*"  # numbers whole and with their sign: 3.5 is not 35
    r"|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
_ARTICLES = frozenset(("a", "an", "the"))


def agreement(one: Answer, other: Answer, structured: bool = False, likeness: Likeness | None = None) -> float:
    """`structured`: the request asked for JSON; `likeness`: of texts, the F1 of their words unless given."""
    if one.empty or other.empty:
        return 0.0
    if one.calls or other.calls:
        return float(_calls(one) == _calls(other))
    if structured:
        return float(same_json(one.text, other.text))
    return (likeness or word_f1)(one.text, other.text)


def word_f1(one: str, other: str) -> float:
    """F1 of words after lower-casing, without punctuation and articles; in scripts without spaces each character is a
    word. Texts without any word agree where they are the same."""
    first, second = words(one), words(other)
    if not first or not second:
        return float(one.strip() == other.strip())
    return 2 * (first & second).total() / (first.total() + second.total())


def words(text: str) -> Counter[str]:
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return Counter([word for word in found if word not in _ARTICLES] or found)  # "A" may be all that is answered


def worse(compressed: Answer, first: Answer, second: Answer, same: Callable[[Answer, Answer], float]) -> float:
    """How much worse the compressed request's answer agrees with two answers to the original than these two agree with
    each other, -1 to 1. On average 0 where compression changes nothing: then all three come from one distribution."""
    return same(first, second) - (same(compressed, first) + same(compressed, second)) / 2


def wants_json(body: bytes) -> bool:
    """Whether a request asks for structured output."""
    try:
        asked = json.loads(body).get("response_format")
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(asked, dict) and asked.get("type") in ("json_object", "json_schema")


def _calls(answer: Answer) -> list[tuple[str, str]]:
    return sorted((name, _canonical(arguments) or arguments) for name, arguments in answer.calls)


def same_json(one: str, other: str) -> bool:
    """Whether both are the same JSON, however it is written."""
    first = _canonical(one)
    return first is not None and first == _canonical(other)


def _canonical(text: str) -> str | None:
    """One spelling for each JSON value: 1.0 is 1, keys are sorted. None where it is not JSON."""
    try:
        return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):
        return None


def _number(literal: str) -> float | int:
    value = float(literal)
    return int(value) if value.is_integer() else value
