"""Stage one of the pruner: the encoder learns to place a question near the units that answer it.

The loss is listwise: over all units of a batch, those of the same passages above all, with the mean of a unit's
tokens, and over whole passages. The word embeddings stay as they are: little data moves few of them.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from compressors.features import WINDOW, Window, windows
from compressors.lexical import passages
from training.pruner_data import Example, Mix, Pool, example, mixed
from training.records import Record

_QUESTION = 64  # word pieces


@dataclass(frozen=True, slots=True)
class Schedule:
    steps: int = 500
    tokens: int = 1600  # of passages a batch
    rate: float = 8e-5
    warm: float = 0.05  # share of the steps
    sharp: float = 20.0  # what cosines are multiplied by
    nearest: float = 1.0  # weight of the loss over the nearest tokens
    passage: float = 0.5  # weight of the loss over passages
    frozen: float = 0.5  # share of the layers, from below, that stays as it is, like the word embeddings
    every: int = 25  # steps between checkpoints
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the share of each unit of its group that is evidence."""

    question: str
    gold: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Group:
    """Passages that are read together, and what is asked about them."""

    rows: tuple[Window, ...]
    units: int
    passages: int
    asked: tuple[Asked, ...]

    @property
    def size(self) -> int:
        return sum(len(row.ids) for row in self.rows)


