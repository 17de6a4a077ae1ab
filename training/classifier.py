"""Step 4 of the pipeline of LLMLingua-2 (Pan et al., arXiv 2403.12968): trains the token classifier.

    python -m training.classifier --data DIR --base FOLDER --out FOLDER [--layers 3] [--without compress_google]
    python -m training.classifier --pairs FILE... --base FOLDER --out FOLDER

DIR holds the sets of `training.classifier_sources.SOURCES`, FILE is what `training.annotate` writes (JSON lines with
`text` and `keep_spans`), FOLDER a checkpoint of a model like BERT. What comes out is a checkpoint that the compressor
`classifier` takes as it is, with `laconic.json`: its settings, the threshold, and what was measured on held pairs. The
threshold is 0.5: the model's last bias is moved so that this is where F1 was best on pairs that it was not trained on.

Every `--every` steps all that a run needs to go on is written to `OUT/resume.pt`: the same command then goes on from
there, and ends with the same weights as if it had never stopped. On a GPU where there is one.

Sources differ in how much they keep. Each has a bias of its own while the model learns, which is left out at the end:
what is learnt is which words of a text matter more. The bias of the pairs is fixed at 0, so their rate is the model's.
"""

import argparse
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn
from torch.nn.functional import binary_cross_entropy_with_logits

from compressors.checkpoint import open_checkpoint
from training import jsonl
from training.classifier_eval import pair_metrics, thresholds
from training.classifier_rows import Row, batch, batches, cut, together
from training.classifier_sources import SOURCES, Labelled, labelled, pairs
from training.records import HELD, TUNE

_DEV = 12  # one text of so many of the tune part finds the threshold and is not trained on


@dataclass(frozen=True, slots=True)
class Settings:
    layers: int = 6
    longest: int = 320
    pieces: int = 2048  # a step
    epochs: int = 4
    rate: float = 2e-4
    warm: float = 0.06
    decay: float = 0.01
    pairs: float = 1.0  # how much a word of a pair counts, against 1 for a word of the other sources
    frozen: bool = True  # word embeddings stay: words that are not in the data keep their meaning
    seed: int = 1
    every: int = 100
    bf16: bool = False
    share: dict[str, float] = field(default_factory=dict)  # of a source's rows in each epoch; 1 where nothing is said


class Keeper(torch.nn.Module):
    """The model as transformers has it, and a bias a source: logits that a piece is kept."""

    def __init__(self, model: Any, sources: int) -> None:
        super().__init__()
        self.model = model
        self.bias = torch.nn.Parameter(torch.zeros(sources))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        found = self.model(input_ids=ids, attention_mask=mask).logits
        logits: torch.Tensor = found[..., 1].float() - found[..., 0].float()
        free = torch.cat([torch.zeros_like(self.bias[:1]), self.bias[1:]])
        return logits + free[sources][:, None]


def untrained(base: Path, layers: int, seed: int) -> Any:
    """A classifier of two labels with the first or, where it is to be shallower, evenly spread layers of a model."""
    from transformers import BertForTokenClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    model = BertForTokenClassification.from_pretrained(base, num_labels=2, id2label={0: "drop", 1: "keep"})
    whole = model.bert.encoder.layer
    if layers < len(whole):
        step = len(whole) / layers
        model.bert.encoder.layer = torch.nn.ModuleList(whole[int(i * step)] for i in range(layers))
        model.config.num_hidden_layers = layers
    return model


def epoch(rows: dict[int, list[Row]], settings: Settings, number: int, names: Sequence[str]) -> list[list[Row]]:
    """The batches of an epoch: the same for the same seed, whatever ran before."""
    rng = random.Random(f"{settings.seed} {number}")
    found: list[Row] = []
    for source, own in sorted(rows.items()):
        share = settings.share.get(names[source], 1.0)
        some = rng.sample(own, round(len(own) * share)) if share < 1 else own
        found += together(some, settings.longest, rng) if source == 0 else some
    return [[found[i] for i in numbers] for numbers in batches(found, settings.pieces, rng)]


