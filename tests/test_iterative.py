"""Iterative pruning: each window is scored with the compressed form of what stands before it as its context."""

import numpy as np
import pytest
from tiny_models import tiny

from compressors import cancel
from compressors.base import Cancelled, Rate, Task, Tokens
from compressors.causal import CausalModel, Row, causal
from compressors.iterative import Flow, Pruning, margins, opening, prune
from compressors.spans import join
from compressors.tokenizers import counter

TEXT = "The ferry terminal opens in spring, as the surveyor wrote on page 12. Nobody 市议会 found the key 😀! " * 12


@pytest.fixture(params=["gpt2", "llama", "gpt2-512"])
def model(request: pytest.FixtureRequest) -> CausalModel:
    return causal(str(tiny(request.param)), "cpu")


def flow(model: CausalModel, text: str = TEXT, rate: float = 0.5, held: tuple[int, ...] = ()) -> Flow:
    encoded = model.encode(text)
    starts = np.array(encoded.units()[0])
    flags = np.zeros(len(starts), bool)
    flags[list(held)] = True
    return Flow(np.array(encoded.ids), starts, np.full(len(starts), rate), flags)


def plainly(model: CausalModel, given: Flow, pruning: Pruning) -> list[bool]:
    """The same without a cache: for each window a row of prefix, what was kept, and the window."""
    borders = [*given.starts.tolist(), len(given.ids)]
    kept: list[int] = []
    stays: list[bool] = []
    first = 0
    while first < len(given.starts):
        last = first + 1
        while last < len(given.starts) and borders[last + 1] - borders[first] <= pruning.window:
            last += 1
        ids = given.ids[borders[first] : borders[last]].tolist()

        def scored(prefix: tuple[int, ...], ids: list[int] = ids) -> list[float]:
            row = [*prefix, *kept, *ids]
            return [float(score) for score in model.surprises([Row(row, len(row) - len(ids))])[0]]

        scores = scored(pruning.prefix)
        if pruning.contrast is not None:
            scores = [a - b for a, b in zip(scored(pruning.contrast), scores, strict=True)]
        units = range(first, last)
        means = [np.mean(scores[borders[u] - borders[first] : borders[u + 1] - borders[first]]) for u in units]
        size = dict(zip(units, np.diff(borders[first : last + 1]).tolist(), strict=True))
        best: list[int] = []
        for u in sorted(units, key=lambda u: (-means[u - first], u)):  # while half of it is within the share
            if sum(size[b] for b in best) + size[u] / 2 < given.rates[u] * len(ids):
                best.append(u)
            else:
                break
        for u in units:
            stays.append(u in best)
            if u in best:
                kept.extend(given.ids[borders[u] : borders[u + 1]].tolist())
        first = last
    return stays


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize(("asked", "contrast"), [("", False), ("Who found the key?", False), ("Who did it?", True)])
def test_pruned_as_without_a_cache(kind: str, asked: str, contrast: bool) -> None:
    model = causal(str(tiny(kind)), "cpu")
    pruning = Pruning(60, opening(model, "Before. ", asked), opening(model, "Before. ") if contrast else None)
    given = flow(model)
    found = margins(model, given, pruning) > 0
    expected = np.array(plainly(model, given, pruning))
    assert (found == expected).mean() > 0.995  # one unit a window may lie on the line
    assert 0.4 < found.mean() < 0.6


def test_each_window_keeps_its_share(model: CausalModel) -> None:
    given = flow(model, rate=0.3)
    found = margins(model, given, Pruning(50, model.bos))
    for first in range(0, len(found) - 50, 50):
        assert 0.15 <= (found[first : first + 50] > 0).mean() <= 0.45
    assert (found[-20:] > 0).mean() < 0.9, "the end of the text is not pruned"


