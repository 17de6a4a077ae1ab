"""Our engine and the published package, `llmlingua` 0.2.2, side by side on the same weights and texts.

    python benchmarks/engine.py --reference-python PYTHON [--models mbert xlm-r gpt2] [--cases 8k documents ...]
                                [--rounds 3] [--folder DIR] [--tiny] [--json FILE]

PYTHON is the interpreter of an environment that has `llmlingua` (`make test-reference` makes one); without it only ours
run. Models have the architectures and vocabulary sizes of mBERT-base, XLM-R-large and GPT-2 small, random weights, and
tokenizers trained on text of this repository; they are built in DIR (a temporary folder by default) and found there
again. What they keep means nothing; how long it takes does.

  8k          one prompt of 8,000 tokens of the model, at rate 0.5
  documents   40 documents of about 50 tokens, each shortened, in one call
  message     one message of 60 tokens
  concurrent  32 messages of 40 to 200 tokens from as many callers; the published package takes one after the other
  perplexity  LLMLingua: 8,000 tokens at rate 0.5
  question    LongLLMLingua: 20 documents, 7,300 tokens, at rate 0.5, with a question

Each engine is a process of its own; rounds alternate between them, after two short texts that do not count; medians. An
engine that has taken a minute for a case has no further round of it.
`around` is the time outside of the model; of several callers at once it says nothing. `peak` is the most that was
resident, mapped files included; `own` what the process itself holds afterwards. The published package cuts the table of
words to the size of the tokenizer, which is small here: with real models it needs 0.3 GB (mBERT) or 1 GB (XLM-R) more.
`order` is the rank correlation of int8's probabilities with those of float32, on the prompt of 8,000 tokens; with
random weights probabilities lie close together, so real models fare better.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
import tiny_models  # noqa: E402
from engine_serve import Case  # noqa: E402

ENOUGH = 60.0
"""Seconds: an engine that has taken as long for a case is not asked again."""
QUESTION = "What did the council decide about the budget?"
TARGETS = {  # against the published package
    ("8k", "int8"): 2.7,
    ("8k", "fp32"): 1.15,
    ("documents", "int8"): 9.0,
    ("message", "int8"): 6.0,
    ("concurrent", "int8"): 8.0,
    ("perplexity", "fp32"): 1.6,
    ("question", "fp32"): 3.0,
}
CLASSIFIER = ("8k", "documents", "message", "concurrent")
CASES = {"mbert": CLASSIFIER, "xlm-r": CLASSIFIER, "gpt2": ("perplexity", "question")}
TINY = {"mbert": "bert", "xlm-r": "xlm-r", "gpt2": "gpt2"}
_XLM_R = {
    "vocab_size": 250_102,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}
FULL: dict[str, tuple[str, dict[str, Any]]] = {  # names in which the published package reads the family
    "mbert": ("random-bert-base-multilingual-cased", {"vocab_size": 119_647}),
    "xlm-r": ("random-xlm-roberta-large", _XLM_R),
    "gpt2": ("random-gpt2", {"vocab_size": 50_257}),
}


@dataclass(frozen=True, slots=True)
class Row:
    """Times in milliseconds, memory in MB; `ratio` is the published package's time through this one."""

    model: str
    case: str
    engine: str
    tokens: int
    rounds: int
    ms: float
    tokens_s: float
    around_ms: float
    peak: float
    own: float
    ratio: float | None = None
    target: float | None = None


def build(kind: str, folder: Path, tiny: bool) -> Path:
    """The model's folder, made where it is not there."""
    if tiny:
        return Path(tiny_models.tiny(TINY[kind]))
    name, sizes = FULL[kind]
    if not (folder / name).exists():
        small = tiny_models.RECIPES[TINY[kind]]
        tiny_models.STD = 0.02  # as models of this size begin
        tiny_models.RECIPES[name] = tiny_models.Recipe(name, small.tokens, small.longest, small.model, sizes)
        with tempfile.TemporaryDirectory(dir=folder) as making:
            tiny_models.build(name, Path(making)).rename(folder / name)
    return folder / name


class Texts:
    """Texts of a size in the model's own tokens: sentences of the repository's samples in an order of their own."""

    def __init__(self, model: Path) -> None:
        from compressors.checkpoint import open_checkpoint

        lines = [
            line for path in sorted(tiny_models.SAMPLES.glob("*.md")) for line in path.read_text("utf-8").split("\n")
        ]
        self._sentences = [part for line in lines for part in line.split(". ") if len(part) > 30]
        self._draw = random.Random(7)
        self._tokenizer = open_checkpoint(str(model)).tokenizer

    def of(self, tokens: int) -> str:
        text, size = "", 0
        while size < tokens:
            more = self._draw.choice(self._sentences) + self._draw.choice([". ", ". ", ".\n\n"])
            text += more
            size += self.count(more)
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text[: offsets[tokens - 1][1]] if tokens <= len(offsets) else text

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def case(self, name: str) -> tuple[Case, int]:
        """A case, and its tokens."""
        lengths = {
            "8k": [8_000],
            "documents": [self._draw.randint(40, 60) for _ in range(40)],
            "message": [60],
            "concurrent": [self._draw.randint(40, 200) for _ in range(32)],
            "perplexity": [8_000],
            "question": [365] * 20,
        }[name]
        texts = [self.of(length) for length in lengths]
        kind = name if name not in CLASSIFIER or name == "concurrent" else "classifier"
        case = {"kind": kind, "texts": texts, "question": QUESTION if name == "question" else "", "rate": 0.5}
        return case, sum(map(self.count, texts))


