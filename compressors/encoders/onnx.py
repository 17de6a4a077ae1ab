"""The BERT family on a CPU, without torch: a graph of our own run by ONNX Runtime, in float32 or int8."""

import threading
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.base import Unavailable
from compressors.checkpoint import Checkpoint, missing
from compressors.encoders import quantised
from compressors.encoders.family import Shape, layer_parts, renamed, shape
from compressors.encoders.place import cores
from compressors.encoders.weights import Array, single, tensors

Row = Sequence[int]
PRECISIONS = ("int8", "fp32")
_HELPERS = 3
"""Threads of a session beside those that call it. More would take cores away from rows that run side by side."""


def runs(checkpoint: Checkpoint, precision: str) -> bool:
    """Whether this engine computes that checkpoint at that precision."""
    return precision in PRECISIONS and shape(checkpoint.config) is not None


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
        x = single(words[np.asarray(rows)])
        (y,) = session.run(None, {"x": x + places[: x.shape[1]]})
        return list(y)

    @cached_property
    def _loaded(self) -> tuple[Any, Array, NDArray[np.float32]]:
        """The session, the table of words, and the sum of what a place and the only kind of text add."""
        try:
            given = renamed(tensors(self.checkpoint.weights), self.checkpoint.config)
            words = given["embeddings.word_embeddings.weight"]
            if words.shape[1] != self.shape.hidden or self.shape.hidden % self.shape.heads:
                raise ValueError(f"{words.shape[1]} numbers a word, {self.shape.heads} heads")
            places = single(given["embeddings.position_embeddings.weight"])[self.shape.first :]
            return self._session(given), words, places + _kind(given)
        except (KeyError, ValueError) as error:
            raise Unavailable(f"{self.checkpoint.folder}: the weights do not fit the config: {error}") from error

    def _session(self, given: dict[str, Array]) -> Any:
        onnxruntime = _onnxruntime()
        try:
            from compressors.encoders.graph import build
        except ImportError as error:
            raise missing("onnx") from error
        brought = self._brought(given)
        options = _options()
        sizes = {name: (value.dtype.name, value.shape) for name, value in brought.items()}
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in brought.values()]
        options.add_external_initializers(list(brought), values)
        model = build(self.shape, sizes, self.precision == "int8")
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _brought(self, given: dict[str, Array]) -> dict[str, Array]:
        """All weights by the names that the graph has for them."""
        parts = [part for layer in range(self.shape.layers) for part in layer_parts(layer)]
        norms = [part.replace("dense", "LayerNorm") for part in parts if part.endswith("output.dense")]
        names = [f"{part}.bias" for part in parts]
        names += [f"{norm}.{end}" for norm in ("embeddings.LayerNorm", *norms) for end in ("weight", "bias")]
        names += ["classifier.weight", "classifier.bias"] if self.shape.head else []
        if self.precision == "fp32":
            names += [f"{part}.weight" for part in parts]
        brought = {name: single(given[name]) for name in names}
        if self.precision == "int8":
            brought |= quantised.load(self.checkpoint.version, given, parts, _steps())
        return brought


def _kind(given: dict[str, Array]) -> NDArray[np.float32]:
    kind: NDArray[np.float32] = single(given["embeddings.token_type_embeddings.weight"])[0]
    return kind


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime") from error
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
