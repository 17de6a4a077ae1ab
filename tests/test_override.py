"""A caller can ask for less compression, never for more, and no wish breaks a request."""

import pytest

from policies.base import Mode, Policy
from policies.presets import PRESETS, Adjusted
from proxy.override import asked, choose
from proxy.savings import Measured, Outcome

BALANCED = PRESETS["balanced"]


def test_without_a_wish_the_policy_of_the_route_holds() -> None:
    assert choose(BALANCED, None) is BALANCED


@pytest.mark.parametrize(
    ("policy", "wish", "outcome", "reason"),
    [
        (BALANCED, b"off", Outcome.BYPASSED, "x-laconic: off"),
        (None, b"off", Outcome.BYPASSED, "x-laconic: off"),  # even where the policy is broken
        (None, None, Outcome.FAILED_OPEN, "missing"),
        (None, b"0.5", Outcome.FAILED_OPEN, "missing"),
        (PRESETS["off"], None, Outcome.BYPASSED, "policy is off"),
        (PRESETS["off"], b"audit", Outcome.BYPASSED, "policy is off"),
        (PRESETS["off"], b"0.5", Outcome.BYPASSED, "policy is off"),
        *(
            (BALANCED, wish, Outcome.BYPASSED, "neither")
            for wish in (b"aggressive", b"", b"1.5", b"-0", b"nan", b"0.5,off")
        ),
    ],
)
def test_some_requests_are_left_alone_and_told_why(
    policy: Policy | None, wish: bytes | None, outcome: Outcome, reason: str
) -> None:
    chosen = choose(policy, wish)
    assert isinstance(chosen, Measured)
    assert chosen.outcome is outcome
    assert reason in chosen.reason


@pytest.mark.parametrize(("wish", "floor"), [(b"0.5", 0.5), (b".25", 0.25), (b"1", 1.0), (b"1.0", 1.0)])
def test_a_number_is_the_least_share_to_keep(wish: bytes, floor: float) -> None:
    chosen = choose(BALANCED, wish)
    assert isinstance(chosen, Adjusted)
    assert (chosen.floor, chosen.mode, chosen.name) == (floor, Mode.ON, "balanced")


def test_zero_asks_for_nothing() -> None:
    assert choose(BALANCED, b"0") is BALANCED


def test_audit_measures_only() -> None:
    chosen = choose(BALANCED, b"audit")
    assert not isinstance(chosen, Measured)
    assert chosen.mode is Mode.AUDIT


def test_the_header_is_read_in_any_case_and_twice_is_not_understood() -> None:
    assert asked([(b"x-laconic", b" OFF ")]) == b"off"
    assert asked([(b"x-laconic", b"off"), (b"x-laconic", b"0.5")]) == b"off,0.5"
    assert asked([(b"x-laconic-policy", b"off")]) is None
