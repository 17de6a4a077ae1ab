"""Which conversations are sent as they come, so that the others can be measured against them.

A conversation is known by its beginning: who calls, the instructions, the first message of the user. The draw is a hash
of that, so it is the same in every worker, after every restart and for every later turn: a conversation that changed
sides would lose the provider's cache. Nobody chooses, so what the two arms cost differs by chance and by compression.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b

from proxy.savings import Measured
from proxy.wire import ChatRequest

BYPASS, TREATED = "bypass", "treated"
_INSTRUCTIONS = frozenset(("system", "developer"))


def assigned(measured: Measured, request: ChatRequest, tenant: bytes, share: float) -> Measured:
    """`measured`, told its arm and its conversation. `share` of all conversations go to the bypass arm; with none, no
    trial is held. What was meant to be shortened is treated, whatever came of it: to leave out what could not be
    shortened would compare different requests."""
    if not share:
        return measured
    conversation = digest(request, tenant)
    bypassed = int.from_bytes(conversation[:8]) < share * 2**64
    return replace(measured, arm=BYPASS if bypassed else TREATED, conversation=conversation)


def digest(request: ChatRequest, tenant: bytes) -> bytes:
    """16 bytes that all turns of a conversation share, not keyed: not to be kept as they are."""
    total = blake2b(digest_size=16, person=b"laconic trial")
    for part in (tenant, *_beginning(request)):
        total.update(b"%d:" % len(part))
        total.update(part)
    return total.digest()


def _beginning(request: ChatRequest) -> Iterator[bytes]:
    """Instructions up to the first message of the user, and that one. Later turns leave it as it is."""
    for message in request.messages:
        if message.role in _INSTRUCTIONS or message.role == "user":
            yield message.role.encode("utf-8", "surrogatepass")
            for field in message.fields:
                yield request.fields[field].text.encode("utf-8", "surrogatepass")
        if message.role == "user":
            return