def test_shares_may_differ_within_a_window(model: CausalModel) -> None:
    given = flow(model)
    half = len(given.rates) // 2
    rates = np.r_[np.full(half, 0.9), np.full(len(given.rates) - half, 0.1)]
    found = margins(model, Flow(given.ids, given.starts, rates, given.held), Pruning(1000, model.bos)) > 0
    assert found[:half].mean() > 0.7
    assert found[half:].mean() < 0.3


def test_what_is_held_is_context_for_the_rest(model: CausalModel) -> None:
    """Held units stay in the prefix, so that others are scored after them."""
    ids = flow(model, rate=0.0)
    held = flow(model, rate=0.0, held=tuple(range(20)))
    pruning = Pruning(30, model.bos)
    a, b = margins(model, ids, pruning), margins(model, held, pruning)
    assert not np.allclose(a[40:60], b[40:60])


def test_a_text_longer_than_the_model_is_pruned_to_its_end() -> None:
    model = causal(str(tiny("gpt2-512")), "cpu")
    text = TEXT * 6
    given = flow(model, text, rate=0.8)
    assert len(given.ids) > 4 * model.longest
    found = margins(model, given, Pruning(200, opening(model, "x " * 3000, "Who?")))
    assert np.isfinite(found).all()
    assert (found > 0).mean() == pytest.approx(0.8, abs=0.05)  # of units, not of tokens
    task = Task(text, Rate(0.25))
    kept = prune(task, model, [((0, len(text)), 0.0)], Pruning(200, model.bos))
    count = counter(task.encoding).count
    assert count(join(text, kept.spans)) == pytest.approx(0.25 * count(text), rel=0.01)


def test_characters_of_several_tokens_stay_whole(model: CausalModel) -> None:
    text = "市议会批准了新的预算😀主席说👩‍🔬我们需要更多的资金来修理道路和学校é" * 3
    kept = prune(Task(text, Rate(0.5)), model, [((0, len(text)), 0.0)], Pruning(40, model.bos))
    assert kept.spans
    join(text, kept.spans).encode()  # half a surrogate pair would not encode


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_words_and_numbers_stay_whole_unless_tokens_are_asked_for(model: CausalModel, rate: float) -> None:
    text = "The ferry terminal wouldn't cost $1,240,500.75 at 19:30, as Lindqvist-Okafor observed. " * 6
    whole = set(text.replace(",", " ").replace(".", " ").split())
    task, stretches = Task(text, Rate(rate)), [((0, len(text)), 0.0)]
    cut = join(text, prune(task, model, stretches, Pruning(40, model.bos, unit="token")).spans)
    found = join(text, prune(task, model, stretches, Pruning(40, model.bos)).spans)
    assert set(found.replace(",", " ").replace(".", " ").split()) <= {*whole, "$"}
    assert not set(cut.replace(",", " ").replace(".", " ").split()) <= {*whole, "$"}


def test_a_word_without_end_is_cut(model: CausalModel) -> None:
    text = "a1b2" * 2000
    kept = join(text, prune(Task(text, Rate(0.5)), model, [((0, len(text)), 0.0)], Pruning(200, model.bos)).spans)
    assert 0.3 * len(text) < len(kept) < 0.7 * len(text)


def test_what_lies_outside_the_stretches_goes(model: CausalModel) -> None:
    text = "One two three. FOUR FIVE SIX. Seven eight nine ten eleven twelve."
    middle = text.index("FOUR"), text.index(" Seven")
    stretches = [((0, middle[0]), 0.0), ((middle[1], len(text)), 0.0)]
    kept = join(text, prune(Task(text, Tokens(8)), model, stretches, Pruning(40, model.bos)).spans)
    assert not any(word in kept for word in ("FOUR", "FIVE", "SIX"))
    at = text.index("FIVE")
    task = Task(text, Tokens(8), protected=((at, at + 4),))
    assert "FIVE" in join(text, prune(task, model, stretches, Pruning(40, model.bos)).spans)


def test_nobody_waits(model: CausalModel) -> None:
    with cancel.watched(lambda: False), pytest.raises(Cancelled):
        margins(model, flow(model), Pruning(50, model.bos))
