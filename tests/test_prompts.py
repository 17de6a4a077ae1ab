"""The budget controller: one budget for instruction, demonstrations and question, each with its own share."""

import re

import pytest
from tiny_models import tiny

from compressors import Rate, Threshold, Tokens
from compressors.base import Budget
from compressors.perplexity import Perplexity, PerplexitySettings
from compressors.prompts import Control, Prompt, Shortened, shorten
from compressors.spans import join
from compressors.tokenizers import counter

STORY = "The ferry terminal opens in spring, as the surveyor wrote on page 12. Nobody found the key to the archive. "
SHOWN = tuple(f"Note {i}. " + STORY * 3 + f"The night market costs ${i},{i}50." for i in range(6))
PROMPT = Prompt(
    "Answer the question with the notes below, briefly, and say on which page of the notes the answer stands.",
    SHOWN,
    "What does the night market of the old harbour town cost, and who found the key to its archive?",
)


@pytest.fixture(scope="module")
def compressor() -> Perplexity:
    return Perplexity(PerplexitySettings(model=str(tiny("gpt2")), device="cpu"))


def size(text: str) -> int:
    return counter("o200k_base").count(text)


def full(prompt: Prompt) -> str:
    return "\n\n".join([prompt.instruction, *prompt.demonstrations, prompt.question])


def shares(found: Shortened) -> list[float]:
    return [size(text) / size(task.text) for text, (task, _) in zip(found.texts, found.parts, strict=True)]


@pytest.mark.parametrize("budget", [Rate(0.2), Rate(0.5), Tokens(150), Rate(0.9)])
def test_the_whole_prompt_meets_the_budget(compressor: Perplexity, budget: Rate | Tokens) -> None:
    asked = budget.value * size(full(PROMPT)) if isinstance(budget, Rate) else budget.value
    assert size(shorten(PROMPT, budget, compressor).text) == pytest.approx(asked, rel=0.03)


def test_instruction_and_question_keep_their_shares(compressor: Perplexity) -> None:
    instruction, shown, question = shares(shorten(PROMPT, Rate(0.3), compressor))
    assert (instruction, question) == pytest.approx((0.85, 0.9), abs=0.05)
    assert shown < 0.3
    whole = shares(shorten(PROMPT, Rate(0.3), compressor, Control(instruction=1, question=1)))
    assert whole[0] == whole[2] == 1


def test_what_the_demonstrations_leave_goes_to_the_others(compressor: Perplexity) -> None:
    short = Prompt(PROMPT.instruction * 4, ("One word.",), PROMPT.question)
    instruction, shown, question = shares(shorten(short, Rate(0.95), compressor))
    assert shown == 1
    assert instruction > 0.9
    assert question > 0.94


def test_without_room_all_shrink(compressor: Perplexity) -> None:
    found = shorten(PROMPT, Tokens(20), compressor)
    assert all(found.texts)
    assert size(found.text) <= 24


def test_whole_demonstrations_go_first(compressor: Perplexity) -> None:
    text = shorten(PROMPT, Tokens(120), compressor).texts[1]
    assert len(re.findall(r"\$\d?", text)) < len(SHOWN)
    assert 1 <= text.count("\n\n") + 1 < len(SHOWN)


def test_each_part_is_read_after_what_stays_of_those_before(compressor: Perplexity) -> None:
    found = shorten(PROMPT, Rate(0.4), compressor)
    first, second, third = (task for task, _ in found.parts)
    assert first.before == ""
    assert second.before == found.texts[0] + "\n\n"
    assert third.before == found.texts[0] + "\n\n" + found.texts[1] + "\n\n"
    alone = compressor.compress([type(third)(third.text, third.budget)])[0]
    assert alone.spans != found.parts[2][1].spans or join(third.text, alone.spans) == third.text


@pytest.mark.parametrize("budget", [Rate(0.4), Tokens(30), Threshold(0.9)])
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt(question=PROMPT.question),
        Prompt("", SHOWN[:1]),
        Prompt("Do it.", (" ", "")),
        Prompt("", SHOWN, "Who?"),
    ],
)
def test_parts_may_be_missing(compressor: Perplexity, prompt: Prompt, budget: Budget) -> None:
    text = shorten(prompt, budget, compressor).text
    assert size(text) <= size(full(prompt))
    assert bool(text) == bool(full(prompt).strip())
