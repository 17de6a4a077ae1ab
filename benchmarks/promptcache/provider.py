"""A provider's prompt cache, simulated: what is billed for a series of requests. Pure: no clock, no I/O.

A prompt is a row of tokens. The provider keeps prefixes of prompts that it has seen, for a while after their last use,
and sells them for less. Two kinds of rules:

* automatic (OpenAI): prefixes end at multiples of `block` tokens; one of fewer than `minimum` is not kept. Every whole
  block of a prompt that is not read is written.
* explicit (Anthropic): prefixes end where the caller put a mark. What lies before the last mark and is not read is
  written. A lookup goes back from each mark over at most 20 ends of content parts.

Caches are apart by model, organisation and `prompt_cache_key`. A prefix is there for the next request as soon as one
was sent, and one machine serves all: real caches hit less often.

Sources: the providers' guides on prompt caching; what tokens cost is in proxy/prices.toml.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import inf

import numpy as np
from numpy.typing import NDArray

from proxy.pricing import Price
from proxy.savings import Usage

LOOKBACK = 20  # content parts before a mark that are looked at

Tokens = NDArray[np.int32]
Where = tuple[str, str, str]
"""Model, organisation, prompt_cache_key."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`block` and `minimum` in tokens, `ttl`: seconds since the last use. `explicit`: only marked prefixes are kept."""

    block: int = 128
    minimum: int = 1024
    ttl: float = 600.0
    explicit: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """`ends`: how many tokens stand up to the end of each content part; `marks`: indexes of the parts that are marked.
    Both matter to explicit rules only."""

    tokens: Tokens
    ends: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()


class Provider:
    """Remembers prefixes by their digests. Requests must come in the order of their times."""

    def __init__(self, rules: Rules = Rules()) -> None:
        self.rules = rules
        self._used: dict[tuple[Where, bytes], float] = {}

    def ask(self, prompt: Prompt, at: float, where: Where = ("", "", "")) -> Usage:
        """What is billed for a prompt at `at` (seconds). `cached` and `cache_write` are among `input`; no output."""
        size = len(prompt.tokens)
        readable, writable = self._cuts(prompt, size)
        keys = {cut: (where, digest) for cut, digest in _digests(prompt.tokens, sorted(readable | writable)).items()}
        alive = {cut for cut in readable if at - self._used.get(keys[cut], -inf) <= self.rules.ttl}
        cached = max(alive, default=0)
        self._used |= dict.fromkeys((keys[cut] for cut in alive | writable), at)
        return Usage(size, 0, cached, max(0, max(writable, default=0) - cached))

    def _cuts(self, prompt: Prompt, size: int) -> tuple[set[int], set[int]]:
        """Lengths of the prefixes that may be read, and of those that are written."""
        rules = self.rules
        if not rules.explicit:
            whole = {n for n in range(rules.block, size + 1, rules.block) if n >= rules.minimum}
            return whole, whole
        marked = {prompt.ends[n] for n in prompt.marks if prompt.ends[n] >= rules.minimum}
        near = {prompt.ends[i] for n in prompt.marks for i in range(max(0, n - LOOKBACK), n + 1)}
        return {n for n in near if n >= rules.minimum}, marked


def _digests(tokens: Tokens, cuts: Sequence[int]) -> dict[int, bytes]:
    """The digest of each prefix; `cuts` in order."""
    running = blake2b(digest_size=16)
    raw = tokens.tobytes()
    found: dict[int, bytes] = {}
    at = 0
    for cut in cuts:
        running.update(raw[tokens.itemsize * at : tokens.itemsize * cut])
        found[cut] = running.digest()
        at = cut
    return found


def input_usd(usage: Usage, price: Price) -> float:
    """What the input costs, by the arithmetic that the ledger uses. Raises `ValueError` where that cannot be said."""
    cost = replace(price, output=0.0).cost(usage)
    if cost is None:
        raise ValueError("the usage does not say how many tokens were read from the cache")
    return cost
