"""An extractive reader: which span of a text answers a question, or none. For evaluation only; it is never shipped.

    python training/reader.py --data DIR --base FOLDER --out FOLDER [--epochs 2] [--seed 0]

`benchmarks/quality.py --reader` reads original and compressed texts with it, to see what compression does to a reader
that was not made for it. BASE is any BERT-like encoder; OUT becomes a checkpoint for question answering as
transformers has them (Devlin et al., 2019: a start and an end for each word piece, [CLS] for "not here").

Trained on the records of `SETS` that `training.records.trainable` gives, never on what is measured. Each record gives
a window with its answer and now and then one without; passages stand alone or beside another one, with or without their
title, and of some windows sentences are left out, so that the reader knows short texts as well as long ones. Windows
are drawn anew each epoch from the seed, so a run that was broken off goes on from its last checkpoint as it would have.
"""

import argparse
import json
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from compressors import spans
from training import records

SETS = ("qa_squad", "qa_qed", "qa_nq_multidoc", "qa_musique")  # licences: yes; see the data's own notes
PIECES = 256  # of question and text together; longer windows take long and teach little
DEV_SHARE = 40  # one in so many documents is not trained on but looked at


@dataclass(frozen=True, slots=True)
class Settings:
    epochs: int = 2
    batch: int = 16
    rate: float = 1.5e-4
    warm: float = 0.06
    seed: int = 0
    threads: int = 1
    save_every: int = 50


@dataclass(frozen=True, slots=True)
class Window:
    """A question and a text. `start..end`, in code points, is the answer; -1 and -1 where the text holds none."""

    question: str
    text: str
    start: int
    end: int


def windows(record: records.Record, rng: random.Random) -> Iterator[Window]:
    """Those of one record: with its answer, where that can be found beside the evidence; two in five, one without."""
    found = _answer(record)
    if found is None:
        return
    place, start, end = found
    others = [d for i, d in enumerate(record["documents"]) if i != place and not _holds(d["text"], record["answers"])]
    rng.shuffle(others)
    gold = record["documents"][place]
    text, start, end = _thinned(gold["text"], start, end, rng) if rng.random() < 0.75 else (gold["text"], start, end)
    titled = rng.random() < 0.7
    head = _head(gold["title"], rng) if titled else ""
    before = _shown(others.pop(), titled, rng) if others and rng.random() < 0.1 else ""
    after = "\n\n" + _shown(others.pop(), titled, rng) if others and rng.random() < 0.1 else ""
    at = len(before) + len(head)
    yield Window(record["question"], before + head + text + after, at + start, at + end)
    if others and rng.random() < 0.4:
        bare = others.pop()
        shown = {**bare, "text": _thinned(bare["text"], -1, -1, rng)[0]}
        yield Window(record["question"], _shown(shown, titled, rng), -1, -1)


def _answer(record: records.Record) -> tuple[int, int, int] | None:
    """Document and place of an answer: within the evidence if it is there, else in a gold document."""
    documents = record["documents"]
    where = [(e["doc"], e["start"], e["end"]) for e in record["evidence"]]
    where += [(i, 0, len(d["text"])) for i, d in enumerate(documents) if d["is_gold"]]
    for place, start, end in where:
        for answer in record["answers"]:
            match = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", documents[place]["text"][start:end], re.IGNORECASE)
            if answer and match:
                return place, start + match.start(), start + match.end()
    return None


def _holds(text: str, answers: Sequence[str]) -> bool:
    return any(answer.lower() in text.lower() for answer in answers)


def _head(title: str, rng: random.Random) -> str:
    return f"[{rng.randint(1, 20)}] {title}\n"


def _shown(document: dict[str, Any], titled: bool, rng: random.Random) -> str:
    return (_head(document["title"], rng) if titled else "") + str(document["text"]) + "\n\n"


def _thinned(text: str, start: int, end: int, rng: random.Random) -> tuple[str, int, int]:
    """The text without some of its sentences; those of the answer stay."""
    shown, moved = "", (start, end)
    for a, b in spans.sentences(text):
        if a <= start < b:
            moved = (len(shown) + start - a, len(shown) + end - a)
        if (a < end and start < b) or rng.random() < 0.5:
            shown += text[a:b]
    return shown, *moved


