"""The kinds of requests of a soak: what is sent, how, what the provider makes of it, and which answers are right."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from soaking import bodies

CHAT = "/v1/chat/completions"
JSON = (b"content-type", b"application/json")


class Pace(StrEnum):
    """How a caller behaves."""

    PLAIN = "sends and reads at once"
    WRITES_SLOWLY = "sends the body in pieces"
    READS_SLOWLY = "reads the answer in pieces"
    STOPS = "stops in the middle of the body"
    LEAVES_HEAD = "leaves in the middle of the head"
    LEAVES_BODY = "leaves in the middle of the body"
    LEAVES_WAITING = "leaves before the answer begins"
    LEAVES_ANSWER = "leaves in the middle of the answer"

    @property
    def leaves(self) -> bool:
        return self.name.startswith("LEAVES")


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is that of its route, too. `act`: what the provider does. `statuses`: which are right, 0 where
    none need be read (who still writes may find the connection closed before the answer). `cut`: the answer
    must break off. `weight`: how often, against the others."""

    name: str
    weight: int
    act: str = "ok"
    body: Callable[[Random], bytes] = bodies.chat
    path: str = CHAT
    policy: str = "words"
    pace: Pace = Pace.PLAIN
    statuses: tuple[int, ...] = (200,)
    cut: bool = False
    method: str = "POST"
    chunked: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)

    @property
    def billed(self) -> bool:
        """Whether each answer that came whole has its serial number in the ledger."""
        return self.act in ("ok", "stream", "slow") and self.path == CHAT and not self.pace.leaves


TWICE = (JSON, (b"authorization", b"Bearer a"), (b"authorization", b"Bearer b"))
BOTH = (JSON, (b"transfer-encoding", b"chunked"), (b"content-length", b"5"))
DISGUISED = (JSON, (b"x_laconic", b"off"))
FORM = ((b"content-type", b"multipart/form-data; boundary=x"),)

KINDS = (
    Kind("chat", 30),
    Kind("stream", 20, "stream", bodies.streamed),
    Kind("talk", 10, body=bodies.talk),
    Kind("models", 6, body=bodies.talk, policy="balanced"),
    Kind("audit", 5, body=bodies.talk, policy="audit"),
    Kind("off", 5, headers=(JSON, (b"x-laconic", b"off"))),
    Kind("less", 3, headers=(JSON, (b"x-laconic", b"0.9"))),
    Kind("chunked", 5, chunked=True),
    Kind("big", 1, body=bodies.big),
    Kind("big answer", 2, "big", pace=Pace.READS_SLOWLY),
    Kind("embeddings", 10, body=bodies.embeddings, path="/v1/embeddings"),
    Kind("file", 3, body=bodies.file, path="/v1/files", headers=FORM),
    Kind("file in chunks", 3, body=bodies.file, path="/v1/files", headers=FORM, chunked=True),
    Kind("list", 5, body=bodies.nothing, path="/v1/models", method="GET", headers=()),
    Kind("hostile", 5, body=bodies.hostile),
    Kind("slow writer", 3, pace=Pace.WRITES_SLOWLY),
    Kind("slow stream", 3, "slow", bodies.streamed),
    Kind("stops", 1, pace=Pace.STOPS, statuses=(408,)),
    Kind("leaves in head", 2, pace=Pace.LEAVES_HEAD),
    Kind("leaves in body", 2, pace=Pace.LEAVES_BODY),
    Kind("leaves in upload", 2, body=bodies.file, path="/v1/files", headers=FORM, pace=Pace.LEAVES_BODY),
    Kind("leaves waiting", 3, "stall", pace=Pace.LEAVES_WAITING),
    Kind("leaves in stream", 3, "slow", bodies.streamed, pace=Pace.LEAVES_ANSWER),
    Kind("leaves in answer", 2, "big", pace=Pace.LEAVES_ANSWER),
    Kind("provider fails", 3, "fail", statuses=(500,)),
    Kind("provider limits", 3, "limited", statuses=(429,)),
    Kind("provider resets", 3, "reset", statuses=(502,)),
    Kind("provider tears", 3, "torn", bodies.streamed, cut=True),
    Kind("provider stalls", 2, "stall", statuses=(504,)),
    Kind("provider freezes", 2, "freeze", bodies.streamed, cut=True),
    Kind("key twice", 2, headers=TWICE, statuses=(400,)),
    Kind("two lengths", 2, body=bodies.nothing, headers=BOTH, statuses=(400,)),
    Kind("disguised", 2, headers=DISGUISED, statuses=(400,)),
    Kind("climbing", 2, path="/v1/../v1/chat/completions", statuses=(400,)),
    Kind("oversized", 1, body=bodies.oversized, statuses=(413, 0)),
    Kind("oversized in chunks", 1, body=bodies.oversized, chunked=True, statuses=(413,)),
)
"""A kind has a route of its own, so that its records can be counted."""
