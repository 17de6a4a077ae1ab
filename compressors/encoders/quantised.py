"""Weights in int8: made once for each checkpoint, and kept on disk from then on."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from compressors.encoders.weights import Array, single, tensors

FORMAT = "int8-1"
"""Changes with what is written, so that nothing older is read."""


def quantised(matrix: Array, steps: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix (out, in) as int8 (in, out), and for each output what a step is worth; from -steps to steps."""
    exact = single(matrix)
    scale = np.maximum(np.abs(exact).max(axis=1), 1e-30) / np.float32(steps)
    return np.ascontiguousarray(np.rint(exact / scale[:, None]).astype(np.int8).T), scale


def cache_folder() -> Path:
    """$LACONIC_CACHE, or the user's cache folder."""
    named = os.environ.get("LACONIC_CACHE")
    return Path(named) if named else user_cache_path("laconic")


def load(version: str, given: Mapping[str, Array], names: Iterable[str], steps: int) -> dict[str, Array]:
    """`NAME.weight` and `NAME.scale` of each of the names, from disk where they are there, and left there if possible.

    `version` is that of the checkpoint whose tensors are `given`.
    """
    path = cache_folder() / f"{version[:32]}-{FORMAT}-{steps}.safetensors"
    wanted = [f"{name}.{part}" for name in names for part in ("weight", "scale")]
    with suppress(OSError, ValueError):  # not there, or damaged: it is made again
        if (kept := tensors([path])).keys() >= set(wanted):
            return kept
    made: dict[str, Array] = {}
    for name in names:
        made[f"{name}.weight"], made[f"{name}.scale"] = quantised(given[f"{name}.weight"], steps)
    with suppress(OSError):  # no room or no right to write: from memory then
        _keep(made, path)
        return tensors([path])
    return made


def _keep(made: dict[str, Array], path: Path) -> None:
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as making:
        save_file(made, Path(making) / path.name)
        (Path(making) / path.name).replace(path)  # whole or not at all, whoever else is writing it
