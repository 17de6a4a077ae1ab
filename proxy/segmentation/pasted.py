"""What a paragraph of a user text is that no label names: pasted, or said by the user."""

import re
from itertools import pairwise

from proxy.segmentation import sentences, shapes
from proxy.segmentation.documents import BULK

_OPENS = re.compile(r"<!doctype|<html|<[a-z]{1,8}[ >][^\n]{0,200}<|[{\[]\s*[{\[\"']", re.IGNORECASE)
_RECALLS = re.compile(
    r"\b(?:summar(?:y|ies)|recap|memor(?:y|ies)|history|conversation|discussed|zusammenfassung|verlauf|résumé|historique"
    r"|resumen|historial|resumo|histórico|riassunto|cronologia|samenvatting|podsumowanie|сводка|история|özet)\b"
    r"|摘要|总结|要約|履歴|记忆|記憶|요약|기억",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?。！？]['\"”»]?(?:\s+|(?<=[。！？]))")
_COLON = re.compile(r" ?[:：] ")
_READ = 20_000  # characters behind an announcement that are read to tell whether they are material
_ANNOUNCED = 700  # characters of a paragraph in which the sentence that announces material ends
REMARK = 300  # characters of a line at the edge of material that may speak to the model


def framed(block: str) -> tuple[int, int]:
    """Where JSON or HTML begins and ends in a paragraph that holds little else; (0, length) if not."""
    opening = _OPENS.search(block, 0, REMARK)
    if not opening:
        return 0, len(block)
    end = max(block.rfind(mark, opening.start()) for mark in ">}]") + 1
    whole = end - opening.start() >= 0.5 * len(block) and len(block) - end <= REMARK
    return (opening.start(), end) if whole else (0, len(block))


def introduction(block: str) -> int:
    """Length of "my neighbour sent me this:" at the start of a paragraph; 0 where it has none."""
    colon = block.find(": ", 0, 160)
    head = block[: colon + 1]
    return len(head) if colon > 0 and (sentences.announces(head) or sentences.personal(head)) else 0


def told(block: str) -> int:
    """Length of "This is a summary of the chat so far:" at the start of a paragraph of a system text that goes on about
    what was; 0 where there is none."""
    colon = block.find(": ", 0, 160)
    if colon < 0 or not _RECALLS.search(block[: colon + 1]):
        return 0
    return 0 if sentences.addressed(block[colon + 1 :]) else colon + 1


def leading(block: str) -> int:
    """Length of "Answer with these documents only: " before material that goes on in the same paragraph of a system
    text; 0 where there is none."""
    for colon in _COLON.finditer(block, 0, _ANNOUNCED):
        if sentences.announces(block[: colon.end()]):
            rest = block[colon.end() : colon.end() + _READ]
            if sentences.weight(rest) >= BULK and not sentences.addressed(rest, strictly=True):
                return colon.end()
    return 0


def ordered(text: str) -> int:
    """Length of the sentences to the model at the beginning of what was announced; 0 where there are none."""
    ends = [match.end() for match in _END.finditer(text, 0, _ANNOUNCED)]
    return max((end for begin, end in pairwise([0, *ends]) if sentences.addressed(text[begin:end])), default=0)


def last_question(block: str) -> int:
    """Where the last question begins, if it is asked in the last 400 characters; else the end."""
    asked = max(block.rfind(mark, max(0, len(block) - 400)) for mark in "?？")
    begins = max(block.rfind(end, 0, asked) for end in (". ", "! ", "。", "\n")) + 1 if asked > 0 else 0
    return begins or len(block)


def pasted(block: str) -> bool:
    """Whether a paragraph looks as if it came from elsewhere."""
    if len(block) < 150:
        return False
    if shapes.data(block):
        return True
    if start := introduction(block):
        block = block[start : last_question(block)]
    of_the_user = sentences.addressed(block) or sentences.personal(block) or sentences.asks(block)
    return sentences.weight(block) >= BULK and not of_the_user
