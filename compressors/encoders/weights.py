"""Tensors of safetensors files, mapped into memory: only what is touched is read, and nothing is held twice.

The format is a length (8 bytes, little endian), a JSON header of that length, and the tensors' bytes.
"""

import json
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
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


def _tensors(path: Path) -> Iterable[tuple[str, Array]]:
    with path.open("rb") as file:
        mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    start = 8 + int.from_bytes(mapped[:8].tobytes(), "little")
    header: dict[str, Any] = json.loads(mapped[8:start].tobytes())
    for name, entry in header.items():
        if entry.get("dtype") in _TYPES:  # others are of no use here
            begin, end = entry["data_offsets"]
            yield name, mapped[start + begin : start + end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
