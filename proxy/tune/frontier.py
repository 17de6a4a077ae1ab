"""Which candidates are worth a look, and which one is taken."""

from collections.abc import Sequence

from proxy.tune.sweep import Tried


def frontier(tried: Sequence[Tried]) -> tuple[Tried, ...]:
    """Those that no other one beats both in net $ and in quality, by rising quality."""
    best: list[Tried] = []
    for one in sorted(tried, key=lambda t: (-t.saved.net, -t.quality)):
        if not best or one.quality > best[-1].quality:
            best.append(one)
    return tuple(best)


def choose(tried: Sequence[Tried], quality: float) -> Tried:
    """The one that saves most among those of at least this quality; `off`, which is among them, where none saves."""
    good = [one for one in tried if one.quality >= quality]
    return max(good, key=lambda t: (t.saved.net, t.quality))
