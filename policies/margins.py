"""What stays at both ends of a piece of material, whatever it says: there a template and its material meet.

A title, a mark that no table knows, half a bracket or a colon: where a text was cut by its form, these are what may be
on the wrong side of the cut. They are short, so that to keep them costs little. Pure.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from compressors.base import Span

_READ = 20_000  # characters of a text in which marks are looked for
_LINE = 80  # characters of a first or last line that may be a title, a label, a remark
_LEADS = re.compile(r"[\s:：)\]}|>;,.*#\"'`”»=–—-]+")
_TRAILS = re.compile(r"(?:\\n|[\s\[({|<*#\"'`“«=–—-])+\Z")  # "\n" also as the two characters of a template
_TAIL = 40  # characters of the end in which such signs are looked for
_NAMED = re.compile(  # what a mark has behind it: "(Title: Trams)", "(p. 3):"
    r"\s?[(（][^()（）\n]{1,80}(?:\([^()\n]{0,40}\)[^()（）\n]{0,40})?[)）]\s?[:：.]?"
)
_LABEL = re.compile(r"[^\n.!?;。！？：:]{1,80}[:：](?!\d)")
_MARK = re.compile(r"\b[A-ZÀ-ÞА-Я][^\W\d_]{1,14} \[\d{1,4}\][:：]")  # of a text inside of others: "Source [0]:"
_OWN_LINE = re.compile(  # the same at the start of a line: its number alone, "Content:"
    r"\n[ \t]{0,8}(?:\d{1,3}[.)](?=\n)"
    r"|(?<=\n\n)[A-Z][A-Za-z ]{2,60}:(?=\n)"
    r"|(?:[Cc]ontent|CONTENT|[Tt]ext|[Bb]ody|[Ss]nippet|[Ee]xcerpt|Inhalt|Contenu|Contenido|内容|本文|내용)[:：])"
)
_LINE_LABEL = re.compile(
    r"^[ \t>*-]{0,6}([^\W\d_][\w .@()'’-]{0,30}?)(?:\*\*)?(?:：|:(?=\s|[^\x00-\x7f]))", re.MULTILINE
)
_SPEAKS = re.compile(r"^[ \t>*-]{0,4}([^\W\d_][\w .'-]{0,24}):(?=\s)", re.MULTILINE)
_BRACKETED = re.compile(r"\n[ \t]{0,8}[\[【(]{1,2}[^\]】)\n]{1,40}[\]】)]{1,2}[^\n]{0,80}(?<![.!?。！？,;\n])(?=\n)")
_SEVERAL = 3
_PROSE = 50  # characters of a line, on average, from which lines are sentences
_VALUE = 60  # characters of a label and its value on a line
_RARE = 0.3  # share of the text up to which lines that begin with a bracket are marks
_SCORE = re.compile(r"[(（][^()（）\n\d]{1,24}[:：=] ?\d[\d.,]{0,7}%?[)）]")  # "(similarity: 0.87)"
_FIGURES = re.compile(r"\d+")
_ALIKE = 8  # characters with which rows of one log or table begin, figures aside
_SAID = ".!?。！？,;"  # ends of sentences and of what goes on
_CODE_ENDS = _SAID + ")}]>"


def margins(text: str, *, code: bool) -> Iterator[Span]:
    """The ends of a text that stay, as spans; they may overlap. `code`: it is source code or a diff, where a colon says
    nothing."""
    if text.startswith(("{", "[{", '["')):  # JSON is cut by its own form
        return
    at = 0
    for pattern in (_LEADS, _NAMED) if code else (_LEADS, _NAMED, _LABEL):
        if match := pattern.match(text, at):
            yield match.span()
            at = match.end()
    if text[-1:] not in _SAID and (match := _TRAILS.search(text[-_TAIL:])):
        yield len(text[:-_TAIL]) + match.start(), len(text)
    if "]:" in text or "]：" in text:
        yield from (match.span() for match in _MARK.finditer(text[:_READ]))
    if ")" in text or "）" in text:
        yield from (match.span() for match in _SCORE.finditer(text[:_READ]))
    if "\n" in text:
        yield from _lines(text)
        yield from _bracketed(text) if "[" in text or "【" in text or "(" in text else ()
        found = _OWN_LINE.finditer(f"\n{text[:_READ]}\n")
        yield from ((max(0, match.start() - 1), match.end() - 1) for match in found)


def _bracketed(text: str) -> list[Span]:
    """Short lines that begin with a mark in brackets ("[2] Faults (page 7)"), unless they are the rows of a log."""
    rows = sum(map(text.count, ("\n[", "\n【", "\n("))) - sum(map(text.count, ("\n\n[", "\n\n【", "\n\n(")))
    if rows > _RARE * text.count("\n"):
        return []
    found = [(max(0, m.start() - 1), m.end() - 1) for m in _BRACKETED.finditer(f"\n{text[:_READ]}\n")]
    return found if sum(b - a for a, b in found) <= _RARE * len(text) else []


def recurring(texts: Sequence[str]) -> list[tuple[Span, ...]]:
    """The labels of lines ("Plan:", "Output:") that stand several times in the texts together, by text, with
    values of a few words; in a chat the names of all who speak."""
    rows = sum(text.count("\n") + 1 for text in texts)
    if sum(map(len, texts)) < _PROSE * rows:  # records, of which every line is a label and a value
        return [()] * len(texts)
    found = [list(_LINE_LABEL.finditer(text[:_READ])) if ":" in text or "：" in text else [] for text in texts]
    count = Counter(match[1] for matches in found for match in matches)
    chat = len(count) < 0.75 * count.total() > 0.35 * rows
    rest = [[(m, _named(text, m)) for m in matches] for text, matches in zip(texts, found, strict=True)]
    says = {m[1] for pairs in rest for m, (_, end) in pairs if end == m.end()} if chat else set()
    return [
        tuple(m.span() if m[1] in says else whole for m, whole in pairs if chat or count[m[1]] >= _SEVERAL)
        for pairs in rest
    ]


def _named(text: str, label: re.Match[str]) -> Span:
    """A label at the start of a line, with its value where that is no more than a few words."""
    end = text.find("\n", label.end())
    end = len(text) if end < 0 else end
    short = end - label.start() <= _VALUE and text[end - 1] not in _SAID
    return label.start(), end if short else label.end()


def speakers(text: str) -> list[Span]:
    """The names of those who speak in a chat, however they are written: the few labels that most lines begin with."""
    found = list(_SPEAKS.finditer(text[:_READ])) if ":" in text else []
    few = 2 * len({match[1] for match in found}) <= len(found) >= 0.5 * text.count("\n")
    return [match.span() for match in found] if few else []


def _lines(text: str) -> Iterator[Span]:
    """The first and the last line, where they are short, no sentences, and no rows like those beside them."""
    start = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    first, last = text.find("\n", start, end), text.rfind("\n", start, end)
    if first < 0:
        return
    opening, closing = text[start:first], text[last + 1 : end]
    second, before = text[first + 1 : first + _LINE], text[text.rfind("\n", start, last) + 1 : last]
    ends = opening.rstrip()[-1]
    if len(opening) <= _LINE and ends not in _SAID and (ends in ":：" or _look(opening) != _look(second)):
        yield start, first
    if len(closing) <= _LINE and closing[-1] not in _CODE_ENDS and _look(closing) != _look(before):
        yield last + 1, end


def _look(row: str) -> str:
    return _FIGURES.sub("0", row[: 2 * _ALIKE])[:_ALIKE]
