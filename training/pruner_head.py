"""Stage two of the pruner: the head learns to weigh what the features say, on what the trained encoder sees.

The loss is listwise over the units of one context. Some features are left out at random for whole contexts, so that
none is relied on alone; a share of the lexical score is added at the end, since the sets that may be trained on are
easier than what comes later.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.nn import functional as F

from compressors.embedding import Embedded
from compressors.features import NAMES, WINDOW, described, windows
from compressors.head import Head
from compressors.lexical import Weights, analysis
from training.pruner_data import Example
from training.pruner_encoder import encode

Floats = NDArray[np.float32]
_ROWS = 4096  # tokens of a batch, padding included


@dataclass(frozen=True, slots=True)
class Fit:
    hidden: int = 12
    heads: int = 3  # of which the mean is taken: as many seeds
    epochs: int = 15
    batch: int = 16  # contexts
    rate: float = 3e-3
    decay: float = 1e-2
    dropped: float = 0.1  # share of the features
    lexical: float = 8.0  # what the lexical score, 0..1, adds to a logit
    passage: float = 0.3  # share of its passage's best logit that a unit gets
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """A context's features, and what is wanted of it."""

    features: Floats
    gold: Floats
    kind: str
    document: str


def known(model: Any, tokenizer: Any, examples: Sequence[Example], cache: Path, quiet: bool) -> list[Known]:
    """The examples' features. Every hundred are left in `cache`, from which it goes on."""
    done = _load(cache)
    for example in track(examples[len(done) :], "features", disable=quiet):
        done.append(_known(model, tokenizer, example))
        if len(done) % 100 == 0 or len(done) == len(examples):
            _store(done, cache)
    return done


def fit(contexts: Sequence[Known], given: Fit) -> tuple[Head, dict[str, float]]:
    """The mean of several heads, and the loss on contexts that none was trained on (an eighth, by document)."""
    apart = [c for c in contexts if zlib.crc32(c.document.encode()) % 8 == 0]
    rest = [c for c in contexts if zlib.crc32(c.document.encode()) % 8]
    together = np.concatenate([c.features for c in rest])
    mean, scale = together.mean(0), together.std(0) + 1e-3
    heads = [_fit(rest, apart, (mean, scale), replace(given, seed=given.seed + n)) for n in range(given.heads)]
    head = Head(
        mean=mean,
        scale=scale,
        hidden=np.concatenate([h.hidden for h in heads], axis=1),
        bias=np.concatenate([h.bias for h in heads]),
        out=np.concatenate([h.out / np.float32(len(heads)) for h in heads]),
        skip=np.mean([h.skip for h in heads], axis=0, dtype=np.float32),
        passage=given.passage,
    )
    kinds = ("", *sorted({c.kind for c in apart}))
    losses = {kind or "all": round(_apart(head, apart, kind), 4) for kind in kinds}
    place = NAMES.index("lexical")
    head.skip[place] += given.lexical * scale[place]
    return head, losses


class _Net(torch.nn.Module):
    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(features, hidden)
        self.out = torch.nn.Linear(hidden, 1, bias=False)
        self.skip = torch.nn.Linear(features, 1, bias=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        inner = F.gelu(self.inner(given), approximate="tanh")
        return torch.as_tensor(self.out(inner) + self.skip(given)).squeeze(-1)


def _fit(rest: Sequence[Known], apart: Sequence[Known], scaling: tuple[Floats, Floats], given: Fit) -> Head:
    """One head: the state after the epoch with the least loss on `apart`."""
    torch.manual_seed(given.seed)
    rng = np.random.default_rng(given.seed)
    net = _Net(len(NAMES), given.hidden)
    optimizer = torch.optim.AdamW(net.parameters(), lr=given.rate, weight_decay=given.decay)
    contexts = [(torch.from_numpy((c.features - scaling[0]) / scaling[1]), torch.from_numpy(c.gold)) for c in rest]
    steps = given.epochs * math.ceil(len(contexts) / given.batch)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, given.rate, total_steps=steps)
    best, lowest = _head(net, scaling), math.inf
    for _ in range(given.epochs):
        order = rng.permutation(len(contexts)).tolist()
        for at in range(0, len(order), given.batch):
            chosen = [contexts[i] for i in order[at : at + given.batch]]
            scores = net(torch.cat([_dropped(x, given.dropped) for x, _ in chosen])).split([len(x) for x, _ in chosen])
            losses = [_loss(own, gold) for own, (_, gold) in zip(scores, chosen, strict=True)]
            torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            pace.step()
        head = _head(net, scaling)
        if (loss := _apart(head, apart or rest)) < lowest:
            best, lowest = head, loss
    return best


