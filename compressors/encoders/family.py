"""The BERT family: which checkpoints the graph of `graph.py` computes, and how their tensors are called.

BERT, RoBERTa, XLM-RoBERTa and what is built like them (MiniLM, mBERT, CamemBERT, sentence encoders): a norm after each
block, absolute positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compressors.encoders.weights import Array

_PREFIXES = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta.", "camembert": "roberta."}
ACTIVATIONS = {"gelu": "Gelu", "relu": "Relu"}
"""Names in a `config.json`, and those of the operators."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an encoder. `first` is the position of a row's first token; `head` tells whether it has labels."""

    layers: int
    hidden: int
    heads: int
    epsilon: float
    activation: str
    first: int
    positions: int
    head: bool


def shape(config: Mapping[str, Any]) -> Shape | None:
    """The sizes that a `config.json` tells; None where the checkpoint is of another family."""
    if (
        config.get("model_type") not in _PREFIXES
        or config.get("hidden_act") not in ACTIVATIONS
        or config.get("position_embedding_type", "absolute") != "absolute"
        or config.get("is_decoder")
    ):
        return None
    return Shape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        heads=config["num_attention_heads"],
        epsilon=config.get("layer_norm_eps", 1e-12),
        activation=config["hidden_act"],
        first=0 if config["model_type"] == "bert" else config.get("pad_token_id", 1) + 1,
        positions=config["max_position_embeddings"],
        head=any(name.endswith("ForTokenClassification") for name in config.get("architectures") or ()),
    )


def renamed(tensors: Mapping[str, Array], config: Mapping[str, Any]) -> dict[str, Array]:
    """The tensors of a checkpoint by the names that a bare encoder has; those of the oldest checkpoints too."""
    prefix = _PREFIXES[config["model_type"]]
    old = {".gamma": ".weight", ".beta": ".bias"}
    found = {}
    for name, array in tensors.items():
        short = name.removeprefix(prefix)
        stem, dot, end = short.rpartition(".")
        found[stem + old.get(dot + end, dot + end)] = array
    return found


def layer_parts(layer: int) -> list[str]:
    """The names of a layer's large matrices, in the order in which they are used."""
    parts = [*(f"attention.self.{part}" for part in ("query", "key", "value")), "attention.output.dense"]
    return [f"encoder.layer.{layer}.{part}" for part in (*parts, "intermediate.dense", "output.dense")]


def plain_names(shape: Shape) -> list[str]:
    """The names of all weights of the computation that stay in single precision, the table of words aside."""
    parts = [part for layer in range(shape.layers) for part in layer_parts(layer)]
    norms = [part.replace("dense", "LayerNorm") for part in parts if part.endswith("output.dense")]
    names = [f"{part}.bias" for part in parts]
    names += [f"{norm}.{end}" for norm in ("embeddings.LayerNorm", *norms) for end in ("weight", "bias")]
    return names + (["classifier.weight", "classifier.bias"] if shape.head else [])
