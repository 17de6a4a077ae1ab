"""What is left of what matters. Every metric is a part and a whole: sums of both over records give a mean (wholes of 1)
or a share; a whole of 0 says that the record has nothing to measure.

  answers    an answer is still in the kept text (lower case, no punctuation), of those questions whose answer is in it
  evidence   characters of the evidence that are kept
  sentences  sentences of the evidence wholly kept
  chain      whether all evidence is wholly kept: a question over several documents needs each link
  numbers    of the gold sentences (of the whole text, where nothing is asked): numbers, digit for digit,
  names        capitalised words that do not begin a sentence (names, mostly; in German every noun),
  negations    and English negations that are kept
  topics     of the words of a reference answer that the evidence has, rare ones: those that are kept of it
  slots      values of a dialogue wholly kept
  keep_f1    F1 of kept words against a compression by people, over all words
  kept       tokens really kept, of all, in the target model's own (o200k_base), titles included
"""

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from compressors import spans
from compressors.base import Span
from compressors.tokenizers import counter
from judge.cases import Asked, Case, folded
from training.classifier_sources import WORD, stems

Value = tuple[float, float]
NOTHING: Value = (0.0, 0.0)

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_NAME = re.compile(r"[^\W\d_][\w'’-]+")
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nor|neither|nobody|nothing|nowhere|without|cannot|\w+n['’]t)\b", re.IGNORECASE
)


def outcome(case: Case, kept: Sequence[Span]) -> dict[str, Value]:
    """All metrics that the case has something for. `kept`: merged spans of its text."""
    text = case.task.text
    shown = folded(spans.join(text, spans.intersect(kept, case.bodies)))
    blind = not case.task.question
    whole = [_sentences(text, one, kept) for one in case.asked if one.evidence]
    return {
        name: value
        for name, value in {
            "answers": _mean(float(any(a in shown for a in one.found)) for one in case.asked if one.found),
            "evidence": _mean(_share(one.evidence, kept) for one in case.asked if one.evidence),
            "sentences": _mean(whole),
            "chain": _mean(float(share == 1) for share in whole),
            "topics": _mean(t for one in case.asked if blind for t in _topics(text, one, kept)),
            "numbers": _held(_matches(_NUMBER, text, case.gold), kept),
            "names": _held(_names(text, case.gold), kept),
            "negations": _held(_matches(_NEGATION, text, case.gold), kept),
            "slots": _held(case.slots, kept),
            "keep_f1": _keep_f1(text, case.pair, kept) if case.pair else NOTHING,
            "kept": (count(spans.join(text, kept)) / count(text), 1.0),
        }.items()
        if value[1]
    }


@lru_cache(maxsize=64)
def count(text: str) -> int:
    return counter("o200k_base").count(text)


def without(case: Case) -> dict[str, Value]:
    """Of no text at all: whether the question itself holds its answer."""
    known = [float(any(a in folded(one.question) for a in one.found)) for one in case.asked if one.found]
    return {"answers": _mean(known), "kept": (0.0, 1.0)} if known else {"kept": (0.0, 1.0)}


def _mean(values: Iterable[float]) -> Value:
    found = list(values)
    return (statistics.fmean(found), 1.0) if found else NOTHING


def _held(wanted: Sequence[Span], kept: Sequence[Span]) -> Value:
    """How many of these are wholly kept."""
    return float(sum(_whole(span, kept) for span in wanted)), float(len(wanted))


def _whole(span: Span, kept: Sequence[Span]) -> bool:
    return _size(spans.within(kept, *span)) == span[1] - span[0]


def _share(wanted: Sequence[Span], kept: Sequence[Span]) -> float:
    return _size(spans.intersect(kept, wanted)) / _size(wanted)


def _size(found: Sequence[Span]) -> int:
    return sum(end - start for start, end in found)


def _sentences(text: str, one: Asked, kept: Sequence[Span]) -> float:
    units = [
        (start + a, start + len(text[start : start + b].rstrip()))
        for start, end in one.evidence
        for a, b in spans.sentences(text[start:end])
    ]
    units = [unit for unit in units if unit[0] < unit[1]]
    return statistics.fmean(_whole(unit, kept) for unit in units) if units else 1.0


def _topics(text: str, one: Asked, kept: Sequence[Span]) -> Iterator[float]:
    wanted = stems(one.answers[0]) & stems(spans.join(text, one.evidence))
    if wanted:
        yield len(wanted & stems(spans.join(text, spans.intersect(kept, one.evidence)))) / len(wanted)


def _matches(pattern: re.Pattern[str], text: str, where: Sequence[Span]) -> list[Span]:
    return [match.span() for start, end in where for match in pattern.finditer(text, start, end)]


def _names(text: str, where: Sequence[Span]) -> list[Span]:
    found = []
    for start, end in where:
        for a, b in spans.sentences(text[start:end]):
            words = list(_NAME.finditer(text, start + a, start + b))
            found += [word.span() for word in words[1:] if word.group()[0].isupper()]
    return found


def _keep_f1(text: str, gold: Sequence[Span], kept: Sequence[Span]) -> Value:
    words = [match.span() for match in WORD.finditer(text)]
    wanted = [_size(spans.within(gold, *word)) * 2 > word[1] - word[0] for word in words]
    found = [_size(spans.within(kept, *word)) * 2 > word[1] - word[0] for word in words]
    both = sum(a and b for a, b in zip(wanted, found, strict=True))
    return 2.0 * both, float(sum(wanted) + sum(found))
