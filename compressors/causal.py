"""Any causal language model of Hugging Face, asked one thing: how surprising is a token, given what stands before it.

The surprise of a token is -ln p(token | the tokens before it), in nats. Rows are read in batches of about one length,
texts that grow in a chain of which nothing is read twice.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from compressors.base import CompressionError, Span
from compressors.causal_engine import Engine, Row, Surprises
from compressors.checkpoint import Checkpoint, open_checkpoint
from compressors.device import Device
from compressors.device import device as find
from compressors.encoders.place import dtype

__all__ = ["CausalModel", "Chain", "Encoded", "Row", "Surprises", "causal"]

_LONGEST = 4096  # tokens; what stands further back says little about the next token, and attention costs its square


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of a text: their ids and their spans of it. Tokens that share a character have the same span."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]

    def units(self) -> tuple[list[int], list[Span]]:
        """Tokens grouped to whole characters: the first token of each group, and the group's span of the text."""
        starts: list[int] = []
        spans: list[Span] = []
        for i, (start, end) in enumerate(self.spans):
            if spans and start < spans[-1][1]:
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            else:
                starts.append(i)
                spans.append((start, end))
        return starts, spans


class CausalModel:
    """One model on one device in one precision, loaded when first asked. Safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint, device: str, precision: str) -> None:
        self.checkpoint = checkpoint
        self._asked, self._precision = device, precision
        self._lock = threading.Lock()

    @cached_property
    def version(self) -> str:
        """Which weights, and in what numbers they are computed with."""
        number = str(dtype(self._device.name, self._precision)).rpartition(".")[2]
        return f"{self.checkpoint.version[:16]}-{number}"

    @cached_property
    def longest(self) -> int:
        """The most tokens that are read at once."""
        config = self.checkpoint.config
        config = config.get("text_config", config)
        keys = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")
        return min(next((int(config[key]) for key in keys if config.get(key)), _LONGEST), _LONGEST)

    @cached_property
    def bos(self) -> tuple[int, ...]:
        """What begins a text: what the tokenizer puts there by itself, else the model's token for it, else nothing."""
        own = tuple(self.tokenizer.encode("").ids)
        begin = self.checkpoint.config.get("bos_token_id")
        return own or ((begin,) if isinstance(begin, int) else ())

    @property
    def tokenizer(self) -> Any:
        return self.checkpoint.tokenizer

    def encode(self, text: str) -> Encoded:
        """The tokens of a text, without any that the tokenizer would add around it."""
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _torn(text) else text
        found = self.tokenizer.encode(clean, add_special_tokens=False)
        return Encoded(tuple(found.ids), tuple(found.offsets))

    def surprises(self, rows: Sequence[Row]) -> list[Surprises]:
        """For each row the surprise of the tokens ids[start:], in nats.

        A row of more than `longest` tokens is read in windows; then a token sees at least a quarter of that.
        """
        pieces = [(i, piece) for i, row in enumerate(rows) for piece in self._windows(row)]
        costs = [len(piece.ids) for _, piece in pieces]
        scored = self._device.rows(self._engine, [piece for _, piece in pieces], costs)
        found: list[list[Surprises]] = [[np.empty(0, np.float32)] for _ in rows]
        for (i, _), scores in zip(pieces, scored, strict=True):
            found[i].append(scores)
        return [np.concatenate(parts) for parts in found]

    def chain(self) -> "Chain":
        """A text that grows and may be cut back, of which nothing is read twice."""
        return Chain(self._engine, self._device, self.longest)

    def warm_up(self) -> None:
        """Loads the model. Raises `Unavailable` where that is not possible."""
        _ = self._engine

    def _windows(self, row: Row) -> Iterator[Row]:
        ids, start = row.ids, max(row.start, 1)
        head = list(self.bos) if tuple(ids[: len(self.bos)]) == self.bos else []
        if len(ids) <= self.longest:
            if start < len(ids):
                yield Row(ids, start)
            return
        while start < len(ids):
            end = min(len(ids), max(self.longest, start + self.longest - self.longest // 4 - len(head)))
            first = max(0, end - self.longest)
            if first:
                first += len(head)
                yield Row([*head, *ids[first:end]], start - first + len(head))
            else:
                yield Row(ids[:end], start)
            start = end

    @cached_property
    def _device(self) -> Device:
        return find(self._asked)

    @property
    def _engine(self) -> Engine:
        with self._lock:
            return self._loaded

    @cached_property
    def _loaded(self) -> Engine:
        return self._device.run(lambda: Engine(self.checkpoint, self._device.name, self._precision))


class Chain:
    """The cache of a growing text. For one thread at a time."""

    def __init__(self, engine: Engine, device: Device, longest: int) -> None:
        self._engine, self._device, self._longest = engine, device, longest
        self._cache = engine.cache()
        self._hidden: Any = None  # what the model makes of each token that was read

    def __len__(self) -> int:
        return 0 if self._hidden is None else int(self._hidden.shape[0])

    def extend(self, ids: Sequence[int], skip: int = 0) -> Surprises:
        """Reads on, and gives the surprise of ids[skip:]; that of a text's very first token is NaN."""
        if len(self) + len(ids) > self._longest:
            raise ValueError(f"{len(self)} + {len(ids)} tokens: a chain holds at most {self._longest}")
        if not ids:
            return np.empty(0, np.float32)
        return self._device.run(lambda: self._extend(ids, skip))

    def crop(self, length: int) -> None:
        """Forgets what was read after the first `length` tokens."""
        if length >= len(self):
            return
        self._device.run(lambda: self._crop(length))

    def _extend(self, ids: Sequence[int], skip: int) -> Surprises:
        torch, known = self._engine.torch, len(self)
        fresh, self._cache = self._engine.read([ids], self._cache)
        self._hidden = fresh[0] if self._hidden is None else torch.cat([self._hidden, fresh[0]])
        first = known + skip
        scores = self._engine.surprise(self._hidden[max(first, 1) - 1 : -1], ids[max(skip, 1 - known) :])
        if np.isnan(scores).any():
            raise CompressionError("the model gave NaN for a score")
        return scores if first or skip else np.concatenate([[np.float32(np.nan)], scores])

    def _crop(self, length: int) -> None:
        self._hidden = self._hidden[:length] if length else None
        self._cache = self._engine.crop(self._cache, length)


def causal(model: str, device: str = "auto", precision: str = "auto") -> CausalModel:
    """The causal language model of this name or folder; one for the same arguments, as long as somebody holds it.

    Raises `Unavailable` where it is not on this machine.
    """
    checkpoint = open_checkpoint(model)
    key = (checkpoint.folder, device, precision)
    with _lock:
        if (found := _models.get(key)) is None:
            found = _models[key] = CausalModel(checkpoint, device, precision)
        return found


_models: "WeakValueDictionary[tuple[Path, str, str], CausalModel]" = WeakValueDictionary()
_lock = threading.Lock()


def _torn(text: str) -> bool:
    """Whether half a surrogate pair stands in the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
