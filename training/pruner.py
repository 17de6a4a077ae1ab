"""Trains the pruner: an encoder that places questions near what answers them, and the head that weighs its features.

    python -m training.pruner --data DIR --base FOLDER --out FOLDER [--steps 0] [--tokens 1600] [--seed 0]

DIR holds `qa_*.jsonl.gz` (see benchmarks/quality.py for the form); only sets that may be trained on are read, and of
them only the tune half by document. BASE is a BERT-like sentence encoder as transformers keeps it
(all-MiniLM-L6-v2). OUT gets the model in the same form, with `head.json`; `OUT/state` holds checkpoints, from which a
run that was cut off goes on. The encoder stays as it is unless `--steps` are asked for: what they gave so far was not
worth it (docs/training-log.md).
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from compressors import head as heads
from training.pruner_data import Mix, mixed, pool, records
from training.pruner_encoder import Schedule, stream, train
from training.pruner_head import Fit, fit, known

READ = Mix(nq=150, squad=0, qed=40, selqa=60, bridge=120, pair=30, chain=50, either=50, blind=0, passages=(3, 6))
"""What the encoder reads beside paragraphs of SQuAD."""
WEIGHED = Mix(
    nq=180, squad=170, qed=50, selqa=70, bridge=150, pair=50, chain=130, either=130, blind=50, passages=(3, 9)
)
"""What the head is fitted on, drawn that many times."""
ROUNDS = 2


def main() -> None:
    given = _arguments()
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    quiet = not sys.stdout.isatty()
    state = given.out / "state"
    state.mkdir(parents=True, exist_ok=True)
    model, tokenizer = base(given.base)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    sets = records(given.data)
    found = pool(sets)
    schedule = Schedule(steps=given.steps, tokens=given.tokens, seed=given.seed)
    train(model, tokenizer, stream(sets, found, READ, tokenizer), schedule, state / "encoder.pt")
    average(model, given.base, given.average)
    rounds = (mixed(sets, found, WEIGHED, given.seed + 1 + n) for n in range(ROUNDS))
    examples = list(islice(chain.from_iterable(rounds), given.contexts))
    contexts = known(model, tokenizer, examples, state / f"features-{given.steps}-{given.average:g}.npz", quiet)
    settings = Fit(seed=given.seed)
    weights, losses = fit(contexts, settings)
    write(model, given.base, given.out)
    facts = {
        "pooling": "mean",
        "layers": model.config.num_hidden_layers,
        "training": {
            "encoder": asdict(schedule) | {"average": given.average},
            "head": asdict(settings),
            "contexts": len(contexts),
            "loss": losses,
        },
    }
    heads.save(weights, given.out, facts)
    print(json.dumps(losses))


def base(folder: Path) -> tuple[Any, Any]:
    """The encoder, and its tokenizer without truncation and padding."""
    from tokenizers import Tokenizer
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # a pooler that is not wanted is no news
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    return model.eval(), tokenizer


def average(model: Any, folder: Path, share: float) -> None:
    """Takes the model back towards the one it came from: what it learnt on little data, without what it lost by it
    (Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv 2109.01903). `share`: of the trained weights."""
    before, _ = base(folder)
    with torch.no_grad():
        for trained, first in zip(model.parameters(), before.parameters(), strict=True):
            trained.lerp_(first.to(trained), 1 - share)


def write(model: Any, source: Path, out: Path) -> None:
    """The encoder in fp32, and the files of the tokenizer."""
    model.cpu().float().save_pretrained(out)
    config = json.loads((out / "config.json").read_bytes())
    (out / "config.json").write_text(json.dumps(config | {"languages": ["en"]}, indent=1) + "\n", encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with qa_*.jsonl.gz")
    parser.add_argument("--base", type=Path, required=True, help="folder of the encoder to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=0, help="of the encoder (default 0: it stays as it is)")
    parser.add_argument("--tokens", type=int, default=1600, help="a batch (default 1600)")
    parser.add_argument("--average", type=float, default=0.5, help="share of the trained encoder (default 0.5)")
    parser.add_argument("--contexts", type=int, help="for the head, at most (default all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
