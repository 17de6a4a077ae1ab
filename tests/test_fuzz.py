"""The targets of `fuzz/` hold for their seeds and for some hundred bytes near them; atheris tries millions."""

import random

import pytest
from targets import TARGETS, passed_on

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


def test_the_seeds_of_connections_are_requests_that_pass() -> None:
    """Else the target would hold for a proxy that refuses everything."""
    assert [len(passed_on(seed)) for seed in TARGETS["connection"].seeds] == [2, 1, 2]


def test_every_target_can_be_run_by_name() -> None:
    from run import NAMES

    assert tuple(TARGETS) == NAMES
