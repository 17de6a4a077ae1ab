"""Workloads from public sets in a folder, and small ones from texts of ours where there is no folder."""

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from promptcache.workloads import (
    AGENTS,
    PEOPLE,
    READERS,
    SINGLE,
    Message,
    Messages,
    Pace,
    Workload,
    assistant,
    call,
    context,
    system,
    timed,
    tool,
    turns,
    user,
)

Record = dict[str, Any]
Threads = Iterator[list[Messages]]

ANSWER = "You answer questions. Use only what you are given; where it does not hold the answer, say so."
HELP = "You are a helpful assistant."
TOOLS = "You help with customers' requests and look up what you need with the tools that you have."
_TURNS = 8  # questions in a conversation that brings new passages with each


@dataclass(frozen=True, slots=True)
class Source:
    """`file`: its records, in an order of their own that is the same every time. `times`: so many times as many
    requests are taken as elsewhere, where they are short."""

    file: str
    threads: Callable[[list[Record]], Threads]
    pace: Pace
    keyed: bool = False
    grows: bool = True
    times: int = 1


def load(folder: Path, name: str, limit: int) -> Workload:
    """Raises `OSError` where the file is not there."""
    own = SOURCES[name]
    with gzip.open(path(folder, name), "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    records.sort(key=lambda record: zlib.crc32(b"order" + record["id"].encode()))
    return Workload(name, timed(own.threads(records), own.pace, limit * own.times, name), own.keyed, own.grows)


def path(folder: Path, name: str) -> Path:
    return folder / f"{SOURCES[name].file}.jsonl.gz"


def _dialogues(records: list[Record], source: str = "", instructions: str = "") -> Threads:
    for record in records:
        if record["source"].startswith(source):
            head = [system(instructions)] if instructions else []
            yield turns(head + list(_messages(record["messages"])))


def _messages(messages: Sequence[Record]) -> Iterator[Message]:
    """Tool calls get ids, which the results that follow take up; content that is empty beside a call is null."""
    open_calls: list[str] = []
    for n, message in enumerate(messages):
        role, text = message["role"], message["content"] or ""
        if role == "tool":
            yield tool(open_calls.pop(0) if open_calls else f"call_{n}", text)
        elif calls := message.get("tool_call"):
            calls = [calls] if isinstance(calls, dict) else calls
            made = [call(f"call_{n}_{i}", one["name"], _written(one["arguments"])) for i, one in enumerate(calls)]
            open_calls = [f"call_{n}_{i}" for i in range(len(calls))]
            together = [one for message in made for one in message["tool_calls"]]
            yield made[0] | {"content": text or None, "tool_calls": together}
        else:
            yield {"role": role, "content": text}


def _written(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _passages(record: Record) -> str:
    return context((d["title"], d["text"]) for d in record["documents"])


def _single(records: list[Record], in_system: bool) -> Threads:
    for record in records:
        yield [_asked(_passages(record), record["question"], in_system)]


def _asked(text: str, question: str, in_system: bool) -> Messages:
    if in_system:
        return [system(f"{ANSWER}\n\nContext:\n{text}"), user(question)]
    return [system(ANSWER), user(f"Context:\n{text}\n\nQuestion: {question}")]


def _by_article(records: list[Record]) -> Iterator[list[Record]]:
    """Questions about one article, as many as a conversation has."""
    articles: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        articles[record["lang"], record["documents"][0]["title"]].append(record)
    for group in articles.values():
        yield from (group[n : n + _TURNS] for n in range(0, len(group), _TURNS))


def _retrieving(records: list[Record]) -> Threads:
    """Conversations about one article; each turn brings the passages that were found for it."""
    for group in _by_article(records):
        said = [system(ANSWER)]
        for record in group:
            said.append(user(f"Context:\n{_passages(record)}\n\nQuestion: {record['question']}"))
            said.append(assistant(record["answers"][0]))
        yield turns(said)


def _following(records: list[Record]) -> Threads:
    """Conversations in which only the first turn brings passages. Some have a little more than a provider's cache asks
    for, so that compression may take them below it."""
    for group in _by_article(records):
        asked = [{"question": r["question"], "references": r["answers"]} for r in group]
        found = {d["text"]: d["title"] for r in group[:2] for d in r["documents"]}
        text = context((title, text) for text, title in found.items())
        yield from _document_chats([{"text": text, "questions": asked}])


def _documents(records: list[Record], in_system: bool) -> Threads:
    """One-off questions about a document that stays the same."""
    for text, asked in map(_asked_about, records):
        if len(asked) > 1:
            yield [_asked(text, question, in_system) for question, _ in asked]


def _document_chats(records: list[Record]) -> Threads:
    """A document comes with the first question, the others follow in the same conversation."""
    for text, asked in map(_asked_about, records):
        said = [system(ANSWER)]
        for n, (question, answer) in enumerate(asked):
            said += [user(question if n else f"Context:\n{text}\n\nQuestion: {question}"), assistant(answer)]
        yield turns(said)


def _asked_about(record: Record) -> tuple[str, list[tuple[str, str]]]:
    """A document, and the questions about it with their answers."""
    if "messages" in record:
        text = "\n".join(f"{m['role']}: {m['content']}" for m in record["messages"])
        return text, [(q["query"], q["answer"]) for q in record["queries"] + record["general_queries"]]
    return record["text"], [(q["question"], (q.get("answers") or q["references"])[0]) for q in record["questions"]]


def _lookups(records: list[Record]) -> Threads:
    """Conversations in which every question makes the model call a tool."""
    for n in range(0, len(records), 4):
        said = [system(TOOLS)]
        for m, record in enumerate(records[n : n + 4]):
            said += [user(record["question"]), call(f"call_{m}", "look_up", "{}"), tool(f"call_{m}", record["text"])]
            said.append(assistant(record["answers"][0]))
        yield turns(said)


SOURCES = {
    "task dialogues (SGD)": Source("dialogue_sgd", partial(_dialogues, instructions=TOOLS), PEOPLE, times=4),
    "short chats (MT-Bench-101)": Source(
        "dialogue_mtbench101", partial(_dialogues, instructions=HELP), PEOPLE, times=4
    ),
    "agents (tau-bench)": Source("dialogue_agent_traces", partial(_dialogues, source="tau"), AGENTS),
    "agents (SWE-agent)": Source("dialogue_agent_traces", partial(_dialogues, source="swe"), AGENTS, keyed=True),
    "look-ups in JSON": Source("toolqa_json", _lookups, AGENTS),
    "single (HotpotQA)": Source("qa_hotpot", partial(_single, in_system=False), SINGLE, grows=False),
    "single, in system (HotpotQA)": Source("qa_hotpot", partial(_single, in_system=True), SINGLE, grows=False),
    "single (NQ)": Source("qa_nq_multidoc", partial(_single, in_system=False), SINGLE, grows=False),
    "single, in system (NQ)": Source("qa_nq_multidoc", partial(_single, in_system=True), SINGLE, grows=False),
    "single (SQuAD)": Source("qa_squad", partial(_single, in_system=False), SINGLE, grows=False),
    "retrieval chat (SQuAD)": Source("qa_squad", _retrieving, PEOPLE),
    "passages, then questions (SQuAD)": Source("qa_squad", _following, PEOPLE),
    "retrieval chat (XQuAD)": Source("qa_xquad_11langs", _retrieving, PEOPLE),
    "shared, in system (QMSum)": Source("dialogue_qmsum", partial(_documents, in_system=True), READERS, grows=False),
    "shared, in user (QMSum)": Source("dialogue_qmsum", partial(_documents, in_system=False), READERS, grows=False),
    "document chat (QMSum)": Source("dialogue_qmsum", _document_chats, PEOPLE),
    "shared, in system (SQuALITY)": Source(
        "longdoc_squality", partial(_documents, in_system=True), READERS, grows=False
    ),
    "shared, in user (papers)": Source(
        "longdoc_evidence_inference", partial(_documents, in_system=False), READERS, grows=False
    ),
}

# Without a folder: texts of ours, from the demo.

_SAMPLES = ("handbook", "manual", "contract", "meeting", "support")
_QUESTIONS = (
    "Who has to be told, and by when?",
    "How much is paid at most?",
    "Which steps come first?",
    "What happens when it is late?",
    "Which exceptions are named?",
    "Who decides in the end?",
)


def built_in(limit: int) -> Iterator[Workload]:
    texts = [files("proxy.demo").joinpath(f"samples/{name}.md").read_text("utf-8") for name in _SAMPLES]
    questions = [{"question": q, "answers": ["It is said in the text."]} for q in _QUESTIONS]
    documents = [{"text": text, "questions": questions} for text in texts]
    yield _made("shared, in system", _documents(documents, in_system=True), READERS, limit)
    yield _made("shared, in user", _documents(documents, in_system=False), READERS, limit)
    yield _made("document chat", _document_chats(documents), PEOPLE, limit)
    found = [_record(texts, n) for n in range(30)]
    yield _made("single", _single(found, in_system=False), SINGLE, limit)
    yield _made("retrieval chat", _retrieving(found), PEOPLE, limit)


def _made(name: str, threads: Threads, pace: Pace, limit: int) -> Workload:
    return Workload(name, timed(threads, pace, limit, name), grows="chat" in name)


def _record(texts: Sequence[str], n: int) -> Record:
    """A question with passages out of all texts, others for each."""
    parts = [[p for p in text.split("\n\n") if len(p) > 150] for text in texts]
    found = [{"title": "Passage", "text": own[n * 7 % len(own)]} for own in parts]
    return {
        "lang": "en",
        "documents": found,
        "question": _QUESTIONS[n % len(_QUESTIONS)],
        "answers": ["It is said in the passages."],
    }
