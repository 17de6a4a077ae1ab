"""Which paragraphs of an open section belong to the template, not to the material that its label announces."""

import re
from dataclasses import dataclass

from policies.base import Kind
from proxy.segmentation import sentences, series, shapes
from proxy.segmentation.documents import BULK

_LISTED = re.compile(r"(?:[-*•+]|\d{1,2}[.)])\s")
_WHOLE = 1200  # characters of a paragraph from which a "you" or "must" says little

Blocks = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Template:
    """`role`: of the message; `persona`: whom a system text gives its rules, empty where nobody is named."""

    text: str
    role: str
    persona: str = ""

    def kinds(self, found: Blocks, kind: Kind) -> list[Kind | None]:
        """`kind_of` each block of a section of this kind; outside of system texts only the edges are looked at, for
        they decide."""
        if self.role == "system":
            run = series.members([self.text[c:d] for c, d in found], BULK)
            said = [None if r else self.kind_of(c, d, kind) for r, (c, d) in zip(run, found, strict=True)]
            return [None if self._between(found, said, i) else k for i, k in enumerate(said)]
        run = []
        kinds: list[Kind | None] = [None] * len(found)
        for order in (range(len(found)), range(len(found) - 1, -1, -1)):
            for i in order:
                told = self.kind_of(*found[i], kind) if kinds[i] is None else None
                run = run or series.members([self.text[c:d] for c, d in found]) if told else run
                if kinds[i] is None and (told is None or run[i]):
                    break
                kinds[i] = kinds[i] or told
        return kinds

    def kind_of(self, a: int, b: int, kind: Kind = Kind.CONTEXT) -> Kind | None:
        """What a block of an open section is where it belongs to the template; None where it is material."""
        block = self.text[a:b]
        if shapes.data(block):
            return None
        if b - a <= 400 and block[-1] in ":：":
            return Kind.OTHER
        if sentences.placeholders(block) or (b - a <= 200 and sentences.points(block)):
            return Kind.INSTRUCTION
        if self.role == "system" and self._rules(block):
            return Kind.INSTRUCTION
        if kind is not Kind.HISTORY and b - a <= 400 and sentences.asks(block):
            return Kind.QUESTION
        return Kind.INSTRUCTION if b - a <= 900 and sentences.addressed(block) else None

    def _rules(self, block: str) -> bool:
        listed = _LISTED.match(block) is not None or sentences.leads(self.persona, block) > 0
        return listed or sentences.addressed(block, strictly=len(block) <= _WHOLE)

    def _between(self, found: Blocks, kinds: list[Kind | None], i: int) -> bool:
        """Whether a long block between two of material only has the "you" and "must" of any text."""
        if not (kinds[i] is Kind.INSTRUCTION and 0 < i < len(found) - 1 and kinds[i - 1] is None is kinds[i + 1]):
            return False
        block = self.text[slice(*found[i])]
        return sentences.weight(block) >= BULK and not _LISTED.match(block) and not sentences.addressed(block)
