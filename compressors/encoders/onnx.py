"""The BERT family on a CPU, without torch: a graph of our own run by ONNX Runtime, in float32 or int8.

A folder that `training/export.py` made has the graph and weights of int8 already: these are run as they are, without
the package `onnx`, and nothing is written.
"""

import threading
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, missing
from compressors.encoders import quantised
from compressors.encoders.family import Shape, layer_parts, plain_names, renamed, shape
from compressors.encoders.place import cores
from compressors.encoders.weights import GRAPH, Array, Table, is_small, rows_of, single, tensors, whole

Row = Sequence[int]
PRECISIONS = ("int8", "fp32")
_HELPERS = 3
"""Threads of a session beside those that call it. More would take cores away from rows that run side by side."""


def runs(checkpoint: Checkpoint, precision: str) -> bool:
    """Whether this engine computes that checkpoint at that precision."""
    return precision in PRECISIONS and shape(checkpoint.config) is not None


def lacking(checkpoint: Checkpoint, precision: str) -> str:
    """The package that this engine would need for that and that is not installed, "" where it has all."""
    ready = precision == "int8" and (checkpoint.folder / GRAPH).is_file()
    needed = ("onnxruntime",) if ready else ("onnxruntime", "onnx")
    return next((package for package in needed if not find_spec(package)), "")


class OnnxEncoder:
    """An encoder, with its head where the checkpoint has one for tokens. Runs on any thread, on several at once.

    A row's result does not depend on what it is run with. Word embeddings are read from the checkpoint's file as they
    are needed: the largest matrix of all costs no memory of ours.
    """

    budget = 128  # tokens of a run: many short rows share the cost of reading the weights, longer ones have their own
    fill = 1.0  # rows of one length only
    parallel = True

    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        found = shape(checkpoint.config)
        if found is None or precision not in PRECISIONS:
            raise Unavailable(f"{checkpoint.folder}: this engine runs models like BERT, in {' or '.join(PRECISIONS)}")
        self.checkpoint = checkpoint
        self.precision = precision
        self.shape: Shape = found
        self._loading = threading.Lock()

    def run(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """For rows of one length, (tokens, labels) or (tokens, hidden) each. The model is loaded on the first call."""
        with self._loading:
            session, words, places = self._loaded
        x = rows_of(words, np.asarray(rows))
        (y,) = session.run(None, {"x": x + places[: x.shape[1]]})
        return list(y)

    @cached_property
    def _loaded(self) -> tuple[Any, Table, NDArray[np.float32]]:
        """The session, the table of words, and the sum of what a place and the only kind of text add."""
        try:
            given = renamed(tensors(self.checkpoint.weights), self.checkpoint.config)
            if self.precision == "fp32" and is_small(given):
                given = whole(given)
            words = given["embeddings.word_embeddings.weight"]
            if words.shape[1] != self.shape.hidden or self.shape.hidden % self.shape.heads:
                raise ValueError(f"{words.shape[1]} numbers a word, {self.shape.heads} heads")
            places = _table(given, "position")[self.shape.first :]
            table = words, given.get("embeddings.word_embeddings.scale")
            return self._session(given), table, places + _table(given, "token_type")[0]
        except (KeyError, ValueError, OSError) as error:
            raise Unavailable(f"{self.checkpoint.folder}: the weights do not fit the config: {error}") from error

    def _session(self, given: dict[str, Array]) -> Any:
        onnxruntime = _onnxruntime()
        brought = self._brought(given)
        options = _options()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in brought.values()]
        options.add_external_initializers(list(brought), values)
        return onnxruntime.InferenceSession(self._graph(given, brought), options, providers=["CPUExecutionProvider"])

    def _graph(self, given: dict[str, Array], brought: dict[str, Array]) -> bytes:
        if is_small(given):
            return (self.checkpoint.folder / GRAPH).read_bytes()
        try:
            from compressors.encoders.graph import build
        except ImportError as error:
            raise missing("onnx") from error
        return build(self.shape, sizes(brought), self.precision == "int8")

    def _brought(self, given: dict[str, Array]) -> dict[str, Array]:
        """All weights by the names that the graph has for them."""
        names = plain_names(self.shape)
        parts = [part for layer in range(self.shape.layers) for part in layer_parts(layer)]
        if self.precision == "fp32":
            names += [f"{part}.weight" for part in parts]
        brought = {name: single(given[name]) for name in names}
        if is_small(given):
            brought |= {f"{part}.{end}": given[f"{part}.{end}"] for part in parts for end in ("weight", "scale")}
        elif self.precision == "int8":
            brought |= quantised.load(self.checkpoint.version, given, parts, _steps())
        return brought


def sizes(brought: dict[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The type and dimensions of each weight, by its name."""
    return {name: (value.dtype.name, value.shape) for name, value in brought.items()}


def _table(given: dict[str, Array], what: str) -> NDArray[np.float32]:
    """A small table of embeddings, whole."""
    name = f"embeddings.{what}_embeddings"
    table = given[f"{name}.weight"]
    return rows_of((table, given.get(f"{name}.scale")), np.arange(len(table)))


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime", "") from error
    return onnxruntime


def _options() -> Any:
    """Runs go side by side, and all have a few helpers between them, so that one run alone is quicker; these sleep when
    idle. The graph is not rewritten: it is built as it should be."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(_HELPERS, cores() - 1) + 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_pattern = False  # it plans memory for each length anew
    options.log_severity_level = 3
    return options


@cache
def _steps() -> int:
    """How far an int8 weight may go. Processors without VNNI add pairs of products in 16 bits and cut off what does
    not fit, unless weights keep to 7 bits; here such a pair is tried."""
    from compressors.encoders.graph import pair

    options = _options()
    session = _onnxruntime().InferenceSession(pair(), options, providers=["CPUExecutionProvider"])
    wide = np.full((16, 64), 255, np.uint8)
    (sums,) = session.run(None, {"a": wide, "b": np.full((64, 16), 127, np.int8)})
    return 127 if (sums == 64 * 255 * 127).all() else 63