def train(
    rows: dict[int, list[Row]],
    names: Sequence[str],
    places: tuple[Path, Path],
    settings: Settings,
    told: Callable[[int, int, float], None],
) -> Any:
    """The trained model. `rows` by source number, of which 0 are pairs; `places`: the base model and the folder for
    `resume.pt`; `told` hears of every step done, how many there will be, and the loss."""
    base, out = places
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keeper = Keeper(untrained(base, settings.layers, settings.seed), len(names)).to(device).train()
    if settings.frozen:
        keeper.model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    steps = [len(epoch(rows, settings, i, names)) for i in range(settings.epochs)]
    optimizer = _optimizer(keeper, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, sum(steps), settings.warm))
    parts = {"keeper": keeper, "optimizer": optimizer, "schedule": schedule}
    done = _resumed(out / "resume.pt", parts, _identity(settings, rows), device)
    weights = torch.tensor([settings.pairs] + [1.0] * (len(names) - 1), device=device)
    average = 0.0
    for number, count in enumerate(steps):
        before = sum(steps[:number])
        if done >= before + count:
            continue
        for group in epoch(rows, settings, number, names)[done - before :]:
            loss = _step(keeper, group, weights, settings)
            torch.nn.utils.clip_grad_norm_(keeper.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            done += 1
            average += (loss - average) * max(0.02, 1 / done)
            if done % settings.every == 0:
                _save(out / "resume.pt", parts, done, _identity(settings, rows))
            told(done, sum(steps), average)
    return keeper.model.eval()


def _step(keeper: Keeper, group: Sequence[Row], weights: torch.Tensor, settings: Settings) -> float:
    device = weights.device
    found = batch(group)
    ids, mask, target, weight, sources = (
        torch.from_numpy(part).to(device) for part in (found.ids, found.mask, found.target, found.weight, found.sources)
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16 or device.type == "cuda"):
        logits = keeper(ids, mask, sources)
    weight = weight * weights[sources][:, None]
    loss = (binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / weight.sum().clamp(1)
    torch.autograd.backward(loss)
    return float(loss.detach())


def _optimizer(keeper: Keeper, settings: Settings) -> torch.optim.Optimizer:
    named = [(name, p) for name, p in keeper.named_parameters() if p.requires_grad]
    plain = [p for name, p in named if p.ndim < 2 and name != "bias"]
    heavy = [p for _, p in named if p.ndim >= 2]
    return torch.optim.AdamW(
        [
            {"params": heavy, "weight_decay": settings.decay},
            {"params": plain, "weight_decay": 0.0},
            {"params": [keeper.bias], "weight_decay": 0.0, "lr": settings.rate * 50},
        ],
        lr=settings.rate,
    )


def _pace(step: int, steps: int, warm: float) -> float:
    first = max(1, round(steps * warm))
    return (step + 1) / first if step < first else max(0.0, (steps - step) / max(1, steps - first))


def _identity(settings: Settings, rows: dict[int, list[Row]]) -> str:
    """What has to be the same for a run to be gone on with."""
    return json.dumps([asdict(settings), {n: [len(r), sum(len(x.ids) for x in r)] for n, r in rows.items()}])


def _save(path: Path, parts: dict[str, Any], done: int, identity: str) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    chance = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]
    partial = path.with_suffix(".part")
    torch.save({**state, "done": done, "identity": identity, "chance": chance}, partial)
    os.replace(partial, path)


def _resumed(path: Path, parts: dict[str, Any], identity: str, device: torch.device) -> int:
    """Steps that an earlier run has done. Raises `SystemExit` where that run had other settings or data."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    if state["identity"] != identity:
        raise SystemExit(f"{path} is of a run with other settings or data: go on with those, or delete it")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["chance"][0].cpu())
    if len(state["chance"]) > 1:
        torch.cuda.set_rng_state_all([one.cpu() for one in state["chance"][1:]])
    return int(state["done"])


def settle(model: Any, threshold: float) -> None:
    """Makes 0.5 the threshold, which people expect and compressors take.

    The order of pieces stays; that of words, which are means over pieces, may change a little.
    """
    with torch.no_grad():
        model.classifier.bias[1] -= math.log(threshold / (1 - threshold))


def write(model: Any, base: Path, out: Path, about: dict[str, Any]) -> None:
    """The checkpoint, with the base's tokenizer and `laconic.json`."""
    model.to("cpu").float().save_pretrained(out, safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    (out / "laconic.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the sets")
    parser.add_argument("--pairs", type=Path, nargs="+", default=[], help="annotated pairs, .jsonl or .jsonl.gz")
    parser.add_argument("--base", type=Path, required=True, help="checkpoint to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", nargs="+", choices=SOURCES, default=[], help="sets to leave out")
    parser.add_argument("--share", nargs="+", default=[], metavar="SET=SHARE", help="of a set's rows in each epoch")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves it to torch")
    for name, value in asdict(Settings()).items():
        if name in ("frozen", "bf16"):
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=value)
        elif name != "share":
            parser.add_argument(f"--{name.replace('pairs', 'pair-weight')}", type=type(value), default=value)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    shares = {name: float(share) for name, _, share in (text.partition("=") for text in given.share)}
    values = {name: getattr(given, name) for name in asdict(Settings()) if name not in ("share", "pairs")}
    run(given, Settings(**values, pairs=given.pair_weight, share=shares))


def run(given: argparse.Namespace, settings: Settings) -> None:
    console = Console()
    given.out.mkdir(parents=True, exist_ok=True)
    texts = {"pairs": [found for path in given.pairs for found in pairs(_lines(path), TUNE)]}
    for name in SOURCES if given.data else ():
        if name not in given.without:
            own = "pairs" if SOURCES[name].read is pairs else name
            texts.setdefault(own, []).extend(labelled(given.data, name, TUNE))
    names = list(texts)
    tokenizer = open_checkpoint(str(given.base)).tokenizer
    dev = [found for found in texts["pairs"] if _is_dev(found)]
    rows = {
        number: [row for found in own if not _is_dev(found) for row in cut(found, number, tokenizer, settings.longest)]
        for number, own in enumerate(texts.values())
    }
    rows = {number: own for number, own in rows.items() if own}
    for number, cuts in rows.items():
        console.print(f"{names[number]}: {len(cuts)} rows, {sum(len(row.ids) for row in cuts)} pieces", soft_wrap=True)
    columns = (*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]:.4f}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("training", total=None, loss=float("nan"))

        def told(done: int, steps: int, loss: float) -> None:
            progress.update(bar, completed=done, total=steps, loss=loss)
            if not console.is_terminal and done % settings.every == 0:
                console.print(f"{done}/{steps} loss {loss:.4f}")

        model = train(rows, names, (given.base, given.out), settings, told)
    about: dict[str, Any] = {"sources": names, "without": given.without, "settings": asdict(settings)}
    if dev:
        for _ in range(2):
            settle(model, thresholds(model, tokenizer, dev))
        held = [found for path in given.pairs for found in pairs(_lines(path), HELD)]
        for name in SOURCES if given.data else ():
            if SOURCES[name].read is pairs and name not in given.without:
                held += labelled(given.data, name, HELD)
        about |= {"threshold": 0.5, "metrics": pair_metrics(model, tokenizer, held, 0.5)}
        console.print(about["metrics"])
    write(model, given.base, given.out, about)
    (given.out / "resume.pt").unlink(missing_ok=True)


def _is_dev(found: Labelled) -> bool:
    return random.Random(f"dev {found.key}").randrange(_DEV) == 0


def _lines(path: Path) -> Iterator[jsonl.Record]:
    """Raises `jsonl.BadFile` for lines that are no pairs."""
    for number, record in jsonl.read(path):
        where = f"{path}:{number}"
        jsonl.name(record, where)
        jsonl.need(record, "text", str, where)
        jsonl.need(record, "keep_spans", list, where)
        yield record


if __name__ == "__main__":
    main()
