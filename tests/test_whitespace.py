"""What `whitespace` drops and what it must leave alone."""

import pytest

from compressors import Rate, Task
from compressors.spans import join
from compressors.whitespace import Whitespace


def shortened(text: str, protected: tuple[tuple[int, int], ...] = ()) -> str:
    return join(text, Whitespace().compress([Task(text, Rate(0.5), protected=protected)])[0].spans)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("One   two.    Three.", "One two. Three."),
        ("One.   \nTwo.\t \nThree.", "One.\nTwo.\nThree."),
        ("One   two.\n\n\n\n\nTwo.", "One two.\n\nTwo."),
        ("One.\n   \n \t \nTwo.", "One.\n\nTwo."),
        ("One.\r\n\r\n\r\n\r\nTwo.  \r\nThree.", "One.\r\n\nTwo.\r\nThree."),
        ("\n\n\n\n\n\nOne  two three.", "\n\nOne two three."),
        ("One two.\n\n\n\n   \n\n", "One two.\n\n"),
        (
            "    The rain fell all day long\n    and nobody went out.",
            "The rain fell all day long\nand nobody went out.",
        ),
        (
            "    The first line is indented\nand the others are not.",
            "The first line is indented\nand the others are not.",
        ),
        ("| name   | size   |\n|--------|\n| a      | 1      |", "| name | size |\n|--------|\n| a | 1 |"),
        ("今天   下雨。\n\n\n\n你呢？", "今天 下雨。\n\n你呢？"),
    ],
)
def test_idle_white_space_goes(before: str, after: str) -> None:
    assert shortened(before) == after


CODE = (
    'def area(r):\n    x   = r ** 2\n\n\n    return  (x * 3)\n\n\nclass A(B):\n    size   = 4   \n    name = "a    b"'
)


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{CODE}\n```",
        "~~~\nplain   words   in a fence   \n\n\n\nmore   words\n~~~",
        "```\nnever   closed\n\n\n\n  at   all",
        CODE,
        "server:\n  host:   localhost\n  ports:\n    - 80\n    - 443\n\n\nclient:\n  retries:   3",
        '{\n    "a":   1,\n    "b":  [1,   2]\n}',
        "diff --git a/x b/x\n@@ -1,2 +1,2 @@\n-old   words in it   \n+new   words in it\n \n\n\n other   words   ",
        "name\tsize\nalpha  beta\t12\ngamma\t  7",
        "NAME      READY   AGE\nworker    yes     3d\ndatabase  no      12h",
        "Call `a    b` exactly so.",
        "- one\n  - two and some more\n    - three and some more",
        "- an item of a list\n\n  The second paragraph of that same item is here.",
        "    return value if value is not None else default",
        "   \n \n\n  ",
    ],
)
def test_white_space_with_a_meaning_stays(text: str) -> None:
    assert shortened(text) == text


def test_indentation_stays_in_a_text_with_code_in_it() -> None:
    """A paragraph of prose between pieces of code may be a docstring."""
    text = f"{CODE}\n\n    This describes what the code around does.\n\n{CODE}"
    assert "\n    This describes" in shortened(text)


def test_prose_beside_a_fence_is_still_shortened() -> None:
    assert shortened(f"Look   here:\n\n\n\n```\n{CODE}\n```\n\n\n\nDone   now.") == (
        f"Look here:\n\n```\n{CODE}\n```\n\nDone now."
    )


def test_what_saves_no_token_is_not_done() -> None:
    """Five line breaks are one token, and so are two."""
    assert shortened("One.\n\n\n\n\nTwo.") == "One.\n\n\n\n\nTwo."


def test_protected_white_space_stays() -> None:
    assert shortened("One   two   three.", protected=((3, 6),)) == "One   two three."


@pytest.mark.parametrize(
    "text", [" " * 500_000, "a " * 200_000, "a  b\n" * 60_000, "\n \t" * 100_000, "```\n" * 50_000]
)
def test_hostile_repetition_stays_linear(text: str) -> None:
    assert len(shortened(text)) <= len(text)
