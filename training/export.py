"""Makes what ships of a trained model: int8 weights, the graph that runs them, the tokenizer, a card, hashes.

    python -m training.export MODEL NAME --data DIR [--card FILE] [--out compressors/shipped] [--languages en]

MODEL is a folder as the Hugging Face hub has it, in float32: `config.json`, `model.safetensors`, `tokenizer.json`; with
a `head.json` it is a pruner, else a token classifier. DIR holds the sets on which the drift is measured
(`training/export_drift.py`). The same model gives the same bytes. Nothing is written where int8 turns too much around,
or where the folder would be too large for the wheel.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from compressors.base import CompressionError
from compressors.checkpoint import HEAD, Checkpoint, digest
from compressors.models import MANIFEST, File, Manifest
from compressors.shipped import OWNER
from training.card import Card, written
from training.export_drift import Drift, of_classifier, of_pruner
from training.export_weights import shape_of, write_weights

MOST = 25_000_000
"""Bytes of a folder."""
_CONFIG = (
    *("architectures", "hidden_act", "hidden_size", "id2label", "intermediate_size", "layer_norm_eps"),
    *("max_position_embeddings", "model_type", "num_attention_heads", "num_hidden_layers", "pad_token_id"),
    *("type_vocab_size", "vocab_size"),
)
HERE = Path(__file__).parent


class Refused(Exception):
    """The export would be worse, or larger, than is allowed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least rank correlation of scores, the most that the metric may fall, and texts of each set to measure on."""

    rank: float = 0.97
    fall: float = 0.01
    texts: int = 40


@dataclass(frozen=True, slots=True)
class Source:
    """A trained model: its folder, the name it will have, what is said about it, and which languages it reads."""

    folder: Path
    name: str
    card: Card
    languages: tuple[str, ...] = ("en",)


def export(source: Source, data: Path, out: Path, bounds: Bounds = Bounds()) -> Drift:
    """Writes OUT/NAME in the place of what was there. Raises `Refused`, `ValueError`, `CompressionError`."""
    with tempfile.TemporaryDirectory() as making:
        made = Path(making) / source.name
        made.mkdir()
        _write(source, made)
        measure = of_pruner if (source.folder / HEAD).is_file() else of_classifier
        drift = measure(source.folder, made, data, bounds.texts)
        _check(drift, bounds)
        (made / "README.md").write_text(written(source.card, drift, made), "utf-8")
        _sign(source, made)
        if (size := sum(path.stat().st_size for path in made.iterdir())) > MOST:
            raise Refused(f"{size:,} bytes are more than {MOST:,}")
        shutil.rmtree(out / source.name, ignore_errors=True)
        shutil.copytree(made, out / source.name, copy_function=shutil.copyfile)
    return drift


def _write(source: Source, made: Path) -> None:
    checkpoint = Checkpoint(source.folder)
    shape_of(checkpoint)
    config = {key: checkpoint.config[key] for key in _CONFIG if key in checkpoint.config}
    (made / "config.json").write_text(json.dumps(config | {"languages": source.languages}, indent=1) + "\n", "utf-8")
    tokenizer = json.loads((source.folder / "tokenizer.json").read_text("utf-8"))
    (made / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), "utf-8")
    if (source.folder / HEAD).is_file():
        shutil.copyfile(source.folder / HEAD, made / HEAD)
    write_weights(checkpoint, made)


def _check(drift: Drift, bounds: Bounds) -> None:
    if drift.rank < bounds.rank:
        raise Refused(f"the scores' rank correlation is {drift.rank:.4f}, below {bounds.rank}")
    if drift.after < drift.before - bounds.fall:
        raise Refused(f"the {drift.metric} falls from {drift.before:.4f} to {drift.after:.4f}")


def _sign(source: Source, made: Path) -> None:
    """The manifest, by which `laconic models verify` finds out whether the files are still these."""
    files = {path.name: File(path.stat().st_size, digest(path)) for path in sorted(made.iterdir())}
    manifest = Manifest(f"{OWNER}/{source.name}", Checkpoint(made).version, files)
    (made / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--card", type=Path, metavar="FILE", help="default: training/cards/NAME.json")
    parser.add_argument("--out", type=Path, default=HERE.parent / "compressors" / "shipped", metavar="DIR")
    parser.add_argument("--languages", nargs="*", default=["en"], help="codes; none: it reads all")
    parser.add_argument("--texts", type=int, default=40, help="of each set, to measure the drift on")
    given = parser.parse_args()
    try:
        card = msgspec.json.decode((given.card or HERE / "cards" / f"{given.name}.json").read_bytes(), type=Card)
        source = Source(given.model, given.name, card, tuple(given.languages))
        drift = export(source, given.data, given.out, Bounds(texts=given.texts))
    except (Refused, OSError, ValueError, msgspec.MsgspecError, CompressionError) as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 1
    print(f"{given.out / given.name}: rank {drift.rank:.4f}, {drift.metric} {drift.before:.4f} -> {drift.after:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