def train(model: Any, tokenizer: Any, groups: Callable[[int], Iterator[Group]], given: Schedule, state: Path) -> None:
    """Trains in place. `groups(seed)` yields without end; checkpoints go to `state`, from which it goes on."""
    for part in (model.embeddings, *model.encoder.layer[: int(given.frozen * len(model.encoder.layer))]):
        part.requires_grad_(False)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=given.rate, weight_decay=0.01)
    start = _resume(model, optimizer, state)
    stream = groups(given.seed + start)
    device = next(model.parameters()).device
    model.train()
    seen, total = 0, 0.0
    for step in range(start, given.steps):
        torch.manual_seed(given.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = given.rate * _pace(step, given)
        batch = [next(stream)]
        while sum(g.size for g in batch) < given.tokens:
            batch.append(next(stream))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = _loss(model, tokenizer, batch, given)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seen += sum(g.size for g in batch)
        total += loss.item()
        if (step + 1) % given.every == 0 or step + 1 == given.steps:
            _save(model, optimizer, step + 1, state)
            print(f"step {step + 1} tokens {seen} loss {total / given.every:.3f}", flush=True)
            total = 0.0
    model.eval()


def stream(sets: Mapping[str, Sequence[Record]], found: Pool, mix: Mix, tokenizer: Any) -> Callable[[int], Any]:
    """Groups without end: mixed examples with one question each, and paragraphs of articles with several."""
    articles = _articles(sets["squad"])

    def groups(seed: int) -> Iterator[Group]:
        rng = random.Random(seed)
        while True:
            some = mixed(sets, found, mix, rng.randrange(1 << 30))
            for made in some:
                yield group([made], tokenizer)
                if rng.random() < 0.5:
                    yield group(_about(rng.choice(articles), rng), tokenizer)

    return groups


def group(examples: Sequence[Example], tokenizer: Any) -> Group:
    """Examples with the same text, and different questions."""
    one = examples[0]
    found = passages(one.task, one.units)
    rows = windows(one.task.text, one.units, found, tokenizer)
    return Group(tuple(rows), len(one.units), len(found), tuple(Asked(e.task.question, e.gold) for e in examples))


def _articles(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each title, by paragraph that answers."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(next(d["title"] for d in record["documents"] if d["is_gold"]), []).append(record)
    return [group for group in found.values() if len(group) > 8]


def _about(records: Sequence[Record], rng: random.Random) -> list[Example]:
    """Some paragraphs of an article, and up to twelve questions that they answer."""
    chosen = rng.sample(records, min(12, len(records)))
    texts: dict[str, Record] = {}
    for record in chosen:
        gold = record["documents"][record["evidence"][0]["doc"]]
        texts.setdefault(gold["text"], gold)
    documents = list(texts.values())[:6]
    places = {document["text"]: i for i, document in enumerate(documents)}
    made = []
    titled = rng.random() < 0.7
    for record in chosen:
        place = places.get(record["documents"][record["evidence"][0]["doc"]]["text"])
        if place is not None:
            evidence = [{**e, "doc": place} for e in record["evidence"]]
            moved = {**record, "documents": documents, "evidence": evidence}
            made.append(example(moved, "squad", titled))
    return [one for one in made if one.gold.any()] or made[:1]


def _loss(model: Any, tokenizer: Any, batch: Sequence[Group], given: Schedule) -> torch.Tensor:
    device = next(model.parameters()).device
    rows = [row for g in batch for row in g.rows]
    unit_at = np.cumsum([0, *(g.units for g in batch)])
    passage_at = np.cumsum([0, *(g.passages for g in batch)])
    tokens, mask = encode(model, [row.ids for row in rows], device)
    owners = np.full(mask.shape, -1)
    owner_passages = np.zeros(len(rows), int)
    at = 0
    for n, g in enumerate(batch):
        for row in g.rows:
            owners[at, : len(row.owners)] = np.where(row.owners >= 0, row.owners + unit_at[n], -1)
            owner_passages[at] = row.passage + passage_at[n]
            at += 1
    own = torch.from_numpy(owners).to(device)
    flat, unit = tokens[own >= 0], own[own >= 0]
    count = int(unit_at[-1])
    units = F.normalize(torch.zeros(count, tokens.shape[2], device=device).index_add_(0, unit, flat), dim=1)
    summed = (tokens * mask[..., None]).sum(1)
    into = torch.from_numpy(owner_passages).to(device)
    whole = torch.zeros(int(passage_at[-1]), tokens.shape[2], device=device).index_add_(0, into, summed)
    asked = [ask for g in batch for ask in g.asked]
    ids = [tokenizer.encode(ask.question).ids[:_QUESTION] for ask in asked]
    words, there = encode(model, ids, device)
    inner = _inner(there)
    questions = F.normalize((words * inner[..., None]).sum(1), dim=1)
    gold = torch.zeros(len(asked), count, device=device)
    gold_passage = torch.zeros(len(asked), len(whole), device=device)
    place = torch.zeros(count, dtype=torch.long, device=device)
    place[unit] = into[(own >= 0).nonzero()[:, 0]]
    at = 0
    for n, g in enumerate(batch):
        for ask in g.asked:
            gold[at, unit_at[n] : unit_at[n + 1]] = torch.from_numpy(ask.gold).to(device)
            at += 1
    gold_passage.index_add_(1, place, gold)
    gold_passage = (gold_passage > 0).float()
    loss = _listwise(questions @ units.T, gold, given.sharp)
    loss = loss + given.passage * _listwise(questions @ F.normalize(whole, dim=1).T, gold_passage, given.sharp)
    if given.nearest:
        near = _nearest(F.normalize(words, dim=2), inner, F.normalize(flat, dim=1), unit, count)
        loss = loss + given.nearest * _listwise(near, gold, 1.5 * given.sharp)
    return loss


def encode(model: Any, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token vectors and the mask, padded to the longest row."""
    longest = min(WINDOW, max(map(len, rows)))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for line, real, row in zip(ids, mask, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
        real[: len(row)] = 1
    mask = mask.to(device)
    return model(input_ids=ids.to(device), attention_mask=mask).last_hidden_state.float(), mask


def _nearest(
    words: torch.Tensor, inner: torch.Tensor, flat: torch.Tensor, unit: torch.Tensor, count: int
) -> torch.Tensor:
    """For each question and unit, the mean over the question's tokens of the nearest token's cosine (ColBERT; Khattab
    and Zaharia, arXiv 2004.12832)."""
    near = (words @ flat.T).float()
    best = torch.full((*near.shape[:2], count), -1.0, device=near.device)
    best = best.scatter_reduce(2, unit.expand(near.shape), near, "amax")
    return (best * inner[..., None]).sum(1) / inner.sum(1, keepdim=True)


def _inner(there: torch.Tensor) -> torch.Tensor:
    """The mask without the first and the last token of each row."""
    inner = there.clone().float()
    inner[:, 0] = 0
    inner[torch.arange(len(there), device=there.device), there.sum(1) - 1] = 0
    return inner


def _listwise(scores: torch.Tensor, gold: torch.Tensor, sharp: float) -> torch.Tensor:
    """Cross-entropy with the evidence as the distribution that is wanted."""
    wanted = gold / gold.sum(1, keepdim=True).clamp_min(1e-6)
    return -(wanted * F.log_softmax(scores.float() * sharp, dim=1)).sum(1).mean()


def _pace(step: int, given: Schedule) -> float:
    """Up to 1 over the first steps, then down along a cosine."""
    warm = max(1, int(given.warm * given.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, given.steps - warm)))


def _save(model: Any, optimizer: Any, step: int, state: Path) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    making = state.with_suffix(".new")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, making)
    making.replace(state)


def _resume(model: Any, optimizer: Any, state: Path) -> int:
    if not state.exists():
        return 0
    saved = torch.load(state, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])
