"""The requests of the demo: the layouts in which applications put texts before a model, filled with texts of ours.

Each request carries its name in `metadata`, by which the scripted provider finds its line.
"""

import json
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from typing import Any

from proxy.demo.generated import log, orders

MODEL = "gpt-5.4"
Message = dict[str, Any]
Passage = tuple[str, str]  # title, text


@dataclass(frozen=True, slots=True)
class Line:
    """What the provider answers: the sentence of the received text that holds `fact`; else `say`, or a call of the
    tool `call`."""

    fact: str = ""
    say: str = ""
    call: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """`route` is the path prefix that the application's base URL has."""

    name: str
    route: str
    messages: list[Message]
    line: Line
    stream: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    def body(self) -> bytes:
        body: dict[str, Any] = {"model": MODEL, "messages": self.messages, **self.more}
        body["metadata"] = {"demo": self.name}
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(body, ensure_ascii=False).encode()


def passages(name: str) -> list[Passage]:
    """The passages of a sample: each begins with a line `## title`."""
    text = files("proxy.demo").joinpath(f"samples/{name}.md").read_text("utf-8")
    parts = (part.partition("\n") for part in text.removeprefix("## ").split("\n## "))
    return [(title, body.strip()) for title, _, body in parts]


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def cases() -> list[Case]:
    rag = partial(Case, route="/rag")
    agent = partial(Case, route="/agent", more={"tools": TOOLS})
    return [
        rag("handbook in system", messages=_handbook(), line=Line("320 euros")),
        rag("manual, labelled", messages=_manual(), line=Line("38 dB(A)"), stream=True),
        rag("numbered sources", messages=_sources(), line=Line("3 October 1844"), stream=True),
        rag("contract in XML", messages=_contract(), line=Line("15 percent")),
        rag("German", messages=_german(), line=Line("200 Euro")),
        rag("Japanese", messages=_japanese(), line=Line("千五百円"), stream=True),
        rag("meeting notes", messages=_meeting(), line=Line("12 January"), stream=True),
        Case("support chat", "/support", _support(), Line("774-20-5513"), stream=True),
        agent("agent, step 1", messages=_agent(ORDER_QUESTION), line=Line(call="search_orders"), stream=True),
        agent("agent, JSON rows", messages=_agent(ORDER_QUESTION, "search_orders", orders()), line=Line("not signed")),
        agent("agent, log file", messages=_agent(LOG_QUESTION, "read_log", log()), line=Line("No space left on")),
        Case("translation", "", _translation(), Line(say="Liebe Bewohnerinnen und Bewohner, vom 3. bis 14. März …")),
        Case("plain question", "", [user(PLAIN)], Line(say="A mutex has an owner that must release it; …")),
    ]


# Retrieval, as the frameworks lay it out.


def _handbook() -> list[Message]:
    context = "\n\n".join(text for _, text in passages("handbook"))
    rules = (
        "You answer questions of the staff. Use the retrieved passages below. If they do not hold the answer, say that "
        "you don't know. Three sentences at most."
    )
    return [system(f"{rules}\n\n{context}"), user("How much does the company pay towards a desk chair at home?")]


def _manual() -> list[Message]:
    context = "\n\n".join(f"{title}\n{text}" for title, text in passages("manual"))
    rule = "-" * 21
    query = "How loud is the outdoor unit of the Norrvik 300 in night mode?"
    return [
        user(
            f"Here is context information.\n{rule}\n{context}\n{rule}\n"
            f"Answer the query from the context information and not from what you know.\nQuery: {query}\nAnswer: "
        )
    ]


def _sources() -> list[Message]:
    context = "\n\n".join(f"Source {n}:\n{title}. {text}" for n, (title, text) in enumerate(passages("sources"), 1))
    query = "When was the lamp of the stone tower lit for the first time?"
    rules = "Answer from the sources below and cite each one that you use by its number, as in [2]."
    return [user(f"{rules}\n\n------\n{context}\n------\nQuery: {query}\nAnswer: ")]


def _contract() -> list[Message]:
    layout = '<document index="{}">\n<source>{}</source>\n<document_content>\n{}\n</document_content>\n</document>'
    documents = "\n".join(layout.format(n, *passage) for n, passage in enumerate(passages("contract"), 1))
    question = "What credit does the customer receive if availability falls below 99.5 percent?"
    return [
        system("You are a careful assistant of a legal department. Quote the clause that you rely on."),
        user(f"<documents>\n{documents}\n</documents>\n\n{question}"),
    ]


def _german() -> list[Message]:
    context = "\n\n".join(f"{title}\n{text}" for title, text in passages("stadtwerke"))
    return [
        system("Du beantwortest Fragen von Kundinnen und Kunden. Nutze nur den Kontext."),
        user(f"Kontext:\n{context}\n\nFrage: Mit wie viel fördert die Stadt ein Balkonkraftwerk?"),
    ]


def _japanese() -> list[Message]:
    context = "\n\n".join(f"【{title}】\n{text}" for title, text in passages("ryokan"))
    return [
        system("あなたは旅館の案内係です。参考資料だけを使って答えてください。"),
        user(f"参考資料:\n{context}\n\n質問: お部屋での夕食の追加料金はいくらですか。"),
    ]


def _meeting() -> list[Message]:
    [(title, text)] = passages("meeting")
    return [
        system("You answer questions about meetings from their transcripts."),
        user(f"# Transcript: {title}\n\n{text}\n\n# Question\nIn which week are the Tarvo printers installed?"),
    ]


# Chats, agents, and two requests that are not to be touched.

PLAIN = "What is the difference between a mutex and a semaphore? Two sentences are enough."
ORDER_QUESTION = "Is any order of Fjord Outdoor held at customs, and what is missing?"
LOG_QUESTION = "Last night's import run 2207 was aborted. What was the error?"
SHIPPING_QUESTION = "It is Friday now and no parcel has come. What was the shipping number of the second filter again?"


def _tool(name: str, about: str) -> Message:
    argument = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": argument}}


TOOLS = [_tool("search_orders", "Finds orders by free text."), _tool("read_log", "Reads the log of a service.")]


def _support() -> list[Message]:
    turns = [{"role": title, "content": text} for title, text in passages("support")]
    rules = "You are the friendly support of a maker of air purifiers. Be exact about numbers."
    answer = "Of course, I will keep an eye on it. Write to me on Friday if nothing has come."
    thanks = user("Thanks, then I will use it until the new one comes.")
    return [system(rules), *turns, thanks, {"role": "assistant", "content": answer}, user(SHIPPING_QUESTION)]


def _agent(question: str, tool: str = "", output: str = "") -> list[Message]:
    messages = [system("You look after a warehouse. Use the tools, then answer shortly."), user(question)]
    if tool:
        called = {"name": tool, "arguments": json.dumps({"query": question})}
        call = {"id": "call_1", "type": "function", "function": called}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": output})
    return messages


def _translation() -> list[Message]:
    [(_, text)] = passages("translation")
    return [user(f"Translate the following notice into German. Keep all dates and times.\n\n{text}")]
