"""What is watched of a process and its children, and which way it goes: Theil-Sen slopes with intervals."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WARM_UP = 0.25
"""The share of a soak in which caches fill and threads start: it is left out of slopes."""
MOST = 500
"""Samples that a slope is taken of; more are thinned, since every pair is looked at."""
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Sample:
    """`seconds` since the start; sums over a process and its children. `resident` in MB."""

    seconds: float
    resident: float
    descriptors: int
    threads: int
    processes: int


@dataclass(frozen=True, slots=True)
class Slope:
    """A change per hour, with its 95 % interval."""

    per_hour: float
    low: float
    high: float


def family(pid: int) -> list[int]:
    """A process and all below it, as far as they are still there."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        try:
            tasks = [task / "children" for task in Path(f"/proc/{one}/task").iterdir()]
            waiting += [int(child) for task in tasks for child in task.read_text().split()]
        except OSError:
            continue
        found.append(one)
    return found


def sample(pid: int, seconds: float) -> Sample:
    """Now. Processes that end meanwhile are left out."""
    resident, descriptors, threads, processes = 0.0, 0, 0, 0
    for one in family(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
            descriptors += len(os.listdir(f"/proc/{one}/fd"))
            resident += int(status.partition("VmRSS:")[2].split()[0]) / 1024
            threads += int(status.partition("Threads:")[2].split()[0])
        except (OSError, IndexError):
            continue
        processes += 1
    return Sample(seconds, resident, descriptors, threads, processes)


def slope(seconds: Sequence[float], values: Sequence[float]) -> Slope | None:
    """The median slope of all pairs (Theil 1950; the interval: Sen 1968, through Kendall's variance). None for fewer
    than ten samples. Neighbouring samples resemble each other, so the interval is rather too narrow."""
    if len(seconds) < 10:
        return None
    step = -(-len(seconds) // MOST)
    x, y = np.asarray(seconds, float)[::step] / 3600, np.asarray(values, float)[::step]
    i, j = np.triu_indices(len(x), 1)
    slopes = np.sort((y[j] - y[i]) / (x[j] - x[i]))
    n = len(x)
    spread = NORMAL_95 * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low, high = int((len(slopes) - spread) / 2), int((len(slopes) + spread) / 2) + 1
    return Slope(float(np.median(slopes)), float(slopes[max(low, 0)]), float(slopes[min(high, len(slopes) - 1)]))


def slopes(samples: Sequence[Sample]) -> dict[str, Slope]:
    """Of what was watched, without the warm-up."""
    if not samples:
        return {}
    rest = [s for s in samples if s.seconds >= samples[-1].seconds * WARM_UP]
    times = [s.seconds for s in rest]
    found = {name: slope(times, [getattr(s, name) for s in rest]) for name in ("resident", "descriptors", "threads")}
    return {name: it for name, it in found.items() if it is not None}
