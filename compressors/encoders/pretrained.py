"""Models of transformers from a folder: safetensors only, never a checkpoint's own code, never the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, missing
from compressors.encoders.family import renamed
from compressors.encoders.place import load_torch
from compressors.encoders.weights import tensors, whole


def pretrained(auto: str, folder: Path, dtype: Any, what: str) -> Any:
    """The model that the class `auto` of transformers makes of a folder, on the CPU.

    Raises `Unavailable` where transformers is not installed, or the folder holds no complete model of that kind;
    `what` says in words what was looked for.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing("transformers", "gpu") from error
    key = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
    try:
        with _quiet(transformers.utils.logging):
            model, report = getattr(transformers, auto).from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation="sdpa",
                output_loading_info=True,
                **{key: dtype},
            )
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(f"{folder} holds no {what}: {error}") from error
    if lost := sorted(report["missing_keys"]):
        raise Unavailable(f"{folder} holds no {what}: it lacks {lost[0]} and {len(lost) - 1} more weights")
    return model


def from_small(auto: str, checkpoint: Checkpoint) -> Any:
    """The same in single precision from int8 weights of ours (see `weights.is_small`), which transformers can't read.

    Raises `Unavailable` where transformers is not installed or the weights do not fit the configuration.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing("transformers", "gpu") from error
    torch = load_torch()
    model = getattr(transformers, auto).from_config(transformers.AutoConfig.from_pretrained(checkpoint.folder))
    given = whole(renamed(tensors(checkpoint.weights), checkpoint.config))
    own = model.state_dict()
    prefix = next((key.partition("embeddings.")[0] for key in own if "embeddings." in key), "")
    made = {key: key if key in given else key.removeprefix(prefix) for key in own if ".position_ids" not in key}
    lost = [key for key, name in made.items() if name not in given and not key.startswith("pooler.")]
    if lost:
        raise Unavailable(f"{checkpoint.folder}: the weights do not fit the config: {lost[0]} is missing")
    state = {key: torch.from_numpy(given[name].copy()) for key, name in made.items() if name in given}
    model.load_state_dict(state, strict=False)
    return model


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without its progress bar, which is drawn even where nobody looks, and done within a second."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
