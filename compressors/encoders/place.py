"""Where torch runs a model, and in which precision. torch is loaded only where a GPU is likely or asked for: it takes
seconds and hundreds of megabytes, and the engine for CPUs does without it."""

import os
from importlib.util import find_spec
from typing import Any

from compressors.base import Unavailable
from compressors.checkpoint import missing

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of these one is there where Linux has a GPU that torch calls cuda: of NVIDIA, of AMD, under WSL."""


def place(name: str) -> str:
    """ "auto" as the name of a device; other names as they are, once the device is known to be there.

    Raises `Unavailable`.
    """
    if name == "cpu":
        return name
    if name == "auto":
        likely = os.name == "nt" or any(os.path.exists(driver) for driver in _DRIVERS)
        able = likely and find_spec("transformers") is not None
        return "cuda:0" if able and _has_gpu() else "cpu"
    kind, _, number = name.partition(":")
    torch = load_torch()
    if kind == "mps" and not number and torch.backends.mps.is_available():
        return name
    if kind == "cuda" and (number or "0").isdigit() and int(number or 0) < torch.cuda.device_count():
        return f"cuda:{int(number or 0)}"
    raise Unavailable(f"there is no device {name!r} here; known: auto, cpu, cuda, cuda:NUMBER, mps")


def load_torch() -> Any:
    """The module. Raises `Unavailable` where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "gpu") from error
    return torch


def dtype(place: str, precision: str) -> Any:
    """torch's type for a precision; "auto" is bf16 or else fp16 on a GPU, else fp32. Raises `Unavailable`."""
    torch = load_torch()
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision == "auto":
        if not place.startswith("cuda"):
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if precision not in known:
        raise Unavailable(f"precision {precision!r} is not for this model on {place}; known: {', '.join(known)}")
    return known[precision]


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _has_gpu() -> bool:
    try:
        return bool(load_torch().cuda.is_available())
    except Unavailable:
        return False
