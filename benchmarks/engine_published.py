"""The published package, `llmlingua` 0.2.2, for `engine.py`: python engine_published.py MODEL."""

import os
import sys
from pathlib import Path

from engine_serve import Case, Timer, serve

os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(__file__).parents[1] / "compressors" / "vocabularies")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from llmlingua import PromptCompressor

LONG = {  # as its documentation has it
    "condition_in_question": "after_condition",
    "reorder_context": "sort",
    "dynamic_context_compression_ratio": 0.3,
    "condition_compare": True,
    "context_budget": "+100",
    "rank_method": "longllmlingua",
}


def main() -> None:
    folder = sys.argv[1]
    compressor = PromptCompressor(folder, device_map="cpu", use_llmlingua2="gpt2" not in folder)
    compressor.model.eval()
    timer = Timer()
    compressor.model.forward = timer.around(compressor.model.forward)

    def run(case: Case) -> None:
        if case["kind"] == "classifier":  # all documents stay, as with us
            compressor.compress_prompt(case["texts"], rate=case["rate"], use_context_level_filter=False)
        elif case["kind"] == "concurrent":  # one after the other: it is not made for threads
            for text in case["texts"]:
                compressor.compress_prompt([text], rate=case["rate"])
        elif case["kind"] == "perplexity":
            compressor.compress_prompt(case["texts"], rate=case["rate"])
        else:
            compressor.compress_prompt(case["texts"], question=case["question"], rate=case["rate"], **LONG)

    serve(run, timer)


main()
