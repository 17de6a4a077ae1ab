"""Answers that `laconic tune` buys: what each costs, and what is kept of it."""

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from layouts import user
from provider import Act, Provider, whole

from proxy.tune.asking import Asker, BudgetSpent, asking


def asks(url: str, file: Path, budget: float = 1.0) -> AbstractContextManager[Asker]:
    return asking(url, None, budget, {}, file)


BODY = json.dumps({"model": "gpt-4o", "messages": [user("hi")], "max_tokens": 10}).encode()


def test_an_answer_that_gets_lost_on_its_way_is_reckoned_with_and_not_asked_for_again(
    fake: Provider, tmp_path: Path
) -> None:
    fake.script(Act.CLOSE)
    with asks(fake.url, tmp_path / "a.jsonl") as asker:
        assert asker.answers([(BODY, 0)]) == [None]
        assert asker.spent == pytest.approx((len(BODY) / 3 * 2.5 + 10 * 10) / 1e6)
        assert len(fake.requests) == 1
        asker.budget = asker.spent * 1.5
        with pytest.raises(BudgetSpent):
            asker.answers([(BODY, 0)])


def test_where_nothing_was_asked_no_file_of_answers_stays(fake: Provider, tmp_path: Path) -> None:
    with asks(fake.url, tmp_path / "a.jsonl", 1e-9) as asker, pytest.raises(BudgetSpent):
        asker.answers([(BODY, 0)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "tokens"),
    [
        ({}, 1000),
        ({"max_tokens": "100"}, 1000),
        ({"max_tokens": 100.5}, 101),
        ({"max_tokens": -3, "n": "x"}, 1000),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5),
    ],
)
def test_what_an_answer_may_cost_is_known_whatever_stands_in_the_limits(
    limits: dict[str, object], tokens: int, fake: Provider, tmp_path: Path
) -> None:
    raw = json.dumps({"model": "gpt-4o", "messages": [user("hi")], **limits}).encode()
    fake.script(whole(json.dumps({"choices": []}).encode()))
    with asks(fake.url, tmp_path / "a.jsonl") as asker:
        assert asker.answers([(raw, 0)]) == [None]
        assert asker.spent == pytest.approx((len(raw) / 3 * 2.5 + tokens * 10) / 1e6)
