"""The coarse stage of LLMLingua and LongLLMLingua: whole documents, best first, until a budget is spent."""

import re
from collections.abc import Collection, Sequence

_ROOM = re.compile(r"([+*])(\d+(?:\.\d+)?)")


def room(rule: str, target: float) -> float:
    """What the documents that stay may cost, given what shall be left of them in the end.

    `rule`: "+100" for so many tokens more, "*1.5" for so many times as much. Raises `ValueError` for anything else.
    """
    found = _ROOM.fullmatch(rule)
    if not found:
        raise ValueError(f'a context budget is written "+100" or "*1.5", not {rule!r}')
    amount = float(found[2])
    return target + amount if found[1] == "+" else target * amount


def take(order: Sequence[int], costs: Sequence[float], budget: float, forced: Collection[int] = ()) -> list[int]:
    """The documents that stay: forced ones first, then in `order` (best first) up to and with the one that goes over
    the budget. Forced documents cost something only when their turn comes."""
    taken = dict.fromkeys(forced)
    for i in order:
        budget -= costs[i]
        taken[i] = None
        if budget < 0:
            break
    return list(taken)


def slants(count: int, slope: float) -> list[float]:
    """What is added to the rate of each of `count` documents, best first: from +slope down to -slope, in even steps.

    LongLLMLingua's dynamic compression ratio, as its code has it.
    """
    if count < 2 or slope <= 0:
        return [0.0] * count
    return [slope * (count - 1 - 2 * i) / (count - 1) for i in range(count)]
