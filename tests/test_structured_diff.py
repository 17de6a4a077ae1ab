"""Diffs: hunks and files go whole, and what is left can still be applied."""

import subprocess
from pathlib import Path

from compressors import Rate, Task
from compressors.spans import join
from compressors.structured import Structured, layout


def shorten(text: str, rate: float, question: str = "") -> str:
    return join(text, Structured().compress([Task(text, Rate(rate), question)])[0].spans)


def hunk(n: int) -> str:
    old = n * 10
    head = f"@@ -{old + 1},3 +{old + 1},4 @@ def part_{n}():\n"
    return head + f" line {old}\n-line {old + 1}\n+new {n}\n+and {n}\n line {old + 2}\n"


def file(name: str, hunks: range) -> str:
    return f"diff --git a/{name} b/{name}\nindex 12ab..34cd 100644\n--- a/{name}\n+++ b/{name}\n" + "".join(
        map(hunk, hunks)
    )


MESSAGE = "commit 0123456789abcdef\nAuthor: Ida\n\n    Belts: stop in time\n\n belt.py | 12 ++--\n\n"
DIFF = MESSAGE + file("belt.py", range(8)) + file("package-lock.json", range(8)) + file("crate.py", range(8))


def test_hunks_stay_whole_under_the_header_of_their_file() -> None:
    kept = shorten(DIFF, 0.4, "What changed in crate.py, part_6?")
    assert kept.startswith(MESSAGE)
    files = kept.removeprefix(MESSAGE).split("diff --git ")[1:]
    assert any(part.startswith("a/crate.py") and hunk(6) in part for part in files)
    for part in files:
        name = part[2 : part.index(" ")]
        head = file(name, range(0)).removeprefix("diff --git ")
        assert part == head + "".join(hunk(n) for n in range(8) if hunk(n) in part)
        assert part != head


def test_generated_files_go_first() -> None:
    assert "lock.json" not in shorten(DIFF, 0.6)


def test_nothing_is_free() -> None:
    text = DIFF.replace(" line 11\n", " line 11  \n")
    assert shorten(text, 1) == text


def test_what_is_left_of_a_diff_still_applies(tmp_path: Path) -> None:
    old = "".join(f"line {n}\n" for n in range(80))
    for name in ("belt.py", "crate.py", "package-lock.json"):
        (tmp_path / name).write_text(old)
    kept = shorten(DIFF, 0.3, "part_3 in belt.py")
    subprocess.run(["git", "apply", "--recount", "-"], input=kept, cwd=tmp_path, text=True, check=True)
    assert "new 3\n" in (tmp_path / "belt.py").read_text()


def test_plain_diffs_and_dashes_inside_hunks() -> None:
    text = "--- old.sql\n+++ new.sql\n@@ -1,2 +1,2 @@\n--- a comment\n+++ b\n same\n" + hunk(3)
    units = layout(text).units
    assert [text[unit.start : unit.start + 3] for unit in units] == ["---", "@@ ", "@@ "]


def test_a_hunk_that_is_not_as_long_as_it_says_leaves_the_text_alone() -> None:
    assert not layout(DIFF.replace(" line 10\n", "stray\n", 1)).units


def test_the_last_hunk_may_be_cut_off() -> None:
    assert layout(DIFF[:-20]).units
