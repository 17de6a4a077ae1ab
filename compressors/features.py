"""What the pruner knows of each sentence: pure arithmetic on lexical scores and on vectors that an encoder has made.

The encoder reads a passage under its heading, in windows, without the question; so its vectors may be kept and used
for every later question. A unit's vector is the mean of its tokens' (late chunking: each token has seen the whole
window; Günther et al., arXiv 2409.04701). Training and runtime both come through here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressors.base import Span
from compressors.lexical import Passage

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

WINDOW = 256
"""Word pieces of a window at most, heading and special tokens included."""
_HEADING = 48  # word pieces of a heading that are read
_NUMBER = re.compile(r"\s*[\[(]?\d{1,4}[\]).:]+\s+")  # "[3] " before a title


@dataclass(frozen=True, slots=True)
class Window:
    """A row for the encoder, special tokens included. `owners`: the unit of each token, -1 for one of none."""

    passage: int
    ids: list[int]
    owners: Ints


def windows(text: str, units: Sequence[Span], found: Sequence[Passage], tokenizer: Any) -> list[Window]:
    """The passages as rows, each with its heading before it; a long passage is cut between units, where it can be.

    `tokenizer`: of the library tokenizers, one that puts one token before a text and one behind it.
    """
    first, last = tokenizer.encode("").ids
    headings = [heading(passage) for passage in found]
    heads = [e.ids[:_HEADING] for e in tokenizer.encode_batch(headings, add_special_tokens=False)]
    bodies = [text[units[p.first][0] : units[p.last - 1][1]] for p in found]
    rows = []
    for n, body in enumerate(tokenizer.encode_batch(bodies, add_special_tokens=False)):
        passage, ids = found[n], body.ids
        starts = np.array([start for start, _ in units[passage.first : passage.last]]) - units[passage.first][0]
        at = np.array([start for start, _ in body.offsets], np.intp)
        owners = passage.first + np.searchsorted(starts, at, "right") - 1
        around = [-1] * (1 + len(heads[n]))
        for a, b in pairwise(_cuts(owners, WINDOW - 2 - len(heads[n]))):
            rows.append(Window(n, [first, *heads[n], *ids[a:b], last], np.array([*around, *owners[a:b], -1], np.intp)))
    return rows


def heading(passage: Passage) -> str:
    """What stands above a passage, without its number."""
    return _NUMBER.sub("", passage.heading.strip() + " ", count=1).strip()


def _cuts(owners: Ints, room: int) -> list[int]:
    cuts = [0]
    while len(owners) - cuts[-1] > room:
        end = cuts[-1] + room
        start = int(np.searchsorted(owners, owners[end]))  # of the unit that would be cut
        cuts.append(start if start > cuts[-1] else end)
    return [*cuts, len(owners)]
