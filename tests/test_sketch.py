"""The table of what was decided: bounded, shared, kept over a restart, and without a word of any text."""

import logging
import stat
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest

from proxy.sketch import Sketch


def keys(sketch: Sketch, count: int, start: int = 0) -> list[bytes]:
    return [sketch.digest(b"key", str(n).encode()) for n in range(start, start + count)]


def test_what_was_put_is_found_and_nothing_else() -> None:
    sketch = Sketch(slots=64)
    one, other = keys(sketch, 2)
    sketch.put(one, 1, 65_535)
    found = sketch.get(one)
    assert found is not None
    assert (found.one, found.two) == (1, 65_535)
    assert sketch.get(other) is None
    sketch.put(one, 2)
    assert (again := sketch.get(one)) is not None
    assert (again.one, again.two) == (2, 0)


def test_the_entry_that_is_longest_unused_makes_room() -> None:
    now = [100.0]
    sketch = Sketch(slots=8, now=lambda: now[0])
    first, *others, last = keys(sketch, 9)
    for key in (first, *others):
        sketch.put(key, 1)
        now[0] += 1
    sketch.put(first, 1)  # used again
    sketch.put(last, 1)
    assert sketch.get(first) is not None
    assert sketch.get(last) is not None
    assert [sketch.get(key) is None for key in others] == [True] + [False] * 6


def test_time_since_it_was_put() -> None:
    now = [100.0]
    sketch = Sketch(slots=8, now=lambda: now[0])
    (key,) = keys(sketch, 1)
    sketch.put(key, 1)
    now[0] += 30
    assert (found := sketch.get(key)) is not None
    assert sketch.age(found) == 30


def test_tables_of_their_own_have_secrets_of_their_own() -> None:
    assert Sketch(slots=8).digest(b"a") != Sketch(slots=8).digest(b"a")
    sketch = Sketch(slots=8)
    assert sketch.digest(b"a", b"bc") != sketch.digest(b"ab", b"c")


def test_a_file_is_kept_over_a_restart_and_shared(tmp_path: Path) -> None:
    path = tmp_path / "state" / "seen"
    one, other = Sketch(path, 64), Sketch(path, 64)
    (key,) = keys(one, 1)
    one.put(key, 7)
    for sketch in (other, Sketch(path, 8)):
        assert (found := sketch.get(key)) is not None
        assert found.one == 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 64 + 64 * 16


def fill(path: Path, start: int) -> None:
    sketch = Sketch(path, 8192)
    for key in keys(sketch, 200, start):
        sketch.put(key, start % 60_000)


def test_processes_that_start_together_use_one_file(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    workers = [get_context("spawn").Process(target=fill, args=(path, n * 1000)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sketch = Sketch(path)
    for n in range(3):
        found = [sketch.get(key) for key in keys(sketch, 200, n * 1000)]
        assert all(entry is not None and entry.one == n * 1000 for entry in found)
    assert [file.name for file in tmp_path.iterdir()] == ["seen"]


def foreign(path: Path) -> None:
    path.write_bytes(b"somebody else's notes " * 20)


def empty(path: Path) -> None:
    path.touch()


def cut(path: Path) -> None:
    Sketch(path, 64)
    path.write_bytes(path.read_bytes()[:-16])


def folder(path: Path) -> None:
    path.mkdir()


def test_without_a_file_processes_that_are_forked_share_it() -> None:
    sketch = Sketch(slots=64)
    (key,) = keys(sketch, 1)
    child = get_context("fork").Process(target=sketch.put, args=(key, 7))
    child.start()
    child.join()
    found = sketch.get(key)
    assert found is not None
    assert found.one == 7


@pytest.mark.parametrize("make", [foreign, empty, cut, folder])
def test_a_file_of_no_use_stays_as_it_is_and_memory_takes_its_place(
    make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "seen"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with caplog.at_level(logging.WARNING):
        sketch = Sketch(path, 64)
    (key,) = keys(sketch, 1)
    sketch.put(key, 1)
    assert sketch.get(key) is not None
    assert len(caplog.records) == 1
    assert "seen" in caplog.text
    assert before is None or path.read_bytes() == before
