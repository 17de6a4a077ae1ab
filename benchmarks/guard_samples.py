"""How many comparisons the quality guard needs until it steps down, and how often it does so for no reason.

Routes are simulated: three answers of which each two agree as drawn, the compressed one by so many points less. Prints
the tables of docs/guard.md: `python benchmarks/guard_samples.py`, a minute, no network.
"""

import random
from collections.abc import Callable

from proxy.guard.sequential import Evidence, expected_samples, observed

MARGIN, CONFIDENCE = 0.05, 0.95
ROUTES, LATE, MOST = 300, 40, 3000
Agree = Callable[[random.Random, float], float]


def words(chance: random.Random, effect: float) -> float:
    """Texts that share 60 % of their words, more or less."""
    return min(1.0, max(0.0, chance.gauss(0.6 - effect, 0.22)))


def calls(chance: random.Random, effect: float) -> float:
    """Tool calls or structured output, nine in ten the same."""
    return float(chance.random() < 0.9 - effect)


def steady(chance: random.Random, effect: float) -> float:
    """Temperature 0: originals are answered alike, and what changes is changed by the compression."""
    return float(chance.random() >= effect)


def draw(agree: Agree, chance: random.Random, effect: float) -> float:
    if agree is steady:
        return 1 - steady(chance, effect)
    return agree(chance, 0.0) - (agree(chance, effect) + agree(chance, effect)) / 2


def stopped(agree: Agree, effect: float, seed: int, most: int, good: int = 0) -> int | None:
    """Samples with the effect until the test rejects, after so many `good` ones without."""
    chance, evidence = random.Random(seed), Evidence()
    for _ in range(good):
        evidence = observed(evidence, draw(agree, chance, 0.0), MARGIN)
    for n in range(1, most + 1):
        evidence = observed(evidence, draw(agree, chance, effect), MARGIN)
        if evidence.rejects(CONFIDENCE):
            return n
    return None


def main() -> None:
    kinds = {"texts": words, "calls, JSON": calls, "temperature 0": steady}
    print("| points worse | answers | samples, mean | nine in ten within | expected at most |\n|--:|---|--:|--:|--:|")
    for points in (10, 15, 25, 50):
        for name, agree in kinds.items():
            found = sorted(stopped(agree, points / 100, seed, MOST) or MOST for seed in range(ROUTES))
            usual = [draw(agree, chance, points / 100) for chance in [random.Random(-1)] for _ in range(20_000)]
            bound = expected_samples(usual, MARGIN, CONFIDENCE)
            print(f"| {points} | {name} | {sum(found) / ROUTES:.0f} | {found[ROUTES * 9 // 10]} | {bound:.0f} |")
    print("\n| points worse | from the start | after 300 | after 3,000 | after 30,000 |\n|--:|--:|--:|--:|--:|")
    for points in (15, 25, 50):
        late = [
            sum(stopped(words, points / 100, seed, MOST, good) or MOST for seed in range(LATE)) / LATE
            for good in (0, 300, 3000, 30_000)
        ]
        print(f"| {points} |", " | ".join(f"{mean:.0f}" for mean in late), "|")
    for points in (0, 5):
        alarms = {
            name: sum(stopped(a, points / 100, s, 500) is not None for s in range(1000)) for name, a in kinds.items()
        }
        print(f"{points} points, 1,000 routes of 500 samples, stepped down:", alarms)


if __name__ == "__main__":
    main()
