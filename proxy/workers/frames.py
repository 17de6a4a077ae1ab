"""What a worker and the compressor process say to each other: msgpack in frames, each after its length in four bytes.

A connection is for one compressor. The worker says `Open` and is told `State`; then each `Work` is answered by `Done`.
`Refused` may stand in the place of either answer. Text travels as bytes, since a prompt may hold lone surrogates.
"""

import struct

import msgspec

from compressors import Budget, Kept, Rate, Span, Task, Threshold, Tokens

LIMIT = 256 * 2**20
"""Bytes of a frame: a body of the usual limit, and what stands before each of its parts, go in."""
LENGTH = struct.Struct(">I")
_BUDGETS: dict[str, type[Rate] | type[Tokens] | type[Threshold]] = {
    kind.__name__: kind for kind in (Rate, Tokens, Threshold)
}


class BadFrame(Exception):
    """A frame is too long, or does not hold what it should."""


class Open(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """`settings`: JSON, empty for none. `wait`: until the model is loaded, or has failed to load."""

    use: str
    settings: bytes
    wait: bool


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """A task on its way."""

    text: bytes
    budget: tuple[str, float]
    question: bytes
    protected: tuple[Span, ...]
    documents: tuple[Span, ...]
    encoding: str
    before: bytes

    def task(self) -> Task:
        parts = self.text, self.question, self.before
        text, question, before = (part.decode("utf-8", "surrogatepass") for part in parts)
        return Task(text, _budget(self.budget), question, self.protected, self.documents, self.encoding, before)


class Work(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """`seconds`: until the results are of no use, None: nobody has said. `whose`: see `compressors.cancel`."""

    tasks: tuple[Asked, ...]
    seconds: float | None
    whose: bytes


class State(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The compressor can be used. `lacks`: why it does without its model, "" where it has it."""

    version: str
    lacks: str


class Done(msgspec.Struct, tag=True, array_like=True, frozen=True):
    kept: tuple[Kept, ...]


class Refused(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """`kind`: the name of the error's class."""

    kind: str
    message: str


Answer = State | Done | Refused
Question = Open | Work
_question: "msgspec.msgpack.Decoder[Question]" = msgspec.msgpack.Decoder(Question)
_answer: "msgspec.msgpack.Decoder[Answer]" = msgspec.msgpack.Decoder(Answer)


def pack(message: msgspec.Struct) -> bytes:
    """The frame of a message. Raises `BadFrame` where it would be too long, and what msgspec raises."""
    data = msgspec.msgpack.encode(message, enc_hook=_plain)
    if len(data) > LIMIT:
        raise BadFrame(f"{len(data)} bytes are more than the {LIMIT} that a frame may hold")
    return LENGTH.pack(len(data)) + data


def length(head: bytes) -> int:
    """How long the frame is that begins so. Raises `BadFrame`."""
    (size,) = LENGTH.unpack(head)
    if size > LIMIT:
        raise BadFrame(f"a frame of {size} bytes was announced, {LIMIT} are allowed")
    return int(size)


def question(data: bytes) -> Question:
    """Raises `BadFrame`."""
    try:
        return _question.decode(data)
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from None


def answer(data: bytes) -> Answer:
    """Raises `BadFrame`."""
    try:
        return _answer.decode(data)
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from None


def asked(task: Task) -> Asked:
    text, question, before = (part.encode("utf-8", "surrogatepass") for part in (task.text, task.question, task.before))
    budget = type(task.budget).__name__, task.budget.value
    return Asked(text, budget, question, task.protected, task.documents, task.encoding, before)


def _budget(said: tuple[str, float]) -> Budget:
    kind, value = said
    if kind not in _BUDGETS:
        raise BadFrame(f"{kind!r} is no budget")
    return Tokens(int(value)) if kind == "Tokens" else _BUDGETS[kind](value)  # type: ignore[arg-type]


def _plain(value: object) -> object:
    """Numbers of numpy."""
    if callable(item := getattr(value, "item", None)):
        return item()
    raise NotImplementedError(f"{type(value).__name__} does not travel")
