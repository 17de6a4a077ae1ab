"""Tiny models with random weights, one of each kind that a compressor can run: no hub, no network, a second each.

    from tiny_models import tiny
    folder = tiny("xlm-r")

Tokenizers are trained on text of this repository. Weights have a standard deviation of 0.2, so that the noise of float
arithmetic turns no score around, and no parameter is left at 0 or 1, so that a forgotten bias shows.
"""

import hashlib
import json
import string
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any, NamedTuple

SAMPLES = Path(__file__).parent.parent / "proxy" / "demo" / "samples"
STD = 0.2
EXTRA = [f"[NEW{i}]" for i in range(100)]
"""The published package puts these in the place of forced words that are no single token; without them in a checkpoint
it would make up rows for them."""
OWN = """
Speaker 1 (Okafor): Good evening. Item 4.2 on the agenda is the ferry terminal; the budget was $1,240,500 in 2023.
Speaker 2 (Lindqvist): It costs 18.75% more than planned! Who approved it? I'd ask Mr. Haddad, not me.
Speaker 3 (Haddad): We'll vote at 19:30 - 7 in favour, 2 against. See https://example.org/minutes?id=42 for the rest.
def total(prices: list[float], tax: float = 0.19) -> float:
    return sum(price * (1 + tax) for price in prices if price > 0)
{"id": 90210, "name": "Ana Duarte", "active": true, "skills": ["Go", "Python"], "score": -3.5e-2}
市议会批准了新的预算。主席说，我们需要更多的资金来修理道路和学校。会议于下午三点结束。
Городской совет утвердил бюджет. Председатель сказал, что мост откроют в мае 2025 года.
El consejo aprobó el presupuesto; la ampliación del puerto empezará en otoño. Le café près de l'église était fermé.
"""


def build(kind: str, folder: Path) -> Path:
    """Makes the model of this kind in a folder of its own below `folder`, and returns that."""
    recipe = RECIPES[kind]
    made = folder / recipe.name
    made.mkdir(parents=True)
    tokenizer = recipe.tokenizer()
    tokenizer.save(made)
    _save_model(recipe, tokenizer, made)
    for path, content in recipe.files.items():
        (made / path).parent.mkdir(exist_ok=True)
        (made / path).write_text(json.dumps(content), "utf-8")
    return made


@cache
def tiny(kind: str) -> Path:
    """The folder of this kind's model: made once for each state of this file, and shared by all processes."""
    state = hashlib.sha256(Path(__file__).read_bytes() + "".join(_lines()).encode() + version("transformers").encode())
    shared = Path(tempfile.gettempdir()) / f"laconic-tiny-models-{state.hexdigest()[:16]}"
    shared.mkdir(exist_ok=True)
    target = shared / RECIPES[kind].name
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=shared) as making:
            made = build(kind, Path(making))
            try:
                made.rename(target)
            except OSError:  # another process was first
                assert target.exists()
    return target


# Tokenizers


@cache
def _lines() -> tuple[str, ...]:
    texts = [path.read_text("utf-8") for path in sorted(SAMPLES.glob("*.md"))]
    return tuple(line for text in [OWN, *texts] for line in text.splitlines() if line.strip())


class Made(NamedTuple):
    """A tokenizer (`tokenizers.Tokenizer`) and which token has which part, in the words of transformers."""

    tokenizer: Any
    parts: dict[str, str]
    longest: int
    extra: list[str]

    def id(self, part: str) -> int | None:
        return self.tokenizer.token_to_id(self.parts[part]) if part in self.parts else None

    def save(self, folder: Path) -> None:
        """Written here and not by transformers: what release 5 writes, release 4 does not read."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        marks = {**self.parts, "additional_special_tokens": self.extra} if self.extra else dict(self.parts)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is, in every release
            "model_max_length": self.longest,
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
            **marks,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), "utf-8")
        (folder / "special_tokens_map.json").write_text(json.dumps(marks, indent=1), "utf-8")


def _finished(tokenizer: Any, parts: dict[str, str], longest: int, extra: list[str]) -> Made:
    from tokenizers import AddedToken

    marks = [*dict.fromkeys(parts.values()), *extra]
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in marks])
    return Made(tokenizer, parts, longest, extra)


def _around(tokenizer: Any, single: str, pair: str | None = None) -> None:
    """What stands around a text, as a template: "<s> $A </s>"."""
    from tokenizers.processors import TemplateProcessing

    marks = sorted({word.split(":")[0] for word in (pair or single).split() if not word.startswith("$")})
    ids = [(mark, tokenizer.token_to_id(mark)) for mark in marks]
    tokenizer.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=ids)


def _byte_level(longest: int, parts: dict[str, str]) -> Made:
    """GPT-2's: byte-level BPE. Its special tokens come last, so that "." has the id 13."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_lines(), trainer)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return _finished(tokenizer, parts, longest, [])


def gpt2(longest: int) -> Made:
    return _byte_level(longest, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})


