"""What the `x-laconic` header of one request makes of its policy.

`off` sends the body as it came, `audit` measures only, a number from 0 to 1 keeps at least that share. A caller can
ask for less compression, never for more. What is not understood counts as `off`: no request breaks on it.
"""

import re
from collections.abc import Sequence

from policies.base import Mode, Policy
from policies.presets import audited, lowered
from proxy.asgi import Header
from proxy.savings import Measured, Outcome

SHARE = re.compile(rb"0|1|0?\.\d+|1\.0+")


def asked(headers: Sequence[Header]) -> bytes | None:
    """The value of `x-laconic`, None where it is not given. Several are joined, which nobody understands."""
    values = [value.strip().lower() for name, value in headers if name == b"x-laconic"]
    return b",".join(values) if values else None


def gentler(one: bytes | None, other: bytes) -> bytes:
    """Of two wishes, the one that compresses less."""
    return max(b"0" if one is None else one, other, key=_gentleness)


def _gentleness(wish: bytes) -> float:
    """What nobody understands counts as `off`."""
    if wish == b"audit":
        return 2
    return float(wish) if SHARE.fullmatch(wish) else 3


def choose(policy: Policy | None, wish: bytes | None) -> Policy | Measured:
    """The policy to follow, or the record of why none is. `policy` None: the one that the route names is missing."""
    if wish == b"off":
        return Measured(Outcome.BYPASSED, "x-laconic: off")
    if wish is not None and wish != b"audit" and not SHARE.fullmatch(wish):
        return Measured(Outcome.BYPASSED, "x-laconic is neither off, audit nor a number from 0 to 1")
    if policy is None:
        return Measured(Outcome.FAILED_OPEN, "the policy of the route is missing")
    if policy.mode is Mode.OFF:
        return Measured(Outcome.BYPASSED, "policy is off")
    if wish == b"audit":
        return audited(policy)
    floor = float(wish or 0)
    return lowered(policy, floor) if floor > 0 else policy
