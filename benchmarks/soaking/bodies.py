"""Request bodies of the soak: made anew for each request, so that no cache answers for all of them."""

import json
from random import Random

SUBJECTS = ("The ferry", "Our warehouse", "The second turbine", "The archive", "A courier", "The night shift")
VERBS = ("reached", "replaced", "reported", "measured", "delayed", "repaired", "recorded", "closed")
OBJECTS = ("the northern gate", "a loose valve", "the cold store", "two sealed boxes", "an old ledger")
ENDINGS = ("before the storm", "after the inspection", "without any notice", "as agreed")
FAR = "für Łódź – 東京 😀"
SYSTEM = "Answer from the context only. Name the passage that you used."


def _sentence(chance: Random) -> str:
    parts = (chance.choice(SUBJECTS), chance.choice(VERBS), chance.choice(OBJECTS))
    return f"{' '.join(parts)} on day {chance.randrange(1, 365)} {chance.choice((*ENDINGS, FAR))}."


def _asked(chance: Random, characters: int) -> str:
    passages: list[str] = []
    size = 0
    while size < characters:
        passages.append(f"[{len(passages) + 1}] " + " ".join(_sentence(chance) for _ in range(8)))
        size += len(passages[-1])
    question = f"Who {chance.choice(VERBS)} {chance.choice(OBJECTS)}, and on which day?"
    return "Context:\n\n" + "\n\n".join(passages) + f"\n\nQuestion: {question}"


def _chat(messages: list[dict[str, object]], chance: Random, **more: object) -> bytes:
    document = {"model": "gpt-4o", "messages": messages, "temperature": 1.0, **more}
    return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode()


def chat(chance: Random, characters: int = 0) -> bytes:
    """A question about passages: 1 to 12 thousand characters where no size is given."""
    content = _asked(chance, characters or chance.randrange(1000, 12_000))
    return _chat([{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}], chance)


def streamed(chance: Random) -> bytes:
    content = _asked(chance, chance.randrange(1000, 12_000))
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return _chat([{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}], chance, **options)


def talk(chance: Random) -> bytes:
    """Several turns, with a tool's answer in JSON among them."""
    messages: list[dict[str, object]] = [{"role": "system", "content": SYSTEM}]
    for turn in range(chance.randrange(2, 6)):
        rows = json.dumps([{"day": n, "note": _sentence(chance), "open": None} for n in range(20)], indent=2)
        call = {"id": f"call_{turn}", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        messages += [
            {"role": "user", "content": _asked(chance, 1500)},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": rows},
            {"role": "assistant", "content": _sentence(chance)},
        ]
    return _chat([*messages, {"role": "user", "content": _asked(chance, 1500)}], chance)


def big(chance: Random) -> bytes:
    """Up to 2 MB of the same few passages."""
    content = _asked(chance, 20_000) * chance.randrange(10, 100)
    return _chat([{"role": "user", "content": content}], chance)


def hostile(chance: Random) -> bytes:
    """Bodies that are no chat, or hardly: to be passed on as they are."""
    return chance.choice(
        (
            b"",
            b"{",
            b"null",
            b'{"messages": ' + b"[" * 50_000,
            b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud800 \\u0000"}]}',
            b'{"model": "gpt-4o", "n": 1e400, "n": NaN, "messages": [{"role": "user", "content": 7}]}',
            b"\xff\xfe\x00" + chance.randbytes(2000),
        )
    )


def embeddings(chance: Random) -> bytes:
    return json.dumps({"model": "text-embedding-3-small", "input": [_sentence(chance) for _ in range(20)]}).encode()


def nothing(chance: Random) -> bytes:
    del chance
    return b""


def file(chance: Random) -> bytes:
    return chance.randbytes(chance.randrange(1000, 3_000_000))


def oversized(chance: Random) -> bytes:
    """More than the soak's configuration allows."""
    del chance
    return b'{"messages": [' + b" " * 9 * 2**20