def load(folder: Path) -> tuple[list[records.Record], list[records.Record]]:
    """What is trained on, and what of the same half is only looked at."""
    found = [r for name in SETS for r in map(records.trainable, records.read(folder / f"{name}.jsonl.gz")) if r]
    apart = [zlib.crc32(_title(r).encode()) // 2 % DEV_SHARE == 0 for r in found]  # its last bit chose the half
    return [r for r, dev in zip(found, apart, strict=True) if not dev], [
        r for r, dev in zip(found, apart, strict=True) if dev
    ]


def _title(record: records.Record) -> str:
    gold = next((d for d in record["documents"] if d["is_gold"]), record["documents"][0])
    return str(gold["title"]).strip().lower()


class Batches:
    """Windows as tensors, those of about the same length together; the same for the same seed and epoch."""

    def __init__(self, tokenizer: Any, settings: Settings) -> None:
        self._tokenizer, self._settings = tokenizer, settings

    def of(self, found: Sequence[records.Record], epoch: int) -> list[list[Window]]:
        rng = random.Random(f"{self._settings.seed} {epoch}")
        drawn = [window for record in found for window in windows(record, rng)]
        rng.shuffle(drawn)
        size, pool = self._settings.batch, self._settings.batch * 50
        groups = []
        for at in range(0, len(drawn), pool):
            near = sorted(drawn[at : at + pool], key=lambda window: len(window.text))
            groups += [near[i : i + size] for i in range(0, len(near), size)]
        rng.shuffle(groups)
        return groups

    def tensors(self, group: Sequence[Window]) -> dict[str, torch.Tensor]:
        """What the model takes. An answer beyond the last piece that fits counts as not there."""
        coded = self._tokenizer(
            [w.question for w in group],
            [w.text for w in group],
            truncation="only_second",
            max_length=PIECES,
            padding=True,
            return_tensors="pt",
        )
        starts = [self._piece(coded, i, w.start) for i, w in enumerate(group)]
        ends = [self._piece(coded, i, w.end - 1 if w.end > 0 else -1) for i, w in enumerate(group)]
        there = [bool(start and end) for start, end in zip(starts, ends, strict=True)]
        return {
            **coded,
            "start_positions": torch.tensor([start * ok for start, ok in zip(starts, there, strict=True)]),
            "end_positions": torch.tensor([end * ok for end, ok in zip(ends, there, strict=True)]),
        }

    @staticmethod
    def _piece(coded: Any, row: int, at: int) -> int:
        return (coded.char_to_token(row, at, sequence_index=1) or 0) if at >= 0 else 0


class Training:
    """A run: the model, its optimizer, and where it stands. `folder` holds the checkpoint."""

    def __init__(self, base: Path, folder: Path, steps: int, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.model = AutoModelForQuestionAnswering.from_pretrained(base)
        self.model.get_input_embeddings().requires_grad_(False)  # most words of the table occur seldom or never
        learned = [p for p in self.model.parameters() if p.requires_grad]
        decayed, plain = [p for p in learned if p.ndim > 1], [p for p in learned if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=settings.rate
        )
        first = max(1, round(settings.warm * steps))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min(step / first, max(0.0, (steps - step) / max(1, steps - first)))
        )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self._file = folder / "checkpoint.pt"
        self.step = 0

    def resume(self) -> bool:
        if not self._file.exists():
            return False
        state = torch.load(self._file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        self.step = state["step"]
        return True

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
        }
        part = self._file.with_suffix(".part")
        torch.save(state, part)
        part.replace(self._file)

    def learn(self, tensors: dict[str, torch.Tensor]) -> float:
        self.model.train()
        loss = self._loss(tensors)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def exact(self, batches: Batches, groups: Sequence[Sequence[Window]]) -> float:
        """Share of windows whose most likely start and end are both right, [CLS] for those without an answer."""
        self.model.eval()
        right = [
            ((out.start_logits.argmax(1) == t["start_positions"]) & (out.end_logits.argmax(1) == t["end_positions"]))
            for t in ({k: v.to(self.device) for k, v in batches.tensors(group).items()} for group in groups)
            for out in (self.model(**t),)
        ]
        return float(torch.cat(right).float().mean())

    def _loss(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16):
            loss: torch.Tensor = self.model(**{k: v.to(self.device) for k, v in tensors.items()}).loss
        return loss


def train(given: argparse.Namespace, settings: Settings, console: Console) -> None:
    torch.set_num_threads(settings.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(given.base)
    batches = Batches(tokenizer, settings)
    found, looked_at = load(given.data)
    plan = [group for epoch in range(settings.epochs) for group in batches.of(found, epoch)]
    dev = batches.of(looked_at, -1)
    run = Training(given.base, given.out, len(plan), settings)
    if run.resume():
        console.print(f"goes on from step {run.step}")
    console.print(f"{len(found)} records, {len(plan)} steps of {settings.batch} windows; looked at: {len(looked_at)}")
    losses: list[float] = []
    for group in plan[run.step :]:
        losses.append(run.learn(batches.tensors(group)))
        if run.step % settings.save_every == 0 or run.step == len(plan):
            run.save()
            exact = run.exact(batches, dev[:20]) if run.step % (settings.save_every * 5) == 0 else None
            recent = losses[-settings.save_every :]
            said = "" if exact is None else f", right on windows not trained on {exact:.3f}"
            console.log(f"step {run.step} of {len(plan)}: loss {sum(recent) / len(recent):.3f}{said}")
    run.model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)
    report = {
        "settings": asdict(settings),
        "sets": SETS,
        "records": len(found),
        "steps": len(plan),
        "right_on_windows_not_trained_on": round(run.exact(batches, dev), 4),
        "windows_not_trained_on": sum(map(len, dev)),
    }
    (given.out / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    console.print(report)


def main() -> None:
    usual = Settings()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with qa_*.jsonl.gz")
    parser.add_argument("--base", type=Path, required=True, help="folder of the encoder to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the reader, and of its checkpoint")
    parser.add_argument("--epochs", type=int, default=usual.epochs)
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--seed", type=int, default=usual.seed)
    given = parser.parse_args()
    settings = Settings(epochs=given.epochs, threads=given.threads, seed=given.seed)
    train(given, settings, Console(soft_wrap=True))


if __name__ == "__main__":
    main()
