"""The targets of `fuzz/` hold for their seeds and for some hundred bytes near them; atheris tries millions."""

import random

import pytest
from targets import TARGETS

ROUNDS = 150


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_near_its_seeds(name: str) -> None:
    target, chance = TARGETS[name], random.Random(6)
    for seed in target.seeds:
        target.run(seed)
    for _ in range(ROUNDS):
        data = bytearray(chance.choice(target.seeds))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 2)] = bytes(chance.choices(range(256), k=chance.randint(0, 2)))
        target.run(bytes(data))


def test_every_target_can_be_run_by_name() -> None:
    from run import NAMES

    assert tuple(TARGETS) == NAMES
