"""Compressors by name: `load("lexical").compress([Task(...)])`. Text in, kept spans out; no HTTP, no policy."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from compressors.base import (
    Budget,
    CompressionError,
    Compressor,
    Kept,
    Rate,
    Span,
    Task,
    Threshold,
    Tokens,
    UnknownCompressor,
)

TABLE = {
    "identity": "compressors.controls:Identity",
    "random": "compressors.controls:Random",
    "ends": "compressors.controls:Ends",
    "whitespace": "compressors.whitespace:Whitespace",
    "lexical": "compressors.lexical:Lexical",
    "structured": "compressors.structured:Structured",
}


def names() -> list[str]:
    """Every compressor that can be asked for, third parties' included."""
    return sorted({*TABLE, *(e.name for e in entry_points(group="laconic.compressors"))})


def load(name: str) -> Compressor:
    """The compressor of this name. Raises `UnknownCompressor` with the list of known ones."""
    target = TABLE.get(name) or next(
        (e.value for e in entry_points(group="laconic.compressors") if e.name == name), None
    )
    if target is None:
        raise UnknownCompressor(f"no compressor is called {name!r}; known: {', '.join(names())}")
    module, _, attribute = target.partition(":")
    return cast(Compressor, getattr(import_module(module), attribute)())


__all__ = [
    "Budget",
    "CompressionError",
    "Compressor",
    "Kept",
    "Rate",
    "Span",
    "Task",
    "Threshold",
    "Tokens",
    "UnknownCompressor",
    "load",
    "names",
]
