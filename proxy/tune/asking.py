"""Answers from an upstream, within a budget; each is paid for once.

They are kept in a file, beside the result, that only its owner may read, by a digest of what was asked. So a run that
was stopped, or ran out of money, goes on where it was.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import httpx
import msgspec

from proxy.pricing import Price, price
from proxy.sse import AnswerReader
from proxy.tune import TuneError
from proxy.tune.answers import text_of
from proxy.upstream import base, target

_SECONDS = 120.0
_AT_ONCE = 4
_PAUSES = (0.0, 1.0, 4.0)  # seconds before each attempt, where the upstream is busy
_OUTPUT = 1000  # tokens of an answer that are reckoned with before it is there, where the request sets no limit
_HOPELESS = 3  # so many failures before the first answer
_NEVER = (401, 403, 404)

Question = tuple[bytes, int]
"""A body, and which of several answers to it."""


class BudgetSpent(Exception):
    """The next answers could cost more than is left."""


class _Kept(msgspec.Struct):
    asked: str
    answer: str


class _Limits(msgspec.Struct):
    model: str = ""
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


@dataclass(slots=True)
class Asker:
    """Asks one upstream. `spent` USD in this run, by the upstream's own counts; `failed` answers that did not come."""

    url: str
    budget: float
    prices: Mapping[str, Price]
    client: httpx.Client
    file: BinaryIO
    kept: dict[str, str]
    spent: float = 0.0
    failed: int = 0
    _came: int = field(default=0, init=False)

    def answers(self, questions: Sequence[Question]) -> list[str | None]:
        """One answer each, None where it did not come. Raises `BudgetSpent` before anything is asked, `TuneError`
        where asking on makes no sense."""
        digests = [self._digest(*question) for question in questions]
        missing = {digest: q[0] for digest, q in zip(digests, questions, strict=True) if digest not in self.kept}
        most = sum(self._most(body) for body in missing.values())
        if self.spent + most > self.budget:
            raise BudgetSpent
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for digest, (body, answer) in zip(
                missing, threads.map(lambda b: (b, self._ask(b)), missing.values()), strict=True
            ):
                self._take(digest, body, answer)
        return [self.kept.get(digest) for digest in digests]

    def _take(self, digest: str, body: bytes, answer: bytes | None) -> None:
        text = None if answer is None else _text(answer)
        if answer is None or text is None:
            self.failed += 1
            if self.failed >= _HOPELESS and not self._came:
                raise TuneError(f"{self.failed} requests to {self.url} brought no answer: see that it takes them")
            return
        self._came += 1
        reader = AnswerReader()
        reader.feed(answer)
        usage = reader.usage()
        cost = self._price(body).cost(usage) if usage else None
        self.spent += self._most(body) if cost is None else cost
        self.kept[digest] = text
        self.file.write(msgspec.json.encode(_Kept(digest, text)) + b"\n")
        self.file.flush()

    def _ask(self, body: bytes) -> bytes | None:
        where = base(self.url)
        url = where.url.copy_with(raw_path=target(where, b"/v1/chat/completions"))
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                answer = self.client.post(url, content=body, headers={"content-type": "application/json"})
            except httpx.TransportError:
                continue
            if answer.status_code in _NEVER:
                raise TuneError(f"{self.url} answers with status {answer.status_code}: see to the URL and the key")
            if answer.status_code == 200:
                return answer.content
            if answer.status_code != 429 and answer.status_code < 500:
                return None
        return None

    def _digest(self, body: bytes, number: int) -> str:
        return sha256(b"\0".join((self.url.encode(), b"%d" % number, body))).hexdigest()

    def _most(self, body: bytes) -> float:
        """USD that an answer to this may cost: no byte of a body is more than a third of a token."""
        limits, of = msgspec.json.decode(body, type=_Limits), self._price(body)
        output = limits.max_completion_tokens or limits.max_tokens or _OUTPUT
        return (len(body) / 3 * max(of.input, of.cache_write or 0) + output * (of.output or 0)) / 1_000_000

    def _price(self, body: bytes) -> Price:
        model = msgspec.json.decode(body, type=_Limits).model
        found = price(model, self.prices)
        if found is None or found.output is None:
            raise TuneError(f"no price is known for answers of {model!r}, so no budget could be held: see [prices]")
        return found


@contextmanager
def asking(url: str, key: str | None, budget: float, prices: Mapping[str, Price], file: Path) -> Iterator[Asker]:
    """An `Asker` that keeps answers in `file`. Raises `TuneError` where that is something else."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    kept = _read(file)
    with (
        open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out,
        httpx.Client(headers=headers, timeout=_SECONDS, trust_env=False) as client,
    ):
        yield Asker(url, budget, prices, client, out, kept)


def _read(file: Path) -> dict[str, str]:
    """The answers in it, by digest. A last line that a stopped run left unfinished is taken away."""
    if not file.exists():
        return {}
    raw = file.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    try:
        kept = [msgspec.json.decode(line, type=_Kept) for line in whole.splitlines()]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TuneError(f"{file}: holds something else than answers of this command; name another --out") from None
    if whole != raw:
        os.truncate(file, len(whole))
    return {one.asked: one.answer for one in kept}


def _text(answer: bytes) -> str | None:
    try:
        return text_of(msgspec.json.decode(answer))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
