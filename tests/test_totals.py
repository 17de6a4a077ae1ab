"""`/metrics` of several processes: sums that never go back."""

import threading
from pathlib import Path

import pytest

from proxy.config import load
from proxy.meters import telemetry
from proxy.workers.totals import Totals, add_up

KIND = "text/plain"


class Counting:
    """Counters of one process."""

    def __init__(self) -> None:
        settings = load(None, {}, {})
        self.told = telemetry({}, lambda: settings)
        meter = self.told.provider.get_meter("test")
        self.asked = meter.create_counter("laconic.asked")
        self.took = meter.create_histogram("laconic.took", "s")
        self.size = meter.create_gauge("laconic.size", "By")
        self.level = meter.create_gauge("laconic.guard.level", "{level}")

    def text(self) -> bytes:
        return self.told.render_metrics()[0]

    def render(self) -> tuple[bytes, str]:
        return self.text(), KIND


def value(text: bytes, name: str) -> float:
    (line,) = [
        line for line in text.decode().splitlines() if line.startswith(f"{name} ") or line.startswith(name + "{")
    ]
    return float(line.rpartition(" ")[2])


def test_one_process_alone_says_what_it_would_say() -> None:
    one = Counting()
    one.asked.add(3, {"a": 'q"\\\n', "b": "é"})
    one.took.record(0.25, {"a": "1"})
    one.size.set(1e9)
    assert add_up(one.text().decode()) == one.text()


def test_counters_add_up_and_gauges_of_what_is_shared_do_not(tmp_path: Path) -> None:
    all_of_them = [Counting() for _ in range(3)]
    totals = [Totals(tmp_path, f"{n}-1", one.render) for n, one in enumerate(all_of_them)]
    for n, one in enumerate(all_of_them, 1):
        one.asked.add(n)
        one.took.record(n)
        one.size.set(10 * n)
        one.level.set(2)
    for total in totals:
        text, kind = total.render()
        assert kind == KIND
        assert value(text, "laconic_asked_total") == 6
        assert value(text, "laconic_took_seconds_sum") == 6
        assert value(text, 'laconic_took_seconds_bucket{le="+Inf"}') == 3
        assert value(text, "laconic_size_bytes") == 60
        assert value(text, "laconic_guard_level") == 2


def test_what_a_dead_process_has_shown_still_counts_and_its_gauges_do_not(tmp_path: Path) -> None:
    one, dead, new = Counting(), Counting(), Counting()
    asked, died = Totals(tmp_path, "0-1", one.render), Totals(tmp_path, "1-2", dead.render)
    dead.asked.add(5)
    dead.size.set(50)
    one.size.set(1)
    text, _ = asked.render()
    assert (value(text, "laconic_asked_total"), value(text, "laconic_size_bytes")) == (5, 51)
    died.close()
    dead.asked.add(100)  # never shown
    new.asked.add(1)
    Totals(tmp_path, "1-3", new.render)
    text, _ = asked.render()
    assert (value(text, "laconic_asked_total"), value(text, "laconic_size_bytes")) == (6, 1)


def test_a_process_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.workers.totals.PATIENCE_SECONDS", 0.1)
    one, other, go_on = Counting(), Counting(), threading.Event()
    other.asked.add(4)

    def stuck() -> tuple[bytes, str]:
        go_on.wait(10)
        return other.render()

    asked = Totals(tmp_path, "0-1", one.render)
    Totals(tmp_path, "1-1", stuck)
    one.asked.add(1)
    assert value(asked.render()[0], "laconic_asked_total") == 1
    go_on.set()
    while value(asked.render()[0], "laconic_asked_total") != 5:
        pass


def test_without_the_folder_it_says_what_it_knows(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    one = Counting()
    one.asked.add(1)
    total = Totals(folder, "0-1", one.render)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert total.render()[0] == one.text()
