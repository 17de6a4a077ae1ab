"""The folder of models: what is in it, whether it is whole, and getting more. After a download all of it is offline.

Each model lies in a folder of its own with `laconic.json`, its manifest: the commit, and size and sha256 of each file.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from compressors import shipped
from compressors.base import Unavailable
from compressors.checkpoint import HEAD, Checkpoint, digest, folder_of, models_folder
from compressors.hub import Hub, Listing, Progress, Remote

MANIFEST = "laconic.json"
_WANTED = re.compile(  # nothing that runs, no pickles, no weights for other libraries
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens"
    r"|modules|sentence_bert_config|config_sentence_transformers)\.json"
    r"|model\.safetensors|\d_\w+/(config\.json|model\.safetensors)"
)
_SHARD = re.compile(r"model\.safetensors\.index\.json|model-\d+-of-\d+\.safetensors")
_PICKLED = re.compile(r".*\.(bin|pt|pth|ckpt|pkl)")
_KINDS = {
    "ForTokenClassification": "token classifier",
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForSequenceClassification": "cross-encoder",
}


class File(msgspec.Struct, frozen=True):
    """A file as it was when it was downloaded."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What was downloaded: the model's name on the hub, the commit, the files by their path in the folder."""

    model: str
    commit: str
    files: dict[str, File]


@dataclass(frozen=True, slots=True)
class Model:
    """A model in the folder of models. `size` in bytes; `problem`: why it cannot be used, empty where it can."""

    name: str
    folder: Path
    size: int
    kind: str = ""
    version: str = ""
    problem: str = ""


def models() -> list[Model]:
    """Every model that comes with Laconic, then those in the folder of models, by name, those not downloaded to the end
    included. Reads no weights of those that have a manifest."""
    folder = models_folder()
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    ours = [replace(_model(shipped.folder(name)), name=name) for name in shipped.names()]
    return [*ours, *(_model(path) for path in found)]


def download(model: str, revision: str = "main", told: Progress = lambda *_: None) -> Path:
    """Gets a model from the hub into the folder of models; gives its folder.

    Goes on where an earlier attempt was broken off. Every file's hash is compared with the hub's before any of them can
    be used. Raises `Unavailable` where the model or the network is not there, where it has no safetensors, and where
    the disk is too full.
    """
    target = folder_of(model)
    with Hub() as hub:
        listing = hub.listing(model, revision)
        files = _needed(listing)
        known = _manifest(target)
        if known and known.commit == listing.commit and not verify(target):
            return target
        making = target.with_name(f".{target.name}.part")
        making.mkdir(parents=True, exist_ok=True)
        _room(making, files)
        for file in files:
            hub.fetch(listing, file, making, told)
    _finish(making, listing, files)
    _put(making, target)
    return target


def verify(folder: Path) -> list[str]:
    """What is wrong with a downloaded model, in words: its files are read and compared with its manifest."""
    manifest = _manifest(folder)
    if manifest is None:
        return [f"{folder} has no {MANIFEST}: nothing is known of what its files should be"]
    problems = []
    for name, file in manifest.files.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif path.stat().st_size != file.size:
            problems.append(f"{path} has {path.stat().st_size:,} bytes, not {file.size:,}")
        elif (found := digest(path)) != file.sha256:
            problems.append(f"{path} has the sha256 {found}, not {file.sha256}")
    strange = sorted({name for name in _there(folder) if _is_read(name)} - manifest.files.keys())
    return problems + [f"{folder / name} is not in the manifest" for name in strange]


def _needed(listing: Listing) -> list[Remote]:
    """The files to get. Raises `Unavailable` for a model that could not be used."""
    names = {file.name for file in listing.files}
    if not names & {"model.safetensors", "model.safetensors.index.json"}:
        raise Unavailable(_no_weights(listing))
    if lost := sorted({"config.json", "tokenizer.json"} - names):
        raise Unavailable(f"{listing.model} has no {' and no '.join(lost)}: it cannot be used")
    sharded = "model.safetensors" not in names
    found = [f for f in listing.files if _WANTED.fullmatch(f.name) or (sharded and _SHARD.fullmatch(f.name))]
    if unknown := [file.name for file in found if not (file.sha256 or file.blob)]:
        raise Unavailable(f"the hub gives no hash for {', '.join(unknown)} of {listing.model}: it cannot be checked")
    return found


def _no_weights(listing: Listing) -> str:
    if not any(_PICKLED.fullmatch(file.name) for file in listing.files):
        return f"{listing.model} has no model.safetensors: it cannot be used"
    return (
        f"{listing.model} has pickled weights only. Laconic reads safetensors: to load a pickle is to run it. "
        "The hub may have a pull request that adds them: --revision refs/pr/N"
    )


def _room(folder: Path, files: list[Remote]) -> None:
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    needed = sum(file.size for file in files) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Unavailable(f"{folder.parent} has {free / 1e6:,.0f} MB left, the model needs {needed / 1e6:,.0f} MB more")


def _finish(making: Path, listing: Listing, files: list[Remote]) -> None:
    """Writes the manifest, and deletes what other attempts have left."""
    kept = {f.name: File(f.size, f.sha256 or digest(making / f.name)) for f in files}
    for name in [name for name in _there(making) if name not in kept]:
        (making / name).unlink()
    content = msgspec.json.encode(Manifest(listing.model, listing.commit, kept))
    (making / MANIFEST).write_bytes(msgspec.json.format(content, indent=1))


def _put(making: Path, target: Path) -> None:
    """In the place of what was there, which a running service may still have open."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    making.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def _there(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in list(folder.rglob("*")) if path.is_file())


def _is_read(name: str) -> bool:
    return bool(_WANTED.fullmatch(name) or _SHARD.fullmatch(name))


def _model(folder: Path) -> Model:
    size = sum((folder / name).stat().st_size for name in _there(folder))
    name = folder.name.strip(".").removesuffix(".part").removesuffix(".old").replace("--", "/", 1)
    if folder.name.startswith("."):
        return Model(name, folder, size, problem="not downloaded to the end; the same command goes on")
    manifest = _manifest(folder)
    known = manifest.files if manifest else {}

    def quick(path: Path) -> str:
        file = known.get(path.name)
        return file.sha256 if file and file.size == path.stat().st_size else digest(path)

    try:
        checkpoint = Checkpoint(folder)
    except Unavailable as error:
        return Model(name, folder, size, problem=str(error))
    return Model(name, folder, size, _kind(checkpoint), checkpoint.version_by(quick))


def _kind(checkpoint: Checkpoint) -> str:
    if (checkpoint.folder / HEAD).is_file():
        return "pruner"
    if (checkpoint.folder / "modules.json").is_file():
        return "bi-encoder"
    architectures = checkpoint.config.get("architectures") or [""]
    return next((kind for end, kind in _KINDS.items() if str(architectures[0]).endswith(end)), "encoder")
