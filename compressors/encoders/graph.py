"""The computation of the BERT family as an ONNX graph, built from sizes alone: no tracing, no torch.

Input `x`: (rows, tokens, hidden) float32, the sum of the embeddings before their norm. Rows of one run have the same
length, so there is neither padding nor a mask. Output `y`: (rows, tokens, labels), without a head (rows, tokens,
hidden).

In int8 each token's vector is quantised by its own largest value, each output channel by its own weights, sums are
exact. One scale for a whole activation, as ONNX Runtime's own quantiser has it, would let one outlier token coarsen all
others of its row; it would save 6 % of the time.

Weights are named here and brought by whoever makes the session. Matrices are (out, in) as in a checkpoint; in int8
(in, out), with a `.scale` for each output beside them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressors.encoders.family import ACTIVATIONS, Shape, layer_parts

_FUSED = "com.microsoft"
_OPSETS = (("", 21), (_FUSED, 1))
_IR = 10  # both are what onnxruntime 1.19 reads
_CONSTANTS = {
    "last": np.array([-1], np.int64),
    "one": np.array(1, np.float32),
    "1/127": np.array(1 / 127, np.float32),
    "tiny": np.array(1e-30, np.float32),  # a vector of zeros has a scale too
    "middle": np.array(128, np.uint8),
}


def build(shape: Shape, sizes: dict[str, tuple[str, tuple[int, ...]]], int8: bool) -> bytes:
    """The serialised model. `sizes` tells each weight's type (as numpy names it) and dimensions, by its name."""
    story = _Story(shape, int8)
    last = story.encoder("x")
    if shape.head:
        last = story.op(
            "Add", story.op("FusedMatMul", last, "classifier.weight", given={"transB": 1}), "classifier.bias"
        )
    story.nodes.append(helper.make_node("Identity", [last], ["y"]))
    graph = helper.make_graph(
        story.nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "tokens", shape.hidden])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "tokens", None])],
        [*(numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items() if int8)],
    )
    graph.initializer.extend(_brought(name, *size) for name, size in sizes.items())
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()
    return made


def _brought(name: str, kind: str, dimensions: tuple[int, ...]) -> Any:
    """A weight that the session is given."""
    tensor = onnx.TensorProto(name=name, dims=dimensions, data_location=TensorProto.EXTERNAL)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    tensor.external_data.add(key="location", value="brought")
    return tensor


class _Story:
    """Gathers the nodes; each method adds some and returns the name of what they give."""

    def __init__(self, shape: Shape, int8: bool) -> None:
        self.shape = shape
        self.int8 = int8
        self.nodes: list[Any] = []

    def op(self, kind: str, *inputs: str, given: Mapping[str, float] | None = None) -> str:
        fused = kind in ("FusedMatMul", "MatMulIntegerToFloat", "MultiHeadAttention", "Gelu")
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=_FUSED if fused else "", **(given or {})))
        return name

    def encoder(self, x: str) -> str:
        x = self.norm(x, "embeddings.LayerNorm")
        for layer in range(self.shape.layers):
            query, key, value, mixed, up, down = layer_parts(layer)
            three = self.linear(x, query, key, value)
            seen = self.op("MultiHeadAttention", *three, given={"num_heads": self.shape.heads})
            (told,) = self.linear(seen, mixed)
            x = self.norm(self.op("Add", told, x), mixed.replace("dense", "LayerNorm"))
            (wide,) = self.linear(x, up)
            (told,) = self.linear(self.op(ACTIVATIONS[self.shape.activation], wide), down)
            x = self.norm(self.op("Add", told, x), down.replace("dense", "LayerNorm"))
        return x

    def norm(self, x: str, name: str) -> str:
        """onnxruntime's fused sum and norm takes ten times as long as the two apart (1.31)."""
        return self.op("LayerNormalization", x, f"{name}.weight", f"{name}.bias", given={"epsilon": self.shape.epsilon})

    def linear(self, x: str, *names: str) -> list[str]:
        """The products of one input with one or more matrices."""
        if not self.int8:
            made = [self.op("FusedMatMul", x, f"{name}.weight", given={"transB": 1}) for name in names]
        else:
            small, scale = self.quantised(x)
            whole = [
                self.op("MatMulIntegerToFloat", small, f"{name}.weight", "one", f"{name}.scale", "middle")
                for name in names
            ]
            made = [self.op("Mul", product, scale) for product in whole]
        return [self.op("Add", product, f"{name}.bias") for product, name in zip(made, names, strict=True)]

    def quantised(self, x: str) -> tuple[str, str]:
        """Each token's vector as bytes around 128, and what a step is worth. Unsigned: the signed kernel is slow."""
        largest = self.op("Max", self.op("ReduceMax", self.op("Abs", x), "last", given={"keepdims": 1}), "tiny")
        scale = self.op("Mul", largest, "1/127")
        return self.op("QuantizeLinear", self.op("Div", x, scale), "one", "middle"), scale


def pair() -> bytes:
    """A model that multiplies bytes `a` with signed bytes `b`, to try how a processor does it."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "pair",
        [
            helper.make_tensor_value_info("a", TensorProto.UINT8, [None, None]),
            helper.make_tensor_value_info("b", TensorProto.INT8, [None, None]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [None, None])],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()
    return made
