"""Tensors of safetensors files, mapped into memory: only what is touched is read, and nothing is held twice.

The format is a length (8 bytes, little endian), a JSON header of that length, and the tensors' bytes.
"""

import json
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAPH = "graph.onnx"
"""In a folder with int8 weights of ours: what is computed with them."""
Array = NDArray[Any]
Table = tuple[Array, Array | None]
"""A matrix, and what a step of each of its rows is worth where it is in int8."""
_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I8": np.int8}


def tensors(paths: Iterable[Path]) -> dict[str, Array]:
    """The tensors of some files by name, as read-only views; bfloat16 as two bytes, see `single`.

    Raises `ValueError` for a file that is no whole safetensors file.
    """
    return {name: array for path in paths for name, array in _tensors(path)}


def single(array: Array) -> NDArray[np.float32]:
    """Floats in single precision: the same memory where they have it already."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.require(array, np.float32, ["C", "A"])


def rows_of(table: Table, numbers: NDArray[Any]) -> NDArray[np.float32]:
    """These rows of a table, in single precision."""
    matrix, scale = table
    found = matrix[numbers]
    if scale is None:
        return single(found)
    return np.asarray(found * single(scale[numbers])[..., None], np.float32)


def is_small(given: Mapping[str, Array]) -> bool:
    """Whether these are the int8 weights that `training/export.py` writes: matrices (in, out) with a `.scale` for each
    output, tables of embeddings as they are with a `.scale` for each row."""
    return "embeddings.word_embeddings.scale" in given


def whole(given: Mapping[str, Array]) -> dict[str, Array]:
    """Such weights in single precision, (out, in), by the names that a checkpoint has."""
    found = {name: single(array) for name, array in given.items() if array.dtype != np.int8 and ".scale" not in name}
    for name, array in given.items():
        if array.dtype == np.int8:
            matrix = array if "embeddings" in name else array.T
            found[name] = np.ascontiguousarray(matrix * single(given[name.replace(".weight", ".scale")])[:, None])
    return found


def _tensors(path: Path) -> Iterable[tuple[str, Array]]:
    with path.open("rb") as file:
        mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    start = 8 + int.from_bytes(mapped[:8].tobytes(), "little")
    header: dict[str, Any] = json.loads(mapped[8:start].tobytes())
    for name, entry in header.items():
        if entry.get("dtype") in _TYPES:  # others are of no use here
            begin, end = entry["data_offsets"]
            yield name, mapped[start + begin : start + end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
