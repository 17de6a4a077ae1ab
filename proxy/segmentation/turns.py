"""From messages to segments: roles, turns, worked examples sent as turns, and the question of each turn."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policies.base import Kind, Segment
from policies.protect import MATERIAL
from proxy.segmentation import labels, sentences
from proxy.segmentation.documents import Piece, documents
from proxy.segmentation.labels import Meaning
from proxy.segmentation.markers import stripped
from proxy.segmentation.marks import marked
from proxy.segmentation.pieces import cut
from proxy.segmentation.printed import fenced
from proxy.wire import ChatRequest, Field

_OBSERVED = re.compile(
    r"\s*(?:\[[^\]\n]{1,200}\]\s*)?(?:observation|tool[ _](?:result|output|response)|results?"
    r"|execution (?:logs?|output))\b[^\n:]{0,40}:",
    re.IGNORECASE,
)
_RETURNED = re.compile(
    r"\s*(?:tool|function|command|action|plugin|skill|api)\b[^\n:]{0,60}\b(?:returned|returns|result|output|response|replied"
    r"|answered|printed|gave)\b[^\n:]{0,20}:",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"\s*<([A-Za-z_][\w.-]{0,40})(?:\s[^<>\n]{0,200})?>")
_FIRST_LABEL = re.compile(r"\s*(\[\[[^\]\n]{1,60}\]\]|<[\w-]{1,40}>|#{1,4} [^\n]{1,60}|[^\W\d_][^:：\n]{0,30}[:：])")
_LONGEST_QUESTION = 4000
_LONGEST_EXAMPLE = 300
_LEAST_ATTACHED = 300
FIXED = "too short"  # to be told from an example
_SYSTEM = ("system", "developer")
_FEW_LINES = 6  # a part with more has a structure of its own


@dataclass(frozen=True, slots=True)
class _Thread:
    """`turn` holds the user turn of each message, `observed` the messages that carry what a tool said, `shown`
    the messages that are worked examples."""

    turn: tuple[int, ...]
    count: int
    observed: frozenset[int]
    printed: frozenset[int]  # system messages that hold what a program printed, for the assistant who ran it
    shown: frozenset[int]
    fixed: frozenset[int]  # never touched: they are such examples, or may turn out to be
    aside: frozenset[int]  # said by other named participants than the one who spoke last
    asked: int  # the first message of a user: an answer that stands before it is the template's


def segment(request: ChatRequest) -> tuple[Segment, ...]:
    """The segments of every text, ordered, apart; together they cover every character that is not blank.

    `may_change` is left empty: `policies.protect.guard` fills it.
    """
    thread = _thread(request)
    found = [
        (index, field, piece) for index, field in enumerate(request.fields) for piece in _pieces(field, request, thread)
    ]
    asked = _asked(found, thread)
    return tuple(_segment(index, field, piece, thread, asked) for index, field, piece in found)


def _first_texts(request: ChatRequest) -> list[str]:
    return [request.fields[m.fields[0]].text if m.fields else "" for m in request.messages]


def _thread(request: ChatRequest) -> _Thread:
    texts = _first_texts(request)
    roles = [m.role for m in request.messages]
    observed = frozenset(
        i
        for i, role in enumerate(roles)
        if "assistant" in roles[max(0, i - 1) : i]
        and (
            (role == "user" and (_OBSERVED.match(texts[i]) or _wrapped(texts[i])))
            or (role in _SYSTEM and _RETURNED.match(texts[i]))
        )
    )
    printed = frozenset(
        i
        for i, role in enumerate(roles)
        if role in _SYSTEM and "assistant" in roles[max(0, i - 1) : i] and "```" in texts[i] and fenced(texts[i])
    )
    named = _named(request)
    alike, fixed = _alike(request, texts, named)
    turn: list[int] = []
    count, answered = 0, True
    for i, role in enumerate(roles):
        if role == "user" and i not in observed and i not in named:
            count += answered
            answered = False
        elif role not in ("user", *_SYSTEM):
            answered = True
        turn.append(count - 1)
    for i in range(len(roles) - 2, -1, -1):  # a system message belongs to the user turn that it stands before
        if i not in printed | observed and roles[i] in _SYSTEM and roles[i + 1] in (*_SYSTEM, "user"):
            turn[i] = turn[i + 1]
    first = roles.index("user") if "user" in roles else 0
    turns = tuple(max(t, 0) for t in turn)
    return _Thread(turns, max(count, 1), observed, printed, named | alike, fixed, _aside(request), first)


def _wrapped(text: str) -> bool:
    """Whether a message is nothing but material in a tag: then nobody asks in it."""
    opening = _WRAPPED.match(text[:300])
    if not opening or not text.rstrip().endswith(f"</{opening[1]}>"):
        return False
    return labels.meaning(opening[1].replace("_", " ")) in (Meaning.CONTEXT, Meaning.OBSERVATION)


def _aside(request: ChatRequest) -> frozenset[int]:
    spoken = [(i, m.name) for i, m in enumerate(request.messages) if m.role == "user"]
    return frozenset(i for i, name in spoken if name and spoken[-1][0] != i and name != spoken[-1][1])


def _named(request: ChatRequest) -> frozenset[int]:
    return frozenset(i for i, m in enumerate(request.messages) if (m.name or "").startswith("example"))


def _alike(request: ChatRequest, texts: list[str], named: frozenset[int]) -> tuple[frozenset[int], frozenset[int]]:
    """The pairs of messages at the beginning that are short and cut to one pattern, which show how it is done; and all
    messages that are such a pair or may turn out to be one.

    A conversation that goes on may look like that, too. So they count as turns like any other, and whatever may once
    belong to such a pair is never touched: a message leaves as it left before anybody knew."""
    spoken = [i for i, m in enumerate(request.messages) if m.role not in _SYSTEM and i not in named]
    sizes = [sum(len(request.fields[n].text) for n in m.fields) for m in request.messages]
    pairs: list[tuple[int, int]] = []
    for u, a in zip(spoken[0:-1:2], spoken[1:-1:2], strict=False):
        roles = (request.messages[u].role, request.messages[a].role)
        called = request.messages[a].tool_calls or not texts[a]  # nothing is shown by a call whose result follows
        if roles != ("user", "assistant") or called or max(sizes[u], sizes[a]) > _LONGEST_EXAMPLE:
            break
        asked, answers = [texts[i] for i, _ in (*pairs, (u, a))], [texts[i] for _, i in (*pairs, (u, a))]
        if not (_same_label(asked) or _same_form(answers)):
            break
        pairs.append((u, a))
    found = frozenset(i for pair in pairs for i in pair)
    following = spoken[2 * len(pairs) : 2 * len(pairs) + 1]
    perhaps = found | {i for i in following if sizes[i] <= _LONGEST_EXAMPLE}
    return (found if len(pairs) > 1 else frozenset()), perhaps


def _same_label(texts: list[str]) -> bool:
    found = {m[1] if (m := _FIRST_LABEL.match(text)) else None for text in texts}
    return len(found) == 1 and None not in found


def _same_form(answers: list[str]) -> bool:
    if all(len(a) <= 40 and len(a.split()) <= 3 and a.strip()[-1:] not in (".", "!", "?", "。") for a in answers):
        return True
    return len({_keys(a) for a in answers}) == 1 and _keys(answers[0]) is not None


def _keys(answer: str) -> tuple[str, ...] | None:
    try:
        value = json.loads(answer) if answer.lstrip()[:1] == "{" and len(answer) < 4000 else None
    except (ValueError, RecursionError):
        return None
    return tuple(sorted(value)) if isinstance(value, dict) else None


def _pieces(field: Field, request: ChatRequest, thread: _Thread) -> list[Piece]:
    if not field.text.strip():
        return []
    if explicit := marked(field.text):
        return list(_explicit(field, explicit, thread))
    if field.message in thread.shown:
        return _whole(field.text, Kind.DEMONSTRATION)
    if field.key == "refusal":
        return _whole(field.text, Kind.HISTORY)
    final = field.message == len(request.messages) - 1
    if field.role == "assistant" and final and not request.messages[field.message].tool_calls:
        return _whole(field.text, Kind.OTHER)
    if _attached(field, request):
        return list(documents(field.text, 0, len(field.text), Kind.CONTEXT, ""))
    return cut(field.text, _role(field, thread))


def _attached(field: Field, request: ChatRequest) -> bool:
    """Whether a part of a user message is long, neither asks nor orders, and stands before a part that does."""
    last = request.fields[request.messages[field.message].fields[-1]]
    if (
        field.role != "user"
        or last is field
        or len(field.text) < _LEAST_ATTACHED
        or field.text.count("\n") >= _FEW_LINES
    ):
        return False
    plain = not (sentences.asks(field.text) or sentences.addressed(field.text) or sentences.personal(field.text))
    return plain and sentences.asks(last.text)


def _role(field: Field, thread: _Thread) -> str:
    if field.message in thread.observed:
        return "tool"
    if field.message in thread.printed:
        return "shell"
    if field.role == "assistant" and field.message < thread.asked:
        return "system"
    return "system" if field.role == "developer" else field.role


def _whole(text: str, kind: Kind) -> list[Piece]:
    return [Piece(*stripped(text, 0, len(text)), kind)]


_Marked = tuple[str, tuple[int, int], tuple[int, int], tuple[int, int]]


def _explicit(field: Field, found: tuple[_Marked, ...], thread: _Thread) -> Iterator[Piece]:
    """What is marked is what the mark says; the text between the marks is cut as if the marked text were not there."""
    text = field.text
    out = list(_without(cut(_blanked(text, found), _role(field, thread)), found, text))
    for name, opening, inside, closing in found:
        out.append(Piece(*opening, Kind.OTHER, guard="mark"))
        out.append(Piece(*closing, Kind.OTHER, guard="mark"))
        if name == "context":
            out.extend(replace(p, guard="mark") for p in documents(text, *inside, Kind.CONTEXT, ""))
        elif text[slice(*inside)].strip():
            out.append(Piece(*stripped(text, *inside), Kind.INSTRUCTION, guard="mark"))
    yield from sorted(out, key=lambda p: p.start)


def _blanked(text: str, found: tuple[_Marked, ...]) -> str:
    """The text with line ends in place of what is marked, so that every offset stays."""
    parts, position = [], 0
    for _, opening, _, closing in found:
        parts += [text[position : opening[0]], "\n" * (closing[1] - opening[0])]
        position = closing[1]
    return "".join([*parts, text[position:]])


def _without(pieces: list[Piece], found: tuple[_Marked, ...], text: str) -> Iterator[Piece]:
    """The pieces, cut at the marked stretches."""
    holes = [(opening[0], closing[1]) for _, opening, _, closing in found]
    first = 0
    for piece in pieces:
        while first < len(holes) and holes[first][1] <= piece.start:
            first += 1
        start, k = piece.start, first
        while k < len(holes) and holes[k][0] < piece.end:
            yield from _part(piece, start, holes[k][0], text)
            start, k = holes[k][1], k + 1
        yield from _part(piece, start, piece.end, text)


def _part(piece: Piece, start: int, end: int, text: str) -> Iterator[Piece]:
    a, b = stripped(text, start, end)
    if a < b:
        yield replace(piece, start=a, end=b)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The question of each message that has one and of each turn; `plain` are the messages that hold nothing but what
    was said, neither material nor instructions."""

    by_message: dict[int, str]
    by_turn: dict[int, str]
    plain: frozenset[int]


