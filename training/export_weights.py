"""From a checkpoint of the BERT family to what ships: int8 weights, and the graph that runs them.

Matrices keep to 7 bits. Processors without VNNI add pairs of products in 16 bits; with 8 bits these would be cut off
there, and another machine would find other spans. What is lost is small: see the drift in each model's card.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from compressors.checkpoint import Checkpoint
from compressors.encoders.family import Shape, layer_parts, plain_names, renamed, shape
from compressors.encoders.graph import build
from compressors.encoders.onnx import sizes
from compressors.encoders.quantised import quantised
from compressors.encoders.weights import GRAPH, Array, single, tensors

STEPS = 63
_ROWS = 127  # tables of embeddings are looked up, not multiplied
_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


def shape_of(checkpoint: Checkpoint) -> Shape:
    """Raises `ValueError` for a model of another family."""
    found = shape(checkpoint.config)
    if found is None:
        raise ValueError(f"{checkpoint.folder}: only models like BERT can be exported")
    return found


def write_weights(checkpoint: Checkpoint, target: Path) -> None:
    """`model.safetensors` and the graph. The same checkpoint gives the same bytes."""
    sizes_of = shape_of(checkpoint)
    given = renamed(tensors(checkpoint.weights), checkpoint.config)
    parts = [part for layer in range(sizes_of.layers) for part in layer_parts(layer)]
    made: dict[str, Array] = {name: single(given[name]).copy() for name in plain_names(sizes_of)}
    for part in parts:
        made[f"{part}.weight"], made[f"{part}.scale"] = quantised(given[f"{part}.weight"], STEPS)
    brought = dict(made)
    for table in _TABLES:
        name = f"embeddings.{table}"
        turned, made[f"{name}.scale"] = quantised(given[f"{name}.weight"], _ROWS)
        made[f"{name}.weight"] = np.ascontiguousarray(turned.T)
    save_file(made, target / "model.safetensors")
    names = sorted(brought)
    (target / GRAPH).write_bytes(build(sizes_of, sizes({name: brought[name] for name in names}), True))
