"""The budget controller of LLMLingua (Jiang et al., arXiv 2310.05736, section 4.1), for use as a library.

A prompt of an instruction, demonstrations (or documents) and a question is shortened to one size in all. Instruction
and question keep most of their tokens; demonstrations get what is left, and what they leave goes back to the other two.
Each part is shortened with the kept form of all parts before it as its context.

    from compressors import Rate, load
    from compressors.prompts import Prompt, shorten
    shorten(Prompt("Answer briefly.", (demonstration, another), "Who?"), Rate(0.4), load("perplexity")).text
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compressors import spans
from compressors.base import Compressor, Kept, Rate, Span, Task, Threshold, Tokens
from compressors.tokenizers import counter

SEPARATOR = "\n\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The parts of a prompt. Any of them may be empty."""

    instruction: str = ""
    demonstrations: tuple[str, ...] = ()
    question: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """The share of the instruction's and of the question's tokens that stays, and whose tokens are counted."""

    instruction: float = 0.85
    question: float = 0.9
    encoding: str = "o200k_base"


@dataclass(frozen=True, slots=True)
class Shortened:
    """A prompt that was shortened: its parts, each with what stays of it; demonstrations are one text."""

    parts: tuple[tuple[Task, Kept], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What stays of each part."""
        return tuple(spans.join(task.text, kept.spans) for task, kept in self.parts)

    @property
    def text(self) -> str:
        """The parts, a blank line between two."""
        return SEPARATOR.join(text for text in self.texts if text)


def shorten(
    prompt: Prompt, budget: Rate | Tokens | Threshold, compressor: Compressor, control: Control | None = None
) -> Shortened:
    """The prompt within `budget`, which counts all its parts.

    Where instruction and question alone take more than there is, both shrink in proportion, and one demonstration stays
    in part. With a `Threshold`, each part is held against it.
    """
    control = control or Control()
    parts = list(_parts(prompt, control))
    targets = None if isinstance(budget, Threshold) else _targets(budget, parts, control)
    done: list[tuple[Task, Kept]] = []
    before = ""
    for i, (part, _) in enumerate(parts):
        own = Tokens(targets[i]) if targets else budget
        question = prompt.question if part.documents else ""
        task = Task(part.text, own, question, (), part.documents, control.encoding, before)
        kept = compressor.compress([task])[0]
        done.append((task, kept))
        before += spans.join(task.text, kept.spans) + SEPARATOR
    return Shortened(tuple(done))


def _targets(budget: Rate | Tokens, parts: Sequence[tuple[Task, float]], control: Control) -> list[int]:
    """The tokens of each part, which with those between the parts are as many as the budget says."""
    count = counter(control.encoding).count
    sizes = [count(part.text) for part, _ in parts]
    whole = count(SEPARATOR.join(part.text for part, _ in parts))
    wanted = budget.value * whole if isinstance(budget, Rate) else min(budget.value, whole)
    wanted -= whole - sum(sizes)
    light = [size * share for size, (_, share) in zip(sizes, parts, strict=True)]
    bending = sum(size for size, (_, share) in zip(sizes, parts, strict=True) if not share)
    rest = min(max(wanted - sum(light), 1), bending)
    scale = (wanted - rest) / sum(light) if sum(light) else 0.0
    found = [min(own * scale, size) if own else rest for own, size in zip(light, sizes, strict=True)]
    return [max(1, round(own)) for own in found]


def _parts(prompt: Prompt, control: Control) -> Iterator[tuple[Task, float]]:
    """Each part that is not empty, and the share of it that shall stay; 0 for demonstrations, which take the rest."""
    if prompt.instruction.strip():
        yield Task(prompt.instruction, Rate(1)), control.instruction
    if shown := [text for text in prompt.demonstrations if text.strip()]:
        yield Task(SEPARATOR.join(shown), Rate(1), documents=tuple(_spans(shown))), 0.0
    if prompt.question.strip():
        yield Task(prompt.question, Rate(1)), control.question


def _spans(texts: list[str]) -> Iterator[Span]:
    at = 0
    for text in texts:
        yield at, at + len(text)
        at += len(text) + len(SEPARATOR)
