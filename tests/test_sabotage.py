"""The table of breaks fits the code: each can be made, and each test that is to catch it is there.

That they are caught takes minutes: `python tests/sabotage.py`.
"""

import re
from collections import Counter
from pathlib import Path

import pytest
from sabotage import Break, Sheet, read

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    return read()


def test_every_break_can_be_made_and_leaves_python(sheet: Sheet) -> None:
    for one in sheet.breaks:
        broken = one.broken((ROOT / one.file).read_text("utf-8"))
        assert one.old != one.new
        compile(broken, one.file, "exec")


def test_every_test_that_is_to_catch_one_is_there(sheet: Sheet) -> None:
    for one in sheet.breaks:
        assert one.tests, one.what
        for test in one.tests:
            file, _, name = test.partition("::")
            assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text("utf-8"), re.MULTILINE), test


def test_every_promise_is_broken_more_than_once(sheet: Sheet) -> None:
    assert sorted(sheet.promises) == list(range(1, 18))
    for number in sheet.promises:
        assert sum(one.promise == number for one in sheet.breaks) > 1, number


def test_the_document_counts_them_right(sheet: Sheet) -> None:
    rows = [re.split(r"(?<!\\)\|", line) for line in (ROOT / "docs/reliability.md").read_text("utf-8").splitlines()]
    told = {int(row[1]): int(row[5]) for row in rows if len(row) == 8 and row[1].strip().isdecimal()}
    assert told == Counter(one.promise for one in sheet.breaks)


def test_a_break_whose_old_text_is_gone_is_told() -> None:
    one = Break(1, "nothing", "a.py", "old", "new", ("t",))
    assert one.broken("an old text") == "an new text"
    for text in ("", "old old"):
        with pytest.raises(ValueError, match=r"a\.py: the old text of 'nothing' stands there . times, not once"):
            one.broken(text)
