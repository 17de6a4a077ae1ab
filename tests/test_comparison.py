"""The two arms as the ledger has them: by conversation, with what is unknown counted and not added."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from proxy.arm import BYPASS, TREATED
from proxy.comparison import strata
from proxy.ledger import open_ledger, read_only
from proxy.savings import Bill, Measured, Money, Outcome, Savings, Usage
from proxy.summaries import summarise

EVER = {"since": 0.0, "until": float("inf")}


def told(
    arm: str, conversation: int, usd: float | None = 0.5, tokens: int | None = 1000, compressor: float | None = 0.25
) -> Savings:
    measured = Measured(
        Outcome.COMPRESSED if arm == TREATED else Outcome.AUDITED,
        model="gpt-4o",
        tokens_before=tokens,
        tokens_after=tokens,
        arm=arm,
        conversation=conversation.to_bytes(16) if arm else b"",
    )
    bill = Bill() if usd is None else Bill(usd, 0.0, 0.0, 0.0)
    money = Money(0.0, 0.0, compressor, bill)
    return Savings("id", 1e9, "rag", "balanced", "openai", False, measured, 200, Usage(100, 10, 0), money)


def ledger(path: Path, *records: Savings) -> Path:
    kept = open_ledger(path)
    for record in records:
        kept.record(record)
    kept.close()
    return path


def test_requests_of_a_conversation_are_one_row_and_only_the_treated_pay_for_compressing(tmp_path: Path) -> None:
    path = ledger(
        tmp_path / "ledger",
        told(TREATED, 1),
        told(TREATED, 1, tokens=3000),
        told(TREATED, 2, compressor=None),
        told(BYPASS, 3),
        told("", 0),
    )
    with closing(read_only(path)) as connection:
        found = strata(connection, "'all'", EVER)
    assert list(found) == [("all", "rag", "gpt-4o")]
    it = found["all", "rag", "gpt-4o"]
    assert sorted(it.treated.totals.tolist()) == [[1, 1000, 0.5, 10], [2, 4000, 1.5, 20]]
    assert it.bypass.totals.tolist() == [[1, 1000, 0.5, 10]]


def test_requests_without_a_bill_or_a_size_are_counted_by_arm(tmp_path: Path) -> None:
    path = ledger(
        tmp_path / "ledger",
        told(TREATED, 1),
        told(TREATED, 1, usd=None),
        told(TREATED, 2, tokens=None),
        told(BYPASS, 3, tokens=0),
        told(BYPASS, 4, usd=None),
    )
    trial = summarise(path, "route").total.trial
    assert (trial.treated, trial.treated_unknown, trial.bypass, trial.bypass_unknown) == (1, 2, 0, 2)


def test_the_report_finds_what_was_put_into_the_ledger(tmp_path: Path) -> None:
    """400 conversations at two thirds of the price of 60 others: a third of that is saved, less what it took."""
    rng = np.random.default_rng(1)
    treated = [told(TREATED, n, usd=0.2 * rng.uniform(0.8, 1.2), compressor=0.01) for n in range(400)]
    bypass = [told(BYPASS, 1000 + n, usd=0.3 * rng.uniform(0.8, 1.2)) for n in range(60)]
    report = summarise(ledger(tmp_path / "ledger", *treated, *bypass), "model")
    (held,) = report.trials
    assert (held.route, held.model, held.trial) == ("rag", "gpt-4o", report.total.trial)
    assert report.groups[0].trial == held.trial
    cost = held.trial.cost
    assert cost.total is not None
    assert cost.change is not None
    assert -0.11 < cost.change.low < -0.09 < cost.change.high < -0.07
    assert cost.total.value == pytest.approx(400 * cost.change.value)
    assert held.trial.answer.change is not None
    assert held.trial.answer.change.value == pytest.approx(0)
