"""A model that computes NaN (half-precision overflow, damaged weights) chooses nothing: the original goes upstream."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from layouts import LAYOUTS, body
from numpy.typing import NDArray

from compressors import CompressionError, Compressor
from compressors.classifier import Classifier, ClassifierSettings
from compressors.device import Device
from compressors.pruner import Pruner, PrunerSettings
from policies.presets import PRESETS
from policies.routes import Route
from proxy.pipeline import Pipeline
from proxy.savings import Outcome
from proxy.settings import Compression, Settings


class Overflowing:
    """A model, but for one number of each row once it is `damaged`."""

    damaged = False

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def run(self, rows: Sequence[Any]) -> list[NDArray[Any]]:
        found = [np.array(row, np.float32) for row in self._model.run(rows)]
        for row in found if self.damaged else ():
            row.flat[-1] = np.nan
        return found


def pruner() -> tuple[Compressor, Overflowing]:
    made = Pruner(PrunerSettings(device="cpu", cache_mb=3))  # settings that no other test has: a model of its own
    model = made._embedder._model = Overflowing(made._embedder._model)
    return made, model


def classifier() -> tuple[Compressor, Overflowing]:
    made = Classifier(ClassifierSettings(device="cpu", precision="fp32"))
    model = made._model._model = Overflowing(made._model._model)
    return made, model


@pytest.mark.parametrize(("make", "layout"), [(pruner, "labels"), (classifier, "long answers")])
def test_the_original_goes_upstream_and_the_reason_is_told(make: Any, layout: str) -> None:
    raw = body(LAYOUTS[layout])
    made, model = make()
    pipeline = Pipeline(Compression(30_000, bypass_share=0), lambda name: made)
    assert pipeline.settle(Settings({}, (Route("default", "", "aggressive"),), PRESETS)) == ()
    model.damaged = True
    prepared = asyncio.run(pipeline.prepare(raw, PRESETS["aggressive"]))
    pipeline.close()
    assert prepared.body == raw
    assert (prepared.measured.outcome, prepared.measured.reason) == (Outcome.FAILED_OPEN, "error: CompressionError")


class Some:
    """Gives the row's number, and NaN for 13."""

    budget, parallel, fill = 100, False, 0.0

    def run(self, rows: Sequence[int]) -> list[NDArray[Any]]:
        return [np.array([np.nan if row == 13 else row]) for row in rows]


def test_a_model_that_gives_nan_from_the_start_is_not_ready() -> None:
    made, model = pruner()
    model.damaged = True
    pipeline = Pipeline(Compression(), lambda name: made)
    (first, *_) = pipeline.settle(Settings({}, (Route("default", "", "aggressive"),), PRESETS))
    pipeline.close()
    assert first.endswith("the model gave NaN for a score")


def test_a_device_gives_no_nan_to_anybody() -> None:
    on, model = Device("x"), Some()
    with pytest.raises(CompressionError, match="NaN"):
        on.rows(model, [12, 13], [1, 1])
    assert [float(row[0]) for row in on.rows(model, [4, 5], [1, 1])] == [4, 5]
