"""A cross-encoder: reads the question and a passage together and says how well they go. By sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compressors.base import Unavailable
from compressors.checkpoint import open_checkpoint
from compressors.rankers.base import Scores
from compressors.rankers.encoders import Encoder, as_scores


class CrossEncoder(Encoder):
    """Any model of sentence-transformers that gives one number for a pair of texts.

    Nogueira and Cho, "Passage Re-ranking with BERT", 2019 (arXiv 1901.04085).
    """

    name = "crossencoder"
    default = "cross-encoder/ms-marco-MiniLM-L6-v2"

    def _load(self, library: Any, folder: Path, device: str | None) -> Any:
        kinds = open_checkpoint(str(folder)).config.get("architectures") or [""]
        if not str(kinds[0]).endswith("ForSequenceClassification"):  # the library would make up what is missing
            raise Unavailable(f"{folder} is a {kinds[0] or 'model of unknown kind'}, not a cross-encoder")
        model = library.CrossEncoder(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        if model.num_labels != 1:
            raise Unavailable(f"{folder} gives {model.num_labels} numbers for a pair; a ranker needs one")
        return model

    def _compare(self, query: str, documents: Sequence[str]) -> Scores:
        from torch.nn import Identity  # the usual sigmoid makes all good passages equal

        model, plain = self.model, Identity()
        return as_scores(
            self._in_turns(
                documents,
                lambda texts: model.predict(
                    [(query, text) for text in texts], activation_fn=plain, show_progress_bar=False
                ),
            )
        )
