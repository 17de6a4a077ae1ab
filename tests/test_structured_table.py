"""Tables: rows as the csv module reads them go whole, headers and rules stay, padding is free only between pipes."""

import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import Rate, Task
from compressors.spans import join
from compressors.structured import Structured, layout


def shorten(text: str, rate: float, question: str = "") -> str:
    return join(text, Structured().compress([Task(text, Rate(rate), question)])[0].spans)


CELLS = st.text(alphabet='ab,;"\n 1é', max_size=12).filter(lambda cell: not cell.startswith(" "))
RECORDS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=6, max_size=40)


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.sampled_from([0.7, 0.3]), st.sampled_from(["\r\n", "\n"]))
def test_rows_of_a_csv_survive_whole(records: list[tuple[str, str, str]], rate: float, line_end: str) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator=line_end).writerows([("first", "second", "third"), *records])
    before = list(csv.reader(io.StringIO(file.getvalue(), newline="")))
    after = list(csv.reader(io.StringIO(shorten(file.getvalue(), rate), newline="")))
    assert after[0] == before[0]
    rest = iter(before)
    assert all(row in rest for row in after)


def test_a_csv_loses_nothing_at_rate_one() -> None:
    text = "name,note,size\n" + "".join(f"a{n},two  blanks ,{n}\n" for n in range(20)) + "\n\n"
    assert shorten(text, 1) == text


def test_failed_rows_and_outliers_outlast_the_others() -> None:
    rows = [[f"job{n}", "done", str(30 + n % 7), "eu"] for n in range(80)]
    rows[11][1] = "failed: disk full"
    rows[37][2] = "86400"
    rows[59][3] = "us"
    text = "job,state,seconds,region\n" + "".join(",".join(row) + "\n" for row in rows)
    kept = shorten(text, 0.2)
    assert all(f"job{n}," in kept for n in (0, 11, 37, 59, 79))


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"Yes, it was number {n}.\n" for n in range(20)),
        "".join(f"{n},{n + 1}\n" for n in range(20)),
        "a,b,c\n" + "1,2,3\n1,2\n" * 10,
        "a,a,b\n" + "1,2,3\n" * 10,
    ],
    ids=["prose", "no header", "ragged", "same name twice"],
)
def test_lines_with_commas_are_no_table_unless_all_agree(text: str) -> None:
    assert not layout(text).units


def test_a_label_may_stand_above_a_csv() -> None:
    text = "Query returned 40 rows:\nid;town;size\n" + "".join(f"{n};Ulm;{n * n}\n" for n in range(40))
    assert shorten(text, 0.3).startswith("Query returned 40 rows:\nid;town;size\n0;Ulm;0\n")


MYSQL = "+----+--------+\n| id | town   |\n+----+--------+\n{}+----+--------+\n40 rows in set\n"


def test_pipe_tables_lose_padding_and_rows_but_no_frame() -> None:
    text = MYSQL.format("".join(f"| {n:2} | Ulm    |\n" for n in range(40)))
    kept = shorten(text, 1)
    assert "| 17 | Ulm |\n" in kept
    assert "| 7 | Ulm |\n" in kept
    few = shorten(text, 0.3, "id 17").splitlines()
    assert few[:3] == ["+----+--------+", "| id | town |", "+----+--------+"]
    assert "| 17 | Ulm |" in few
    assert few[-2:] == ["+----+--------+", "40 rows in set"]


def test_prose_around_a_markdown_table_stays() -> None:
    rows = "".join(f"| {n} | {n * n} |\n" for n in range(30))
    text = f"Squares, as you asked:\n\n| n | square |\n|--:|------:|\n{rows}\nThat is all.\n"
    kept = shorten(text, 0.4, "square of 25")
    assert kept.startswith("Squares, as you asked:\n\n| n | square |\n|--:|------:|\n| 0 | 0 |\n")
    assert "| 25 | 625 |\n" in kept
    assert kept.endswith("\nThat is all.\n")


def test_a_short_rule_in_prose_is_no_table() -> None:
    assert not layout("either a | b\n---\nor c | d\n").units


def test_aligned_columns_need_gutters_through_all_lines() -> None:
    random.seed(3)
    words = [" ".join(random.choices(["ab", "cde", "f", "ghij"], k=9)) for _ in range(30)]
    assert not layout("\n".join(words)).units
    pods = "NAME       READY   AGE\n" + "".join(f"pod-{n:<6} 1/1     {n}d\n" for n in range(30))
    kept = shorten(pods, 0.3, "pod-21")
    assert kept.startswith("NAME       READY   AGE\n")
    assert "pod-21     1/1     21d\n" in kept
