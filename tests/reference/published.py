"""The published package, `llmlingua` 0.2.2, on the tiny models: what it computes on the way, to compare with ours.

    from published import calls, conditional, published, rows_scored, surprises
    result = published("gpt2").compress_prompt(transcript(1, 30), rate=0.5)
    ours = load("perplexity", PerplexitySettings(model=str(tiny("gpt2")), device="cpu", precision="fp32"))

Nothing of it is changed: values are read where they pass. `make test-reference` makes its environment and runs all.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nltk
import numpy as np
import torch
import transformers
from llmlingua import PromptCompressor
from nltk.tokenize.punkt import PunktSentenceTokenizer
from numpy.typing import NDArray
from tiny_models import tiny

VOCABULARIES = Path(__file__).parents[2] / "compressors" / "vocabularies"
os.environ["TIKTOKEN_CACHE_DIR"] = str(VOCABULARIES)  # all that it would load is on board
os.environ["TOKENIZERS_PARALLELISM"] = "false"
CLASSIFIERS = ("xlm-r", "bert")
CAUSAL = ("gpt2", "llama")
TOLERANCE = 1e-4

transformers.logging.set_verbosity_error()
_punkt = PunktSentenceTokenizer()  # not trained: the trained one's data would have to be downloaded


def _sentences(text: str, language: str = "english") -> list[str]:
    found: list[str] = _punkt.tokenize(text)
    return found


nltk.sent_tokenize = _sentences


@cache
def published(kind: str) -> Any:
    """Its `PromptCompressor` on the tiny model of this kind, as LLMLingua-2 where that is a token classifier."""
    made = PromptCompressor(str(tiny(kind)), device_map="cpu", use_llmlingua2=kind in CLASSIFIERS)
    made.model.eval()
    return made


# What it computes, by its own methods


def surprises(kind: str, text: str) -> NDArray[np.float32]:
    """-ln p of each token of a text but the first, the tokenizer's own special tokens included."""
    values = published(kind).get_ppl(text, granularity="token")
    return np.asarray(values.numpy(), np.float32)


def conditional(kind: str, text: str, question: str, mode: str) -> float:
    """The mean surprise of the text given the question (`before`), of the question given the text (`after`), or of the
    text alone (`none`)."""
    return float(published(kind).get_condition_ppl(text, question, mode))


def ranking(kind: str, documents: Sequence[str], question: str, method: str, mode: str = "after") -> list[int]:
    """The documents' indexes, best first. `longllmlingua` adds its own sentence to the question."""
    compressor = published(kind)
    lengths = [compressor.get_token_length(document) for document in documents]
    found = compressor.get_rank_results(list(documents), question, method, mode, lengths)
    return [int(index) for index, _ in found]


@dataclass(frozen=True)
class Chosen:
    """The documents that its coarse stage keeps, in its order, and what it adds to the rate of each."""

    indexes: list[int]
    ratios: list[float]


def chosen(kind: str, documents: Sequence[str], question: str, target: float, **settings: Any) -> Chosen:
    """`settings`: those of its `control_context_budget` (`reorder_context`, `dynamic_context_compression_ratio`, …)."""
    compressor = published(kind)
    lengths = [compressor.get_token_length(document) for document in documents]
    settings = {"condition_in_question": "after", "rank_method": "longllmlingua", **settings}
    _, ratios, indexes = compressor.control_context_budget(
        list(documents), lengths, target, question=question, **settings
    )
    return Chosen([int(index) for index in indexes], [float(ratio) for ratio in ratios])


def labels(kind: str, text: str | Sequence[str], **settings: Any) -> list[tuple[str, bool]]:
    """The words that LLMLingua-2 sees, in order, and whether each is kept."""
    context = text if isinstance(text, str) else list(text)
    result = published(kind).compress_prompt(
        context, return_word_label=True, word_sep="\x1e", label_sep="\x1f", **settings
    )
    pairs = [word.rsplit("\x1f", 1) for word in result["fn_labeled_original_prompt"].split("\x1e") if word]
    return [(word, label == "1") for word, label in pairs]


# What passes through it


@dataclass(frozen=True)
class Call:
    """One call of a method of its. `arguments` are those given by place."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]
    result: Any


@contextmanager
def calls(kind: str, method: str) -> Iterator[list[Call]]:
    """Every call of a method while the block runs, private ones included: `calls("bert", "__merge_token_to_word")` for
    words and their subwords' probabilities, `calls("gpt2", "get_estimate_threshold_base_distribution")` for the scores
    of the tokens still there, contrastive ones where it compares."""
    compressor, found = published(kind), list[Call]()
    name = f"_{type(compressor).__name__}{method}" if method.startswith("__") else method
    original = getattr(compressor, name)

    def told(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        found.append(Call(arguments, named, result))
        return result

    setattr(compressor, name, told)
    try:
        yield found
    finally:
        delattr(compressor, name)


@dataclass(frozen=True)
class Row:
    """What a token classifier reads at once, special tokens included, and how likely it keeps each token."""

    ids: list[int]
    keep: NDArray[np.float32]


@contextmanager
def rows_scored(kind: str) -> Iterator[list[Row]]:
    """Every row that goes through the model of a token classifier while the block runs, without padding."""
    model, found = published(kind).model, list[Row]()

    def told(_: Any, __: Any, named: dict[str, Any], output: Any) -> None:
        keep = torch.softmax(output.logits, dim=-1)[:, :, 1].numpy()
        for ids, mask, row in zip(named["input_ids"], named["attention_mask"], keep, strict=True):
            there = mask.bool().numpy()
            found.append(Row(ids[mask.bool()].tolist(), np.asarray(row[there], np.float32)))

    hook = model.register_forward_hook(told, with_kwargs=True)
    try:
        yield found
    finally:
        hook.remove()
