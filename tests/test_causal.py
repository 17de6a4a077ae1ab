"""Surprises of a causal language model: against the model run plainly, in any batch, in windows and in a chain."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny

from compressors import Unavailable, cancel
from compressors.base import Cancelled
from compressors.causal import CausalModel, Row, causal

TEXT = "Speaker 1: The ferry terminal costs $1,240,500, 18.75% over the plan! Who approved?\n\nNobody 市议会 did 😀. "


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> CausalModel:
    return causal(str(tiny(request.param)), "cpu")


def plain(model: CausalModel, ids: Sequence[int]) -> Any:
    """What the whole model says of ids[1:], without any of our machinery."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    net = transformers.AutoModelForCausalLM.from_pretrained(model.checkpoint.folder).eval()
    with torch.no_grad():
        logits = net(input_ids=torch.tensor([list(ids)])).logits[0].double()
    chosen = logits.log_softmax(-1)[:-1].gather(1, torch.tensor(list(ids[1:]))[:, None])[:, 0]
    return -chosen.numpy()


def row(model: CausalModel, text: str = TEXT) -> list[int]:
    return [*model.bos, *model.encode(text).ids]


def test_surprises_are_those_of_the_model(model: CausalModel) -> None:
    ids = row(model)
    (found,) = model.surprises([Row(ids)])
    np.testing.assert_allclose(found, plain(model, ids), atol=1e-4)


def test_only_what_is_asked_for_comes_back(model: CausalModel) -> None:
    ids = row(model)
    whole, tail, nothing = model.surprises([Row(ids), Row(ids, 20), Row(ids[:1])])
    np.testing.assert_allclose(tail, whole[19:], atol=1e-4)
    assert len(nothing) == 0


def test_a_batch_changes_nothing(model: CausalModel) -> None:
    ids = row(model) * 3
    rows = [Row(ids[:n], 1 + n % 7) for n in (150, 2, 31, 148, 30, 149, 31, 90, 9)]
    together = model.surprises(rows)
    for one, found in zip(rows, together, strict=True):
        assert len(found) == max(len(one.ids) - one.start, 0)
        np.testing.assert_allclose(found, model.surprises([one])[0], atol=1e-4)


def test_a_row_longer_than_the_model_reads_is_scored_to_its_end() -> None:
    model = causal(str(tiny("gpt2-512")), "cpu")
    ids = row(model, TEXT * 30)
    assert len(ids) > 3 * model.longest
    (found,) = model.surprises([Row(ids)])
    assert len(found) == len(ids) - 1
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[: model.longest - 1], plain(model, ids[: model.longest]), atol=1e-4)
    (tail,) = model.surprises([Row(ids, len(ids) - 5)])
    np.testing.assert_allclose(tail, plain(model, [*model.bos, *ids[-511:]])[-5:], atol=1e-4)


def test_a_chain_reads_on(model: CausalModel) -> None:
    ids = row(model)
    chain = model.chain()
    parts = [chain.extend(ids[:5]), chain.extend(ids[5:40]), chain.extend([]), chain.extend(ids[40:])]
    assert math.isnan(parts[0][0])
    np.testing.assert_allclose(np.concatenate(parts)[1:], plain(model, ids), atol=1e-4)
    assert len(chain) == len(ids)


def test_a_chain_cut_back_is_as_if_it_had_never_read_further(model: CausalModel) -> None:
    ids = row(model)
    chain = model.chain()
    chain.extend(ids[:30])
    chain.extend(ids[50:70])
    chain.crop(20)
    np.testing.assert_allclose(chain.extend(ids[20:], skip=3), plain(model, ids)[22:], atol=1e-4)
    chain.crop(0)
    assert len(chain) == 0
    np.testing.assert_allclose(chain.extend(ids)[1:], plain(model, ids), atol=1e-4)


def test_a_chain_says_when_it_is_full() -> None:
    chain = causal(str(tiny("gpt2-512")), "cpu").chain()
    chain.extend(range(500))
    with pytest.raises(ValueError, match="at most 512"):
        chain.extend(range(13))


def test_tokens_know_their_characters(model: CausalModel) -> None:
    text = "naïve 市议 😀 <|endoftext|> </s> <s> \ud800 end\n\n  x"
    encoded = model.encode(text)
    assert len(encoded.ids) == len(encoded.spans)
    assert not set(encoded.ids) & {*model.bos, model.checkpoint.config["eos_token_id"]}
    assert [start for start, _ in encoded.spans] == sorted(start for start, _ in encoded.spans)
    assert {i for span in encoded.spans for i in range(*span)} == set(range(len(text)))


def test_work_that_nobody_waits_for_ends(model: CausalModel) -> None:
    with cancel.watched(lambda: False), pytest.raises(Cancelled):
        model.surprises([Row(row(model))])


def test_what_cannot_be_loaded_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no causal language model"):
        causal(str(tiny("bert")), "cpu").warm_up()
    with pytest.raises(Unavailable, match="'int8' is not for this model"):
        causal(str(tiny("gpt2")), "cpu", "int8").warm_up()


def test_one_object_for_one_model() -> None:
    model = causal(str(tiny("gpt2")), "cpu")
    assert causal(str(tiny("gpt2")), "cpu") is model
    assert model.version != causal(str(tiny("gpt2")), "cpu", "bf16").version


def test_half_precision_says_about_the_same(model: CausalModel) -> None:
    half = causal(str(model.checkpoint.folder), "cpu", "bf16")
    (fine,), (coarse,) = (one.surprises([Row(row(model))]) for one in (model, half))
    assert 0 < np.abs(fine - coarse).mean() < 0.2
