"""Models on disk: where they lie, what they are, which version. Never the network, never code from a checkpoint.

A checkpoint is a folder as the Hugging Face hub has it: `config.json`, `tokenizer.json` and weights in safetensors.
Pickled weights are not read: loading them runs whatever they say.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from compressors import shipped
from compressors.base import Unavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HEAD = "head.json"
"""What turns an encoder's vectors into scores, where a model of ours has it."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_open: dict[Path, "Checkpoint"] = {}
_lock = threading.Lock()


def models_folder() -> Path:
    """Where downloaded models lie: $LACONIC_MODELS, or the user's data folder."""
    named = os.environ.get("LACONIC_MODELS")
    return Path(named) if named else user_data_path("laconic") / "models"


def folder_of(model: str) -> Path:
    """Where a model of the hub (`owner/name`) lies, or would lie. Raises `Unavailable` for what is no such name."""
    if not _NAME.fullmatch(model):
        raise Unavailable(f"no folder {model!r}; a model is a folder or a name on the hub (owner/name)")
    return models_folder() / model.replace("/", "--")


def find(model: str) -> Path:
    """The folder of a model, given as a folder, by its name on the hub (`owner/name`), or as `laconic/NAME` for those
    that come with Laconic.

    Raises `Unavailable` where there is none, with the command that gets it.
    """
    if model in shipped.names():  # no folder of that name shall stand in for ours
        return shipped.folder(model)
    if (local := Path(model).expanduser()).is_dir():
        return local.resolve()
    if model.startswith(f"{shipped.OWNER}/"):
        return shipped.folder(model)
    folder = folder_of(model)
    if not folder.is_dir():
        raise Unavailable(f"the model {model} is not in {folder.parent}: run `laconic models download {model}`")
    return folder.resolve()


class Checkpoint:
    """One model folder. Cheap to make; files are read when first asked for, and read once.

    Raises `Unavailable`, with what is missing, from the constructor on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = _json(folder / "config.json")
        self.weights = _weights(folder)

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The fast tokenizer, with neither truncation nor padding. Safe to share between threads."""
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise Unavailable(f"{self.folder} has no tokenizer.json; slow tokenizers are not supported")
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise missing("tokenizers", "") from error
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # what spells one in a text is text; those around it are still added
        return tokenizer

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that the model reads, by their codes, where its `config.json` says so; else none."""
        return tuple(self.config.get("languages", ()))

    @cached_property
    def version(self) -> str:
        """sha256 (hex) over the configuration, the tokenizer and the weights: the same on every machine."""
        return self.version_by(digest)

    def version_by(self, digest: Callable[[Path], str]) -> str:
        """The version, where the caller knows a quicker way to a file's sha256 than to read it."""
        files = [self.folder / name for name in ("config.json", "tokenizer.json", HEAD)] + [*self.weights]
        lines = [f"{path.name} {digest(path)}\n" for path in files if path.is_file()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_checkpoint(model: str) -> Checkpoint:
    """The checkpoint of a folder or a hub name, kept for the life of the process. Raises `Unavailable`."""
    folder = find(model)
    with _lock:
        if folder not in _open:
            _open[folder] = Checkpoint(folder)
        return _open[folder]


def missing(package: str, extra: str = "cpu") -> Unavailable:
    """What to raise where a package of an extra, or of the base (""), is not installed."""
    name = f"'laconic[{extra}]'" if extra else "laconic"
    return Unavailable(f"{package} is not installed: pip install {name}")


def digest(path: Path) -> str:
    """A file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights(folder: Path) -> tuple[Path, ...]:
    if (single := folder / "model.safetensors").is_file():
        return (single,)
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        raise Unavailable(f"{folder} has no model.safetensors; other formats of weights are not read")
    # Only the last part of each name: an index may not lead out of its folder.
    shards = sorted({folder / Path(name).name for name in _json(index)["weight_map"].values()})
    if lost := [shard.name for shard in shards if not shard.is_file()]:
        raise Unavailable(f"{folder} lacks {', '.join(lost)}")
    return tuple(shards)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Unavailable(f"{path.parent} has no {path.name}") from None
    except ValueError as error:
        raise Unavailable(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise Unavailable(f"{path} holds no object")
    return found
