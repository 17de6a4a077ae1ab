"""Tables of a configuration read into shapes, with every complaint."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from policies.tables import Complaint, allowed, described, keys, read, unknown


class Shape(Struct):
    name: Annotated[str, Meta(description="what it is called")]
    share: Annotated[Annotated[float, Meta(gt=0, le=1, title="a share")] | None, Meta(description="how much")] = None
    size: int = 3
    mode: Literal["on", "off"] = "on"
    parts: list[Literal["a", "b"]] = []


def complaints_of(table: object) -> list[Complaint]:
    found: list[Complaint] = []
    read(Shape, table, ("here",), found)
    return found


def test_a_good_table_becomes_its_shape() -> None:
    found: list[Complaint] = []
    assert read(Shape, {"name": "x", "share": 1, "parts": ["a"]}, (), found) == Shape("x", 1.0, 3, "on", ["a"])
    assert found == []


def test_everything_wrong_is_told_at_once() -> None:
    found = complaints_of({"share": 2.5, "mode": "onn", "parts": ["c"], "sizes": 1})
    assert found == [
        Complaint(("here", "share"), "2.5 is out of place", "a share"),
        Complaint(("here", "mode"), "this string is out of place", '"on" or "off"'),
        Complaint(("here", "parts"), "a list is out of place", 'a list of "a" or "b"'),
        Complaint(
            ("here", "sizes"), "no key is called 'sizes'; did you mean 'size'?", "mode, name, parts, share, size"
        ),
        Complaint(("here", "name"), "is missing", "a string"),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, -1, True, "0.5", [0.5]])
def test_odd_numbers_are_refused(value: object) -> None:
    assert [c.path for c in complaints_of({"name": "x", "share": value})] == [("here", "share")]


def test_what_is_wrong_leaves_its_default_and_the_rest() -> None:
    assert read(Shape, {"name": "x", "size": "big", "mode": "off"}, (), []) == Shape("x", None, 3, "off")
    assert read(Shape, {"name": 1}, (), []) is None


def test_no_complaint_quotes_a_string() -> None:
    """A key or a password may stand in the wrong place."""
    table = {"name": ["secret-1"], "size": "secret-2", "mode": "secret-3", "parts": ["secret-4"]}
    assert len(complaints_of(table)) == 4
    assert "secret" not in str(complaints_of(table))
    assert "secret" not in str(complaints_of("secret"))


def test_what_is_no_table_is_told_with_what_a_table_would_hold() -> None:
    assert complaints_of("x") == [Complaint(("here",), "is not a table", "a table of name, share, size, mode, parts")]


def test_a_name_far_from_all_gets_no_suggestion() -> None:
    assert unknown((), "zzz", ["alpha", "beta"], "policy") == Complaint((), "no policy is called 'zzz'", "alpha, beta")


def test_types_say_what_they_are_for() -> None:
    name, share = Shape.__annotations__["name"], Shape.__annotations__["share"]
    assert (described(name), described(share), described(int)) == ("what it is called", "how much", "")
    assert (allowed(int), allowed(bool), allowed(share)) == ("a whole number", "true or false", "a share")
    assert keys(Shape) == ["name", "share", "size", "mode", "parts"]