class Engine:
    """A process that runs cases."""

    def __init__(self, name: str, command: Sequence[str | Path]) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # lives as long as the process
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def run(self, case: Case) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            print(json.dumps(case), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise SystemExit(f"{self.name} failed:\n{self._log.read()[-3000:]}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.communicate()
        self._log.close()


def engines(kind: str, model: Path, reference: str | None) -> list[Engine]:
    found = [Engine("published", [reference, HERE / "engine_published.py", model])] if reference else []
    precisions = ("fp32", "bf16") if kind == "gpt2" else ("int8", "fp32")
    return [*found, *(Engine(p, [sys.executable, HERE / "engine_ours.py", model, p]) for p in precisions)]


def measure(kind: str, model: Path, options: argparse.Namespace) -> Iterator[Row]:
    texts = Texts(model)
    running = engines(kind, model, options.reference_python)
    for name in CASES[kind]:
        case, tokens = texts.case(name)
        if name not in options.cases:
            continue
        small = case | {"texts": [text[:300] for text in case["texts"][:2]]}
        for engine in running:
            engine.run(small)
        taken: dict[str, list[dict[str, float]]] = {engine.name: [] for engine in running}
        for _ in range(options.rounds):
            for engine in running:
                if sum(result["seconds"] for result in taken[engine.name]) < ENOUGH:
                    taken[engine.name].append(engine.run(case))
        published = None
        for engine in running:
            row = _row(kind, name, engine.name, tokens, taken[engine.name])
            published = row.ms if engine.name == "published" else published
            against = published and engine.name != "published"
            ratio = published / row.ms if published and against else None
            target = TARGETS.get((name, engine.name)) if against else None
            yield Row(**(asdict(row) | {"ratio": ratio, "target": target}))
    for engine in running:
        engine.close()


def _row(kind: str, case: str, engine: str, tokens: int, results: Sequence[dict[str, float]]) -> Row:
    seconds = statistics.median(result["seconds"] for result in results)
    around = statistics.median(result["seconds"] - result["model"] for result in results)
    return Row(
        model=kind,
        case=case,
        engine=engine,
        tokens=tokens,
        rounds=len(results),
        ms=seconds * 1000,
        tokens_s=tokens / seconds,
        around_ms=max(0.0, around * 1000),
        peak=max(result["peak"] for result in results),
        own=max(result["own"] for result in results),
    )


def order(model: Path) -> float:
    """The rank correlation of int8's probabilities with float32's."""
    from compressors.token_classifier import token_classifier

    exact, small = (token_classifier(str(model), "cpu", precision) for precision in ("fp32", "int8"))
    ids = exact.checkpoint.tokenizer.encode(Texts(model).of(4 * 510), add_special_tokens=False).ids
    rows = [[exact.first, *ids[start : start + 510], exact.last] for start in range(0, len(ids), 510)]
    ranks = [np.concatenate(engine.keep(rows)).argsort().argsort() for engine in (exact, small)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def machine() -> dict[str, Any]:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def show(rows: Sequence[Row], orders: dict[str, float]) -> None:
    names = ("ms", "tokens/s", "ratio", "target", "around", "peak", "own")
    table = Table("model", "case", "engine", *(Column(name, justify="right") for name in names), box=None)
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        target = f"{row.target:.2f}" if row.target else ""
        around = "" if row.case == "concurrent" else f"{row.around_ms:,.0f}"
        numbers = (
            f"{row.ms:,.0f}",
            f"{row.tokens_s:,.0f}",
            ratio,
            target,
            around,
            f"{row.peak:,.0f}",
            f"{row.own:,.0f}",
        )
        table.add_row(row.model, row.case, row.engine, *numbers)
    Console().print(table)
    for model, value in orders.items():
        print(f"{model}: order of int8 against fp32 {value:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reference-python", metavar="PYTHON")
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--cases", nargs="+", choices=sorted({c for cases in CASES.values() for c in cases}))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--tiny", action="store_true", help="tiny models: only whether it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.cases = options.cases or [case for cases in CASES.values() for case in cases]
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("LACONIC_CACHE", str(folder / "cache"))
        start = machine()
        rows: list[Row] = []
        orders: dict[str, float] = {}
        for kind in options.models:
            model = build(kind, folder, options.tiny)
            rows += measure(kind, model, options)
            if kind != "gpt2" and "8k" in options.cases:
                orders[kind] = order(model)
    show(rows, orders)
    if options.json:
        record = {"machine": start, "order": orders, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
