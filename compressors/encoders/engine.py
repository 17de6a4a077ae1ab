"""Which engine computes an encoder here."""

from importlib.util import find_spec

from compressors import shipped
from compressors.checkpoint import Checkpoint
from compressors.encoders.onnx import OnnxEncoder, lacking, runs
from compressors.encoders.torch import TorchEncoder


def engine(
    checkpoint: Checkpoint, place: str, precision: str, head: bool = True
) -> tuple[OnnxEncoder | TorchEncoder, str]:
    """What computes a checkpoint on a device, and its name. `head`: with its labels for tokens.

    Models like BERT run in int8 or fp32 on a CPU without torch, int8 by default; others, and all on a GPU, in torch.
    Raises `Unavailable`.
    """
    wanted = "int8" if precision == "auto" else precision
    light = not lacking(checkpoint, wanted) or not find_spec("torch") or precision == "int8"
    if place == "cpu" and runs(checkpoint, wanted) and light:
        return OnnxEncoder(checkpoint, wanted), f"onnx-{wanted}"
    heavy = TorchEncoder(checkpoint, place, precision, head)
    return heavy, f"torch-{heavy.precision}"


def lacks(model: str, place: str) -> str:
    """Why a model of ours cannot run on a machine like this, "" where it can. Of other models nothing is said: who asks
    for one by name is told by an error."""
    if not model.startswith(f"{shipped.OWNER}/") or place not in ("auto", "cpu"):
        return ""
    lost = [package for package in ("onnxruntime", "tokenizers") if not find_spec(package)]
    if lost == ["onnxruntime"] and find_spec("torch") and find_spec("transformers"):
        return ""
    return f"its model does not run, since {lost[0]} is not installed" if lost else ""
