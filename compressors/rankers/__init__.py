"""Rankers by name: one protocol, one file each; a new one is a file and a line."""

from importlib import import_module
from typing import Literal, cast

from compressors.rankers.base import Options, Ranker, Scores, finite

Name = Literal["bm25", "perplexity", "biencoder", "crossencoder"]

TABLE: dict[str, str] = {
    "bm25": "compressors.rankers.bm25:BM25",
    "perplexity": "compressors.rankers.perplexity:Perplexity",
    "biencoder": "compressors.rankers.biencoder:BiEncoder",
    "crossencoder": "compressors.rankers.crossencoder:CrossEncoder",
}


def ranker(name: str, options: Options) -> Ranker:
    """The ranker of this name. Raises `ValueError` for an unknown one, `Unavailable` where a package is missing."""
    if name not in TABLE:
        raise ValueError(f"no ranker is called {name!r}; known: {', '.join(TABLE)}")
    module, _, attribute = TABLE[name].partition(":")
    return cast(Ranker, getattr(import_module(module), attribute)(options))


__all__ = ["TABLE", "Name", "Options", "Ranker", "Scores", "finite", "ranker"]
