"""Counts equal tiktoken's, for any text, without a download, and without hanging on the texts that break it."""

import random
import threading
import time
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

import compressors.tokenizers
from compressors.tokenizers import counter, names

VOCABULARIES = Path(compressors.tokenizers.__file__).with_name("vocabularies")
PROSE = (
    "In 1923 the harbour's keeper wrote: “No ship came in.” He didn't say why; the log (kept until 1931) does.\n\n"
    "Der Hafenmeister notierte 3.141,59 Mark. 港の番人は「船は来なかった」と書いた。Смотритель молчал!  \n"
    "def f(x):\n\treturn x ** 2  # نص عربي 👩‍🚀 é\r\n"
)


@pytest.fixture(scope="module", params=names())
def pair(request: pytest.FixtureRequest) -> tuple[compressors.tokenizers.Counter, tiktoken.Encoding]:
    """Our counter and tiktoken's own encoding of the same name, made from the same files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(VOCABULARIES))
        return counter(request.param), tiktoken.get_encoding(request.param)


def test_a_count_is_tiktokens(pair: tuple[compressors.tokenizers.Counter, tiktoken.Encoding]) -> None:
    ours, theirs = pair

    @given(st.text() | st.text(alphabet="aB1 \n\r\t'.,s/é字"))
    def check(text: str) -> None:
        assert ours.count(text) == len(theirs.encode_ordinary(text))

    check()


def test_a_long_text_counts_as_if_in_one_piece(
    pair: tuple[compressors.tokenizers.Counter, tiktoken.Encoding],
) -> None:
    ours, theirs = pair
    sentences = PROSE.split(". ")
    for seed in range(5):
        text = ". ".join(random.Random(seed).choices(sentences, k=3000))
        assert len(text) > 5 * 16_384
        assert ours.count(text) == len(theirs.encode_ordinary(text))


def test_special_token_strings_are_plain_text(pair: tuple[compressors.tokenizers.Counter, tiktoken.Encoding]) -> None:
    ours, theirs = pair
    for text in ("<|endoftext|>", "a <|endofprompt|> b", "<|fim_prefix|>"):
        assert ours.count(text) == len(theirs.encode(text, disallowed_special=())) > 3


def test_a_lone_surrogate_counts_as_the_replacement_character(
    pair: tuple[compressors.tokenizers.Counter, tiktoken.Encoding],
) -> None:
    ours, _ = pair
    assert ours.count("a \ud800 b") == ours.count("a \ufffd b")


@pytest.mark.parametrize("text", ["a", " ", "\n", " \n", "!", "字", "😀", "\u0301", "\0", "aB", "1"])
def test_two_megabytes_of_one_character_are_counted(text: str) -> None:
    """tiktoken alone panics on a million spaces."""
    for encoding in names():
        short, long = (counter(encoding).count(text * (n // len(text.encode()))) for n in (20_000, 2_000_000))
        assert 0.9 < long / (100 * short) < 1.1


def test_counting_leaves_the_interpreter_to_other_threads() -> None:
    """Two MB of prose in a thread; another thread must get its turn many times before that is done."""
    ours = counter("o200k_base")
    text = (PROSE * 20_000)[:2_000_000]
    turns = 0
    work = threading.Thread(target=ours.count, args=(text,))
    work.start()
    while work.is_alive():
        time.sleep(0)
        turns += 1
    assert turns > 100


def test_count_all_is_one_number_a_text() -> None:
    ours = counter("cl100k_base")
    assert ours.count_all(["", "one", "one two"]) == [0, 1, 2]
    assert ours.count_all([]) == []


def test_threads_that_ask_at_once_share_one_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressors.tokenizers, "_counters", {})
    found: list[compressors.tokenizers.Counter] = []
    threads = [threading.Thread(target=lambda: found.append(counter("cl100k_base"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in found}) == 1
    assert len(found) == 4


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'p50k_base' on board; known: o200k_base, cl100k_base"):
        counter("p50k_base")
