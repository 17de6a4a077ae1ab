"""Workloads: threads of requests, and when each of them comes.

A thread is a series of requests that follow each other: the turns of one conversation, each carrying all before it with
the original answers, or one-off questions about the same document. Threads run beside each other. Pauses are drawn with
fixed seeds: log-normal with a median and a spread that people or programs have, so that a few outlast a cache.
"""

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

Message = dict[str, Any]
Messages = list[Message]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: the median pause within a thread, its spread (sigma of the logarithm), the mean between two threads."""

    pause: float
    spread: float
    between: float


PEOPLE = Pace(40.0, 1.2, 25.0)
AGENTS = Pace(8.0, 0.8, 20.0)
READERS = Pace(60.0, 1.2, 60.0)  # of a document that others ask about as well
SINGLE = Pace(0.0, 0.0, 5.0)


@dataclass(frozen=True, slots=True)
class Request:
    """`at`: seconds since the beginning; `thread`: which one it belongs to."""

    at: float
    thread: int
    messages: Messages


@dataclass(frozen=True, slots=True)
class Workload:
    """`keyed`: the client names each thread in `prompt_cache_key`; `grows`: later requests of a thread carry the
    earlier ones, so a client that marks prefixes would mark the newest message too."""

    name: str
    requests: tuple[Request, ...]
    keyed: bool = False
    grows: bool = True


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def call(id: str, name: str, arguments: str) -> Message:
    tool = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [tool]}


def tool(id: str, text: str) -> Message:
    return {"role": "tool", "tool_call_id": id, "content": text}


def turns(conversation: Messages) -> list[Messages]:
    """What a client sends each time that it is the model's turn."""
    places = [n for n, m in enumerate(conversation) if m["role"] == "assistant" and n]
    places += [len(conversation)] if conversation[-1]["role"] != "assistant" else []
    return [conversation[:n] for n in places if conversation[n - 1]["role"] in ("user", "tool")]


def timed(threads: Iterable[list[Messages]], pace: Pace, limit: int, seed: str) -> tuple[Request, ...]:
    """The first `limit` requests of the threads, in the order in which they come. The threads take their turns as they
    would: those that began later are cut off no earlier than others."""
    draw = random.Random(zlib.crc32(seed.encode()))
    found: list[Request] = []
    began = 0.0
    for number, thread in enumerate(_enough(threads, limit)):
        at = began
        for messages in thread:
            found.append(Request(at, number, messages))
            at += draw.lognormvariate(0.0, pace.spread) * pace.pause
        began += draw.expovariate(1 / pace.between)
    return tuple(sorted(found, key=lambda r: (r.at, r.thread)))


def _enough(threads: Iterable[list[Messages]], limit: int) -> Iterator[list[Messages]]:
    """Threads until they hold `limit` requests; the last one is cut short."""
    for thread in threads:
        if limit <= 0:
            return
        yield thread[:limit]
        limit -= len(thread)


def marked(messages: Sequence[Message], newest: bool) -> Messages:
    """The same with `cache_control` at the end of the system message and, if `newest`, of the last one."""
    found = list(messages)
    places = {0} if found[0]["role"] == "system" else set()
    places |= {len(found) - 1} if newest else set()
    for n in places:
        part = {"type": "text", "text": found[n]["content"], "cache_control": {"type": "ephemeral"}}
        found[n] = found[n] | {"content": [part]}
    return found


def context(documents: Iterable[tuple[str, str]]) -> str:
    """Passages with their titles, as retrieval chains write them."""
    return "\n\n".join(f"[{n}] {title}\n{text}" for n, (title, text) in enumerate(documents, 1))


def first(items: Iterable[Any], count: int) -> list[Any]:
    return list(islice(items, count))