def _asked(found: list[tuple[int, Field, Piece]], thread: _Thread) -> _Asked:
    """Where there are several questions, the last one that really asks counts, else the last. What a user asks goes
    before what stands in a system message, where a title or an example may look like a question."""
    by_message: dict[int, str] = {}
    by_turn: dict[int, str] = {}
    instructed: dict[int, str] = {}
    for _, field, piece in found:
        if piece.kind is Kind.QUESTION:
            text = field.text[piece.start : piece.end][:_LONGEST_QUESTION]
            turns = instructed if field.role in _SYSTEM else by_turn
            for table, index in ((by_message, field.message), (turns, thread.turn[field.message])):
                if index not in table or sentences.asks(text) or not sentences.asks(table[index]):
                    table[index] = text
    mixed = {field.message for _, field, piece in found if piece.kind is not Kind.QUESTION}
    return _Asked(by_message, instructed | by_turn, frozenset({field.message for _, field, _ in found} - mixed))


def _segment(index: int, field: Field, piece: Piece, thread: _Thread, asked: _Asked) -> Segment:
    turn, last = thread.turn[field.message], thread.count - 1
    own = None if field.role in _SYSTEM else asked.by_message.get(field.message)
    question = own or asked.by_turn.get(turn)
    if question is None:
        question = next((asked.by_turn[t] for t in range(turn - 1, -1, -1) if t in asked.by_turn), "")
    kind, text = piece.kind, field.text[piece.start : piece.end]
    newest = (turn == last and field.message not in thread.aside) or text == asked.by_turn.get(last)
    if kind is Kind.QUESTION and field.role == "user" and field.message in asked.plain and not newest:
        kind = Kind.HISTORY
    return Segment(
        index, field.message, field.part, piece.start, piece.end, kind, field.role, text,
        document=piece.document, question=question, questions=last - turn + 1, turn=last - turn,
        guard=piece.guard or (FIXED if field.message in thread.fixed and kind in MATERIAL else ""),
    )  # fmt: skip
