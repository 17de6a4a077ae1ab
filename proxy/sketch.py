"""A bounded table of small numbers under keyed digests, which the processes of a machine share and a restart keeps.

It holds what was decided about texts, and none of the texts. A digest is keyed with a secret of the table's own, so
that nobody can find out by guessing what has been seen. The table is a file of a fixed size that is mapped into memory:
buckets of eight slots, of which the one longest unused makes room. A slot is written in one piece; two processes that
write to one slot at once may lose one of the two entries, and nothing else.
"""

import logging
import mmap
import os
import secrets
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

SLOTS = 2**18
WAYS = 8
_MAGIC = b"LACONIC1"
_HEADER = struct.Struct("<8sI32s20x")  # magic, slots, secret
_SLOT = struct.Struct("<QIHH")  # tag (0: empty), seconds, two numbers
_TAG = struct.Struct("<Q")

log = logging.getLogger("laconic.sketch")


@dataclass(frozen=True, slots=True)
class Entry:
    """Two numbers below 65,536, and when they were last put there (Unix seconds)."""

    at: int
    one: int
    two: int = 0


class Sketch:
    """In `path`, or in this process's memory alone where there is none or the file is of no use, which is logged."""

    def __init__(self, path: Path | None = None, slots: int = SLOTS, now: Callable[[], float] = time.time) -> None:
        """`slots`: of a new table; a multiple of eight."""
        self._now = now
        self._map = (_mapped(path, slots) if path else None) or _anonymous(slots)
        _, self._slots, secret = _HEADER.unpack_from(self._map)
        self._secret: bytes = secret

    def digest(self, *parts: bytes) -> bytes:
        """A key for these parts, in this order."""
        total = blake2b(key=self._secret, digest_size=16)
        for part in parts:
            total.update(b"%d:" % len(part))
            total.update(part)
        return total.digest()

    def get(self, key: bytes) -> Entry | None:
        tag, places = self._places(key)
        for place in places:
            found, at, one, two = _SLOT.unpack_from(self._map, place)
            if found == tag:
                return Entry(at, one, two)
        return None

    def age(self, entry: Entry) -> float:
        """Seconds since it was put there."""
        return self._now() - entry.at

    def put(self, key: bytes, one: int, two: int = 0) -> None:
        """In the place of what was there, or of the entry of its bucket that is longest unused."""
        tag, places = self._places(key)
        slots = [(_SLOT.unpack_from(self._map, place), place) for place in places]
        same = [place for slot, place in slots if slot[0] == tag]
        place = same[0] if same else min(slots, key=lambda found: (found[0][0] != 0, found[0][1]))[1]
        self._map[place : place + _SLOT.size] = _SLOT.pack(tag, int(self._now()), one, two)

    def _places(self, key: bytes) -> tuple[int, range]:
        (tag,) = _TAG.unpack_from(key)
        (bucket,) = _TAG.unpack_from(key, 8)
        first = _HEADER.size + bucket % (self._slots // WAYS) * WAYS * _SLOT.size
        return tag or 1, range(first, first + WAYS * _SLOT.size, _SLOT.size)


def _header(slots: int) -> bytes:
    return _HEADER.pack(_MAGIC, slots, secrets.token_bytes(32))


def _size(slots: int) -> int:
    return _HEADER.size + slots * _SLOT.size


def _anonymous(slots: int) -> mmap.mmap:
    table = mmap.mmap(-1, _size(slots))
    table[: _HEADER.size] = _header(slots)
    return table


def _mapped(path: Path, slots: int) -> mmap.mmap | None:
    """None where the file cannot be used. A file that is not one of these tables is left as it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path, slots)
        with path.open("r+b") as file:
            table = mmap.mmap(file.fileno(), 0)
    except (OSError, ValueError) as error:
        log.warning("%s cannot be used, what was seen is forgotten at the end: %s", path, error)
        return None
    if len(table) >= _HEADER.size:
        magic, found, _ = _HEADER.unpack_from(table)
        if magic == _MAGIC and found and found % WAYS == 0 and len(table) == _size(found):
            return table
    table.close()
    log.warning("%s is not a table of what was seen and stays as it is; what was seen is forgotten at the end", path)
    return None


def _create(path: Path, slots: int) -> None:
    """Whole or not at all: another process may be making it just now, and then its table counts."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # readable by the owner only
    try:
        with os.fdopen(handle, "wb") as file:
            # All of it now: a page that finds no room on the disk later would end the process.
            file.write(_header(slots) + bytes(_size(slots) - _HEADER.size))
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(name)
