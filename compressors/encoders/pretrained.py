"""Models of transformers from a folder: safetensors only, never a checkpoint's own code, never the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressors.base import Unavailable
from compressors.checkpoint import missing


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
