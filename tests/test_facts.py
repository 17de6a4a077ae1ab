"""Facts stay whatever the model thinks of them: here it finds negations, modals and numbers the idlest words of all."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compressors import Rate, Task
from compressors.classifier import Classifier
from compressors.selection import keep, layout
from compressors.spans import join

TEXT = (
    "The driver could not deliver the 14 parcels, so nobody has signed for 3 of them. Customs never opened the boxes, "
    "and the depot must return what is left of them to the sender before the end of the week. "
) * 3
PAIRS = [("not", "deliver"), ("nobody", "signed"), ("never", "opened"), ("must", "return")]
IDLE = re.compile(r"(?:not|nobody|never|must|could|\d+)")


class Contrary:
    """The classifier's model but for its opinion."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def keep(self, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        word = self._model.checkpoint.tokenizer.id_to_token
        return [np.array([0.01 if IDLE.fullmatch(word(id) or "") else 0.9 for id in row], np.float32) for row in rows]


def shortened(rate: float) -> str:
    made = Classifier()
    made.__dict__["_model"] = Contrary(made._model)
    (kept,) = made.compress([Task(TEXT, Rate(rate))])
    return join(TEXT, kept.spans)


@pytest.mark.parametrize("rate", [0.5, 0.7, 0.85])
def test_a_negation_or_modal_stays_where_the_next_words_do(rate: float) -> None:
    shown = shortened(rate)
    assert len(shown) < len(TEXT)
    assert any(verb in shown for _, verb in PAIRS)
    for telling, verb in PAIRS:
        assert len(re.findall(rf"\b{telling}\b", shown)) >= shown.count(verb), shown


@pytest.mark.parametrize("rate", [0.3, 0.5, 0.85])
def test_numbers_stay(rate: float) -> None:
    assert re.findall(r"\d+", shortened(rate)) == re.findall(r"\d+", TEXT)


def test_among_equals_the_earlier_stays() -> None:
    """Whatever else there is to tell them apart by (a hash, the order of a set) may differ from process to process."""
    task = Task(" ".join(f"Berth {n} is free." for n in range(20)), Rate(0.5))
    parts = layout(task)
    (span,) = keep(parts, [1.0] * len(parts.units)).spans
    assert span[0] == 0
