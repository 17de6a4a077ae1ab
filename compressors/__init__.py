"""Compressors by name: `load("lexical").compress([Task(...)])`. Text in, kept spans out; no HTTP, no policy."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from msgspec import Struct

from compressors.base import (
    Budget,
    Cancelled,
    CompressionError,
    Compressor,
    Fallback,
    Kept,
    Neural,
    Overloaded,
    Rate,
    Span,
    Task,
    Threshold,
    Tokens,
    Unavailable,
    UnknownCompressor,
)

TABLE = {
    "identity": "compressors.controls:Identity",
    "random": "compressors.controls:Random",
    "ends": "compressors.controls:Ends",
    "whitespace": "compressors.whitespace:Whitespace",
    "lexical": "compressors.lexical:Lexical",
    "structured": "compressors.structured:Structured",
    "classifier": "compressors.classifier:Classifier",
    "passages": "compressors.passages:Passages",
    "perplexity": "compressors.perplexity:Perplexity",
    "pruner": "compressors.pruner:Pruner",
    "question": "compressors.question:Question",
    "ranked_classifier": "compressors.ranked_classifier:RankedClassifier",
    "selective": "compressors.selective:Selective",
}


def names() -> list[str]:
    """Every compressor that can be asked for, third parties' included."""
    return sorted({*TABLE, *(e.name for e in entry_points(group="laconic.compressors"))})


def load(name: str, settings: Struct | None = None) -> Compressor:
    """The compressor of this name, with its own settings or their defaults.

    Raises `UnknownCompressor` with the list of known ones, `Unavailable` where it needs what is not installed, and
    `TypeError` for settings of another compressor.
    """
    made = _class(name)
    if settings is None:
        return cast(Compressor, made())
    expected = settings_of(name)
    if expected is None or not isinstance(settings, expected):
        raise TypeError(f"{name!r} takes {expected.__name__ if expected else 'no settings'}, not {type(settings)}")
    return cast(Compressor, made(settings))


def settings_of(name: str) -> type[Struct] | None:
    """The shape of a compressor's settings (its class attribute `Settings`), None where it has none."""
    return getattr(_class(name), "Settings", None)


def _class(name: str) -> Any:
    target = TABLE.get(name) or next(
        (e.value for e in entry_points(group="laconic.compressors") if e.name == name), None
    )
    if target is None:
        raise UnknownCompressor(f"no compressor is called {name!r}; known: {', '.join(names())}")
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


__all__ = [
    "Budget",
    "Cancelled",
    "CompressionError",
    "Compressor",
    "Fallback",
    "Kept",
    "Neural",
    "Overloaded",
    "Rate",
    "Span",
    "Task",
    "Threshold",
    "Tokens",
    "Unavailable",
    "UnknownCompressor",
    "load",
    "names",
    "settings_of",
]
