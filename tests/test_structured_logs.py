"""Logs, traces and test runs: errors stay, records go whole, of long traces the middle goes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import Rate, Task
from compressors.spans import join
from compressors.structured import Structured, layout


def shorten(text: str, rate: float, question: str = "") -> str:
    return join(text, Structured().compress([Task(text, Rate(rate), question)])[0].spans)


def line(n: int, level: str = "INFO", said: str = "") -> str:
    said = said or f"job {n} took {n * 7 % 50} ms"
    return f"2026-02-03 04:{n // 60:02}:{n % 60:02},123 {level:5} depot.worker: {said}\n"


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 199), min_size=1, max_size=10), st.sampled_from(["ERROR", "FATAL", "CRITICAL"]))
def test_error_lines_survive_at_a_fifth(errors: set[int], level: str) -> None:
    text = "".join(line(n, level if n in errors else "INFO") for n in range(200))
    kept = shorten(text, 0.2, "What is the usual duration of a job?")
    assert all(line(n, level) in kept for n in errors)
    assert len(kept) < 0.25 * len(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["INFO", "DEBUG", "WARN", "ERROR"]), min_size=6, max_size=80), st.floats(0.05, 0.95))
def test_no_line_is_ever_cut(levels: list[str], rate: float) -> None:
    lines = [line(n, level) for n, level in enumerate(levels)]
    assert set(shorten("".join(lines), rate).splitlines(keepends=True)) <= set(lines)


def test_a_repeated_line_is_not_free_but_goes_first() -> None:
    same = "2026-02-03 04:00:00,000 INFO  depot.worker: still waiting\n"
    text = "".join(same + line(n) for n in range(60))
    assert shorten(text, 1) == text
    kept = shorten(text, 0.5)
    assert kept.count(same) < 3
    assert kept.count("took") > 45


def test_only_trailing_blanks_and_extra_blank_lines_are_free() -> None:
    text = line(1) + "\n\n\n" + line(2)[:-1] + "   \n" + "".join(map(line, range(3, 9)))
    assert shorten(text, 1) == line(1) + "\n" + "".join(map(line, range(2, 9)))


def test_first_and_last_lines_and_those_around_an_error_outlast_the_rest() -> None:
    lines = [line(n, "ERROR" if n == 70 else "INFO", "pool exhausted" if n == 70 else "") for n in range(150)]
    kept = shorten("".join(lines), 0.15)
    assert all(lines[n] in kept for n in (0, 68, 69, 70, 71, 72, 147, 148, 149))


def frame(n: int, folder: str = "/srv/depot") -> str:
    return f'  File "{folder}/part_{n}.py", line {n}, in step_{n}\n    step_{n + 1}(order)\n    ~~~~~~^^^^^^^\n'


TRACE = "Traceback (most recent call last):\n" + "".join(map(frame, range(30))) + "depot.Jam: belt 4 stands still\n"


def test_a_python_trace_keeps_its_ends_and_whole_frames() -> None:
    kept = shorten(TRACE, 0.4)
    assert kept.startswith("Traceback (most recent call last):\n" + frame(0) + frame(1))
    assert kept.endswith(frame(27) + frame(28) + frame(29) + "depot.Jam: belt 4 stands still\n")
    inside = kept.removeprefix("Traceback (most recent call last):\n").removesuffix("depot.Jam: belt 4 stands still\n")
    assert inside == "".join(frame(n) for n in range(30) if frame(n) in inside)


def test_library_frames_go_before_those_of_the_application() -> None:
    frames = [frame(n, "/usr/lib/python3/site-packages/http" if n % 2 else "/srv/depot") for n in range(20)]
    kept = shorten("Traceback (most recent call last):\n" + "".join(frames) + "OSError: gone\n", 0.65)
    assert sum(f in kept for f in frames[2:17:2]) > sum(f in kept for f in frames[3:17:2])


JAVA = (
    'Exception in thread "main" java.lang.IllegalStateException: belt\n'
    + "".join(f"\tat org.depot.Part{n}.step(Part{n}.java:{n})\n" for n in range(20))
    + "Caused by: java.io.IOException: gone\n"
    + "".join(f"\tat org.depot.Disk{n}.read(Disk{n}.java:{n})\n" for n in range(20))
    + "\t... 12 more\n"
)
GO = "panic: belt\n\ngoroutine 1 [running]:\n" + "".join(
    f"main.step{n}(0xc0000{n:03})\n\t/srv/depot/part.go:{n} +0x1d\n" for n in range(20)
)
NODE = "TypeError: x is not a function\n" + "".join(f"    at step{n} (/srv/depot/part.js:{n}:3)\n" for n in range(20))


@pytest.mark.parametrize(
    ("trace", "heads"),
    [
        (JAVA, ["java.lang.IllegalStateException", "Caused by", "Part0.", "Part19.", "Disk0.", "Disk19.", "12 more"]),
        (GO, ["panic: belt", "main.step0(", "main.step19("]),
        (NODE, ["TypeError", "step0 ", "step19 "]),
    ],
    ids=["java", "go", "node"],
)
def test_traces_of_other_languages(trace: str, heads: list[str]) -> None:
    kept = shorten(trace, 0.4)
    assert len(kept) < 0.6 * len(trace)
    assert all(head in kept for head in heads)


def test_a_trace_inside_a_log_belongs_to_its_record() -> None:
    text = "".join(map(line, range(60))) + line(60, "ERROR", "job failed") + TRACE + "".join(map(line, range(61, 120)))
    kept = shorten(text, 0.3)
    assert line(60, "ERROR", "job failed") + "Traceback (most recent call last):\n" + frame(0) in kept
    assert frame(29) + "depot.Jam: belt 4 stands still\n" in kept


def test_failed_tests_and_the_summary_outlast_passed_ones() -> None:
    passed = "".join(f"tests/test_belt.py::test_case_{n} PASSED [{n}%]\n" for n in range(100))
    text = (
        "============================= test session starts ==============================\n"
        f"{passed}tests/test_belt.py::test_stop FAILED [100%]\n"
        "=================================== FAILURES ===================================\n"
        "    def test_stop():\n>       assert belt.stop() is True\nE       assert None is True\n"
        "tests/test_belt.py:41: AssertionError\n"
        "=========================== short test summary info ============================\n"
        "FAILED tests/test_belt.py::test_stop - assert None is True\n"
        "======================== 1 failed, 100 passed in 2.13s =========================\n"
    )
    kept = shorten(text, 0.2)
    for wanted in ("test_stop FAILED", "E       assert None is True", "FAILED tests/", "1 failed, 100 passed"):
        assert wanted in kept


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'10.0.0.{n} - - [03/Feb/2026:04:05:{n:02} +0000] "GET /a/{n} HTTP/1.1" 200 17\n' for n in range(40)),
        "".join(f"Feb  3 04:05:{n:02} depot kernel: belt {n}\n" for n in range(40)),
        "".join(f"web-1  | INFO served {n}\n" for n in range(40)),
        "".join(f"I0203 04:05:{n:02}.000 1 belt.go:12] moved {n}\n" for n in range(40)),
        "".join(f"{n:07x} Belt: step {n}\n" for n in range(40)),
        "".join(f"src/belt/part_{n}.py\n" for n in range(40)),
        "".join(f"test_{n} (tests.Belt.test_{n}) ... ok\n" for n in range(40)),
    ],
    ids=["access log", "syslog", "compose", "klog", "git log", "paths", "unittest"],
)
def test_one_record_a_line_in_many_dialects(text: str) -> None:
    assert len(layout(text).units) == 40
