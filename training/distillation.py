"""The work of `training.distil`: what there is to ask, what was asked already, and the workers that ask."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from compressors.tokenizers import counter
from proxy.tokens import encoding_for
from training import asking, jsonl
from training.chunks import TOKENS, chunks
from training.purse import Purse
from training.teacher import Teacher


@dataclass(frozen=True, slots=True)
class Chunk:
    """Characters `start` to `end` of a document. `id` is that of the document and a number."""

    id: str
    document: str
    start: int
    end: int
    text: str


def read_chunks(path: Path, model: str, tokens: int = TOKENS) -> Iterator[Chunk]:
    """The chunks of all texts of a file, `ID#0`, `ID#1`, ... Raises `jsonl.BadFile`, for an id that comes twice too."""
    count = counter(encoding_for(model)[0])
    seen: dict[str, int] = {}
    for number, record in jsonl.read(path):
        where = f"{path}:{number}"
        document = jsonl.name(record, where)
        if document in seen:
            raise jsonl.BadFile(f'{where}: the id "{document}" stands in line {seen[document]} already')
        seen[document] = number
        text = jsonl.need(record, "text", str, where)
        for i, (start, end) in enumerate(chunks(text, count, tokens)):
            yield Chunk(f"{document}#{i}", document, start, end, text[start:end])


@dataclass(slots=True)
class Ledger:
    """What stands in the output already: which chunks are done, with a hash of their texts, and the money for all."""

    done: dict[str, int] = field(default_factory=dict)
    usd: float = 0.0

    @classmethod
    def of(cls, path: Path) -> "Ledger":
        """Reads an output, or nothing where there is none. Raises `jsonl.BadFile`."""
        found = cls()
        for number, record in jsonl.read(path) if path.exists() else ():
            where = f"{path}:{number}"
            found.usd += jsonl.number(record, "usd", where)
            if "failed" not in record:
                found.done[jsonl.name(record, where)] = hash(jsonl.need(record, "text", str, where))
        return found

    def has(self, chunk: Chunk, path: Path) -> bool:
        """Raises `jsonl.BadFile` where another text stands under this id."""
        known = self.done.get(chunk.id)
        if known is not None and known != hash(chunk.text):
            raise jsonl.BadFile(
                f'{path}: "{chunk.id}" has another text there than it would get now. Go on with the same input and the '
                "same --chunk-tokens, or write to a new file"
            )
        return known is not None


@dataclass(slots=True)
class Bill:
    usd: float = 0.0


class Run:
    """Workers that ask for one chunk after the other until none is left, or the money is, or an error ends it."""

    def __init__(self, teacher: Teacher, purse: Purse, out: BinaryIO, told: Callable[[float], None]) -> None:
        """`told` hears after each chunk how much has been spent."""
        self._teacher = teacher
        self._purse = purse
        self._out = out
        self._told = told
        self._over = asyncio.Event()
        self.problems = 0
        self.out_of_money = False
        self.error = ""

    async def all(self, todo: Sequence[Chunk]) -> None:
        """What went wrong is in `error` afterwards. Requests under way are waited for, since they are paid."""
        teacher = self._teacher
        headers = {"authorization": f"Bearer {teacher.key}"} if teacher.key else {}
        limits = httpx.Limits(max_connections=teacher.workers, max_keepalive_connections=teacher.workers)
        async with httpx.AsyncClient(headers=headers, timeout=teacher.timeout_seconds, limits=limits) as client:
            left = iter(todo)
            await asyncio.gather(*(self._work(client, left) for _ in range(min(teacher.workers, len(todo)))))

    async def _work(self, client: httpx.AsyncClient, left: Iterator[Chunk]) -> None:
        for chunk in left:
            bill = Bill()
            answer: asking.Answer | None = None
            try:
                answer = await self._answer(client, self._teacher.request(chunk.text), bill)
            except asking.Failed as error:
                self.error = self.error or f'chunk "{chunk.id}": {error}'
                self._over.set()
            finally:
                if answer or bill.usd:  # also where nothing came of it: money is money
                    self._write(chunk, answer, bill)
            if self._over.is_set():
                return

    async def _answer(self, client: httpx.AsyncClient, request: Mapping[str, Any], bill: Bill) -> asking.Answer | None:
        """None where the run is over. Raises `asking.Failed` after the last try too."""
        for attempt in range(self._teacher.tries):
            try:
                return await self._try(client, request, bill)
            except asking.Passing as error:
                if attempt + 1 == self._teacher.tries:
                    raise asking.Failed(f"{error} (tried {attempt + 1} times)") from None
                seconds = asking.pause(attempt, self._teacher.pause_seconds, error.wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), seconds)
        return None

    async def _try(self, client: httpx.AsyncClient, request: Mapping[str, Any], bill: Bill) -> asking.Answer | None:
        worst = usd = self._teacher.worst(request)
        receipt = None if self._over.is_set() else await self._purse.take(worst)
        if receipt is None:
            self.out_of_money = self.out_of_money or not self._over.is_set()
            self._over.set()
            return None
        try:
            answer = await asking.ask(client, self._teacher.url, request)
            usd = self._teacher.cost(answer.usage, worst)
        except asking.Passing as error:
            usd = worst if error.billed else 0.0
            raise
        except asking.Failed:
            usd = 0.0
            raise
        finally:  # a request that is cancelled may have been served
            bill.usd += usd
            await self._purse.book(receipt, usd)
        return answer

    def _write(self, chunk: Chunk, answer: asking.Answer | None, bill: Bill) -> None:
        record: dict[str, Any] = {"id": chunk.id, "document": chunk.document}
        if answer is None:
            record |= {"failed": True}
        else:
            record |= {"start": chunk.start, "end": chunk.end, "text": chunk.text}
            record |= {"problem": answer.problem} if answer.text is None else {"compressed": answer.text}
            self.problems += answer.text is None
        self._out.write(jsonl.line(record | {"model": self._teacher.model, "usd": round(bill.usd, 9)}))
        self._out.flush()
        if answer is not None:
            self._told(self._purse.spent)