def modernbert(longest: int) -> Made:
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    made = _byte_level(longest, {"unk_token": "[UNK]", **names})
    _around(made.tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
    return made


def llama(longest: int) -> Made:
    """Llama 2's: BPE over characters with a fallback to bytes, which start at id 3: the newline has the id 13."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    learner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), digits])
    fixed = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=2000, min_frequency=2, special_tokens=fixed, show_progress=False)
    learner.train_from_iterator(_lines(), trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in learned["merges"]]
    model = models.BPE(vocab=learned["vocab"], merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(back)
    _around(tokenizer, "<s> $A", "<s> $A <s>:1 $B:1")
    return _finished(tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, longest, [])


def xlm_r(longest: int) -> Made:
    """XLM-R's: a unigram model. Its normaliser makes one space of every newline, tab and run of spaces.

    The pieces are those of a BPE, whose training gives the same ones in every process; that of a unigram does not.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    learner = Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = normalizer, splitter
    learner.train_from_iterator(_lines(), trainers.BpeTrainer(vocab_size=2000, show_progress=False))
    counts = Counter(piece for line in _lines() for piece in learner.encode(line).tokens)
    alone = [f"▁{mark}" for mark in string.punctuation]  # one piece each, as in the real one
    scores = _log_shares({piece: counts[piece] + 1 for piece in sorted({*learner.get_vocab(), *alone})})
    fixed = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = Tokenizer(models.Unigram([*fixed, *scores], unk_id=3))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.Metaspace()
    _around(tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    parts = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _finished(
        tokenizer, {**parts, "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}, longest, EXTRA
    )


def _log_shares(counts: dict[str, int]) -> list[tuple[str, float]]:
    total = sum(counts.values())
    return [(piece, log(count / total)) for piece, count in counts.items()]


def _word_piece(longest: int, lowercase: bool, extra: list[str]) -> Made:
    """BERT's. The pieces are those of a BPE, at the start of words and inside: a WordPiece trainer gives others in
    each process."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    learner.pre_tokenizer = splitter = pre_tokenizers.BertPreTokenizer()
    learner.train_from_iterator(_lines(), trainers.BpeTrainer(vocab_size=1500, show_progress=False))
    seen = {piece for line in _lines() for piece in _pieces(learner, line)}
    letters = (mark + piece for piece in sorted(learner.get_vocab()) if len(piece) == 1 for mark in ("", "##"))
    names = ("pad", "unk", "cls", "sep", "mask")
    parts = {f"{name}_token": f"[{name.upper()}]" for name in names}
    pieces = dict.fromkeys([*parts.values(), *letters, *sorted(seen)])
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    _around(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return _finished(tokenizer, parts, longest, extra)


def _pieces(learner: Any, line: str) -> Iterator[str]:
    encoded = learner.encode(line)
    words = [None, *encoded.word_ids]
    inside = [before == word for before, word in pairwise(words)]
    return (("##" if mark else "") + piece for mark, piece in zip(inside, encoded.tokens, strict=True))


def bert(longest: int) -> Made:
    return _word_piece(longest, False, EXTRA)


def minilm(longest: int) -> Made:
    return _word_piece(longest, True, [])


# Models


@dataclass(frozen=True)
class Recipe:
    """How one kind is made: the folder's name (the published package reads the family in it), the tokenizer and its
    longest row, the class in transformers, its configuration's own fields, and JSON files beside."""

    name: str
    tokens: Callable[[int], Made]
    longest: int
    model: str
    config: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)

    def tokenizer(self) -> Made:
        return self.tokens(self.longest)


def _save_model(recipe: Recipe, tokens: Made, folder: Path) -> None:
    import torch
    import transformers

    model_class = getattr(transformers, recipe.model)
    special = {f"{part}_token_id": tokens.id(f"{part}_token") for part in ("bos", "eos", "pad", "cls", "sep")}
    names = {**special, "vocab_size": tokens.tokenizer.get_vocab_size(), "initializer_range": STD, **recipe.config}
    model = model_class(model_class.config_class(**names)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            around = 1.0 if weight.dim() == 1 and name.endswith("weight") else 0.0  # the gains of the norms
            weight.copy_(around + STD * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder, safe_serialization=True)


def _recipes() -> Iterator[tuple[str, Recipe]]:
    gpt = {"n_embd": 64, "n_layer": 2, "n_head": 2}
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    for suffix, long in (("", 1024), ("-512", 512)):
        config = {**gpt, "n_positions": long}
        yield "gpt2" + suffix, Recipe("tiny-gpt2" + suffix, gpt2, long, "GPT2LMHeadModel", config)
    for suffix, long in (("", 2048), ("-512", 512)):
        config = {**size, "num_key_value_heads": 2, "max_position_embeddings": long}
        yield "llama" + suffix, Recipe("tiny-llama" + suffix, llama, long, "LlamaForCausalLM", config)
    labels = {**size, "num_labels": 2}
    roberta = {**labels, "max_position_embeddings": 514, "type_vocab_size": 1}
    yield "xlm-r", Recipe("tiny-xlm-roberta-large", xlm_r, 512, "XLMRobertaForTokenClassification", roberta)
    name = "tiny-bert-base-multilingual-cased"
    yield "bert", Recipe(name, bert, 512, "BertForTokenClassification", {**labels, "max_position_embeddings": 512})
    modern = {**labels, "num_hidden_layers": 3, "max_position_embeddings": 1024, "local_attention": 32}
    yield "modernbert", Recipe("tiny-modernbert", modernbert, 1024, "ModernBertForTokenClassification", modern)
    short = {**size, "max_position_embeddings": 256}
    yield "minilm-bi-encoder", Recipe("tiny-minilm-bi-encoder", minilm, 256, "BertModel", short, BI_ENCODER)
    pairs = {**short, "num_labels": 1}
    yield "cross-encoder", Recipe("tiny-cross-encoder", minilm, 256, "BertForSequenceClassification", pairs)


BI_ENCODER: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
}
"""How sentence-transformers knows that vectors are the mean over the tokens, of length 1."""
RECIPES = dict(_recipes())