def _dropped(given: torch.Tensor, share: float) -> torch.Tensor:
    return given * (torch.rand(given.shape[1]) >= share)


def _loss(scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
    return -(gold / gold.sum() * F.log_softmax(scores, dim=0)).sum()


def _apart(head: Head, contexts: Iterable[Known], kind: str = "") -> float:
    found = [c for c in contexts if kind in ("", c.kind)]
    losses = [_loss(torch.from_numpy(head.logits(c.features)), torch.from_numpy(c.gold)).item() for c in found]
    return sum(losses) / max(1, len(losses))


def _head(net: _Net, scaling: tuple[Floats, Floats]) -> Head:
    weights = [w.detach().numpy().copy() for w in (net.inner.weight.T, net.inner.bias, net.out.weight, net.skip.weight)]
    return Head(*scaling, weights[0], weights[1], weights[2][0], weights[3][0])


def _known(model: Any, tokenizer: Any, example: Example) -> Known:
    words = analysis(example.task, example.units, Weights())
    words = replace(words, matched=0.0) if example.kind == "blind" else words
    seen = embedded(model, tokenizer, example, words.passages)
    return Known(described(words, seen), example.gold, example.kind, example.document)


def embedded(model: Any, tokenizer: Any, example: Example, found: Sequence[Any]) -> Embedded:
    """What the runtime's encoder would give, from torch."""
    rows = windows(example.task.text, example.units, found, tokenizer)
    question = tokenizer.encode(example.task.question).ids[:WINDOW]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    vectors: dict[int, Floats] = {}
    batch: list[int] = []
    for i in [*order, -1]:
        if batch and (i < 0 or (len(batch) + 1) * len(rows[i].ids) > _ROWS):
            vectors |= dict(zip(batch, _vectors(model, [rows[n].ids for n in batch]), strict=True))
            batch = []
        batch.append(i)
    return Embedded(
        question=_vectors(model, [question])[0][1:-1],
        vectors=np.concatenate([vectors[n] for n in range(len(rows))]).astype(np.float16),
        owners=np.concatenate([row.owners for row in rows]),
        passages=np.repeat([row.passage for row in rows], [len(row.ids) for row in rows]).astype(np.intp),
    )


def _vectors(model: Any, rows: Sequence[Sequence[int]]) -> list[Floats]:
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
        tokens, _ = encode(model, rows, device)
    return [line[: len(row)] for line, row in zip(tokens.cpu().numpy(), rows, strict=True)]


def _store(done: Sequence[Known], cache: Path) -> None:
    making = cache.with_suffix(".new.npz")
    sizes = [len(c.gold) for c in done]
    kinds, documents = [c.kind for c in done], [c.document for c in done]
    together = np.concatenate([c.features for c in done]), np.concatenate([c.gold for c in done])
    np.savez(making, features=together[0], gold=together[1], sizes=sizes, kinds=kinds, documents=documents)
    making.replace(cache)


def _load(cache: Path) -> list[Known]:
    if not cache.exists():
        return []
    with np.load(cache) as saved:
        cuts = np.cumsum(saved["sizes"])[:-1]
        pieces = zip(np.split(saved["features"], cuts), np.split(saved["gold"], cuts), strict=True)
        names = zip(saved["kinds"].tolist(), saved["documents"].tolist(), strict=True)
        return [Known(x, gold, kind, document) for (x, gold), (kind, document) in zip(pieces, names, strict=True)]
