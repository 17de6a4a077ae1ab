"""Which of the encodings on board counts a model's tokens."""

import re

from tiktoken.model import encoding_name_for_model

from compressors.tokenizers import names

DEFAULT = "o200k_base"
_SAME_TEXT = {"o200k_harmony": "o200k_base"}  # differs in special tokens only, and those are plain text to us
_NEWER = re.compile(r"o[134](-|$)|chatgpt-|gpt-oss(-|$)")  # OpenAI families that tiktoken's table lists in part


def encoding_for(model: str) -> tuple[str, bool]:
    """The name of the encoding, and whether counts by it are an estimate (the model's own tokenizer is not on board).

    Reads names as they are sent: dated, fine-tuned (`ft:gpt-4o-mini:org::id`), with a provider before the last slash
    (`azure/gpt-4o`) or a variant after a colon (`openai/gpt-4o:extended`).
    """
    base = model.lower().rpartition("/")[2].removeprefix("ft:").partition(":")[0]
    try:
        encoding = encoding_name_for_model(base)
    except KeyError:
        return DEFAULT, _NEWER.match(base) is None
    encoding = _SAME_TEXT.get(encoding, encoding)
    return (encoding, False) if encoding in names() else (DEFAULT, True)
