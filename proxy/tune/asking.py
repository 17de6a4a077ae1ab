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
from math import ceil
from pathlib import Path
from typing import BinaryIO

import httpx
import msgspec

from proxy.guard.answers import Answer, read_answer
from proxy.pricing import Price, price
from proxy.sse import AnswerReader
from proxy.tune import TuneError
from proxy.upstream import base, target

_SECONDS = 120.0
_AT_ONCE = 4
_PAUSES = (0.0, 1.0, 4.0)  # seconds before each attempt, where the upstream is busy
_OUTPUT = 1000  # tokens of an answer that are reckoned with before it is there, where the request sets no limit
_HOPELESS = 3  # so many failures before the first answer
_NEVER = (401, 403, 404)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteError, httpx.WriteTimeout)
_WHOLE = ((b"content-type", b"application/json"),)  # no stream was asked for
_FIRST = b'{"asked":'  # how each line of the file begins

Question = tuple[bytes, int]
"""A body, and which of several answers to it."""


class BudgetSpent(Exception):
    """The next answers could cost more than is left."""


class _Kept(msgspec.Struct):
    asked: str
    answer: Answer


class _Limits(msgspec.Struct):
    """Numbers of any shape: what is odd is for the upstream to refuse."""

    model: str = ""
    max_tokens: object = None
    max_completion_tokens: object = None
    n: object = None


@dataclass(slots=True)
class Asker:
    """Asks one upstream. `spent` USD in this run, by the upstream's own counts, and where it gives none by what an
    answer may cost at most; `failed` answers that did not come."""

    url: str
    budget: float
    prices: Mapping[str, Price]
    client: httpx.Client
    file: BinaryIO
    kept: dict[str, Answer]
    spent: float = 0.0
    failed: int = 0
    _came: int = field(default=0, init=False)

    def answers(self, questions: Sequence[Question]) -> list[Answer | None]:
        """One answer each, empty where the model said nothing, None where it did not come. Raises `BudgetSpent` before
        anything is asked, `TuneError` where asking on makes no sense."""
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

    def _take(self, digest: str, body: bytes, came: bytes | None) -> None:
        answer = None if came is None else self._paid(body, came)
        if answer is None:
            self.failed += 1
            if self.failed >= _HOPELESS and not self._came:
                raise TuneError(f"{self.failed} requests to {self.url} brought no answer: see that it takes them")
            return
        self._came += 1
        self.kept[digest] = answer
        self.file.write(msgspec.json.encode(_Kept(digest, answer)) + b"\n")
        self.file.flush()

    def _paid(self, body: bytes, came: bytes) -> Answer | None:
        """What came, once it is paid for: an empty answer where all that it says is what it cost."""
        reader = AnswerReader()
        reader.feed(came)
        usage = reader.usage()
        cost = self._price(body).cost(usage) if usage else None
        self.spent += self._most(body) if cost is None else cost
        return read_answer(_WHOLE, came) or (Answer() if usage else None)

    def _ask(self, body: bytes) -> bytes | None:
        """None where nothing is to be paid; `b""` where an answer was on its way, and may be billed, but got lost."""
        where = base(self.url)
        url = where.url.copy_with(raw_path=target(where, b"/v1/chat/completions"))
        for pause in _PAUSES:
            time.sleep(pause)
            try:
                answer = self.client.post(url, content=body, headers={"content-type": "application/json"})
            except _NOT_SENT:
                continue
            except httpx.RequestError:
                return b""
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
        output = _count(limits.max_completion_tokens) or _count(limits.max_tokens) or _OUTPUT
        output *= _count(limits.n) or 1
        return (len(body) / 3 * max(of.input, of.cache_write or 0) + output * (of.output or 0)) / 1_000_000

    def _price(self, body: bytes) -> Price:
        model = msgspec.json.decode(body, type=_Limits).model
        found = price(model, self.prices)
        if found is None or found.output is None:
            raise TuneError(f"no price is known for answers of {model!r}, so no budget could be held: see [prices]")
        return found


def _count(value: object) -> int:
    """0 where it is no number above 0."""
    return ceil(value) if isinstance(value, int | float) and value > 0 else 0


@contextmanager
def asking(url: str, key: str | None, budget: float, prices: Mapping[str, Price], file: Path) -> Iterator[Asker]:
    """An `Asker` that keeps answers in `file`. Raises `TuneError` where that is something else."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    new = not file.exists()
    kept = _read(file)
    try:
        with (
            open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out,
            httpx.Client(headers=headers, timeout=_SECONDS, trust_env=False) as client,
        ):
            yield Asker(url, budget, prices, client, out, kept)
    finally:
        if new and file.exists() and not file.stat().st_size:
            file.unlink()


def _read(file: Path) -> dict[str, Answer]:
    """The answers in it, by digest. A last line that a stopped run left unfinished is taken away."""
    if not file.exists():
        return {}
    raw = file.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    rest = raw[len(whole) :]
    try:
        kept = [msgspec.json.decode(line, type=_Kept) for line in whole.splitlines()]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _foreign(file) from None
    if not rest.startswith(_FIRST[: len(rest)]):
        raise _foreign(file)
    if rest:
        os.truncate(file, len(whole))
    return {one.asked: one.answer for one in kept}


def _foreign(file: Path) -> TuneError:
    return TuneError(f"{file}: holds something else than answers of this command; name another --out")
