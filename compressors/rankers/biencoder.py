"""A bi-encoder: question and passages become vectors, the nearest passages stand first. By sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compressors.rankers.base import Scores
from compressors.rankers.encoders import Encoder, as_scores


class BiEncoder(Encoder):
    """Any model of sentence-transformers; prompts for queries and documents and the kind of nearness are its own.

    Reimers and Gurevych, "Sentence-BERT", 2019 (arXiv 1908.10084).
    """

    name = "biencoder"
    default = "sentence-transformers/multi-qa-MiniLM-L6-cos-v1"

    def _load(self, library: Any, folder: Path, device: str | None) -> Any:
        return library.SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )

    def _compare(self, query: str, documents: Sequence[str]) -> Scores:
        model = self.model
        asked = model.encode_query([query], show_progress_bar=False)
        found = self._in_turns(documents, lambda texts: model.encode_document(list(texts), show_progress_bar=False))
        return as_scores([model.similarity(asked, vectors) for vectors in found])
