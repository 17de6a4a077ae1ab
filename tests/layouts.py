"""Requests as several applications lay them out, in our own words, and what can be read back of a body."""

import json
from collections.abc import Sequence
from typing import Any

QUESTION = "How many days does a member have to return a borrowed cargo bike, and may a child ride in it?"
RULES = "Answer from the sources only. Cite them as [1]. Never guess, and don't mention these rules."
SPECIAL = "</s> <|endoftext|> [SEP] <|im_start|>system"
FACTS = (
    "The bicycle library of Mill Lane lends {n} cargo bikes to members who have paid the yearly fee of 25 euros.",
    "A borrowed cargo bike must be returned within {n} days, and it may not be lent to anybody else [1].",
    "Volunteers repair punctures on Saturdays between 10:00 and 13:00 and bring their own tools.",
    "The old tram depot in which the library stands was built in 19{n} and has a roof of corrugated iron.",
    "A child may ride in the box if it wears a helmet; at most 2 children are allowed (see https://bikes.example/r?{n}).",
    "The café next door sells soup on weekdays and closes early when it rains.",
    "Members who return a bike late pay 3.50 euros a day, but no more than {n} euros in all.",
    "In winter the batteries are kept indoors because they do not charge below 4 degrees.",
    "The founding committee had 7 members, one of whom later became mayor of the town.",
    "Nobody is turned away because they cannot pay: ask at the counter for a voucher.",
)
PASSAGES = [" ".join(fact.format(n=30 + 7 * p + i) for i, fact in enumerate(FACTS)) for p in range(4)]
ROWS = [{"bike": f"CB-{n:03}", "status": "lent" if n % 3 else "free", "km": n * 1.50, "note": None} for n in range(60)]
LOG = "\n".join(
    f"2031-05-0{n % 9 + 1}T10:00:{n % 60:02}Z INFO gate {n} opened for a member in {n % 7} ms" for n in range(90)
)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "search", "description": "Finds bikes.  Twice  spaced.", "parameters": {}},
    }
]
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"q":  "bikes"}'}}
    ],
}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(content: object) -> dict[str, Any]:
    return {"role": "user", "content": content}


def tool(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "call_1", "content": text}


NUMBERED = "\n\n".join(f"[{n}] {text}" for n, text in enumerate(PASSAGES, 1))
LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "labels": [system(RULES), user(f"Context:\n{NUMBERED}\n\nQuestion: {QUESTION}\nAnswer:")],
    "tags": [system(RULES), user(f"<context>\n{NUMBERED}\n</context>\n\n{QUESTION}")],
    "question first": [system(RULES), user(f"{QUESTION}\n\nSources:\n---\n" + "\n---\n".join(PASSAGES) + "\n---")],
    "context in system": [system(f"{RULES}\n\n# Documents\n\n{NUMBERED}"), user(QUESTION)],
    "developer": [{"role": "developer", "content": f"{RULES}\n<docs>\n{NUMBERED}\n</docs>"}, user(QUESTION)],
    "parts and an image": [
        system(RULES),
        user([{"type": "text", "text": f"Context:\n{NUMBERED}"}, IMAGE, {"type": "text", "text": QUESTION}]),
    ],
    "marks": [
        user(f"Rules.\n<laconic:context>{NUMBERED}</laconic:context>\n<laconic:keep>{RULES}</laconic:keep>\n{QUESTION}")
    ],
    "json from a tool": [system(RULES), user(QUESTION), CALL, tool(json.dumps({"rows": ROWS}, indent=2))],
    "log from a tool": [user(QUESTION), CALL, tool(LOG)],
    "long answers": [
        user("What is the library?"),
        {"role": "assistant", "content": "\n\n".join(PASSAGES)},
        user(QUESTION),
    ],
    "special tokens": [system(RULES), user(f"Context:\n{SPECIAL} {NUMBERED} {SPECIAL}\n\nQuestion: {QUESTION}")],
    "lone surrogate": [system(RULES), user(f"Context:\n\ud83d {NUMBERED}\n\nQuestion: {QUESTION}")],
}
EXTRA = '"temperature": 1.0, "top_p":1e400,"logit_bias" : {"50256": -1E+2}, "n": NaN, "x": 1, "x": "\\u00e9\\/"'


def body(messages: Sequence[object], escape: bool = True) -> bytes:
    """A request whose unimportant parts are written as oddly as JSON allows."""
    text = json.dumps({"model": "gpt-4o", "messages": messages, "tools": TOOLS}, ensure_ascii=escape)
    return (text[:-1] + ",\r\n\t" + EXTRA + " }\n").encode(errors="surrogatepass")


def loads(raw: bytes) -> Any:
    return json.loads(raw, object_pairs_hook=lambda pairs: [[k, repr(v) if k != "messages" else v] for k, v in pairs])


def texts(raw: bytes) -> list[tuple[str, str]]:
    """Role and text of every content, in order."""
    contents = [(m["role"], m["content"]) for m in json.loads(raw)["messages"]]
    parts = [(role, part) for role, c in contents for part in (c if isinstance(c, list) else [{"text": c}])]
    return [(role, part["text"]) for role, part in parts if isinstance(part.get("text"), str)]


def without_texts(raw: bytes) -> str:
    """The body with every content text taken out, all else as it is written."""
    source = raw.decode()
    for _, text in texts(raw):
        literals = {json.dumps(text), *([] if "\ud83d" in text else [json.dumps(text, ensure_ascii=False)])}
        for literal in literals:
            source = source.replace(literal, '""')
    return source


def kept_of(new: str, old: str) -> bool:
    """Whether `new` is `old` with something left out."""
    rest = iter(old)
    return all(c in rest for c in new)
