"""Finds the structure of one text: tags, fences, rules, headings, labels and document marks, line by line.

A marker is a stretch that only says what comes next. What is no marker is text. Every check looks at a bounded prefix
of its line, so that the whole scan is linear in the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from proxy.segmentation import labels, sentences, shapes
from proxy.segmentation.labels import Meaning


class Form(Enum):
    TAG = auto()  # <context>, <BEGIN SOURCE>
    BRACKET = auto()  # [CONTEXT 0]:  [[ ## question ## ]]  【規程】
    HEADING = auto()  # ## Context   **Context**   ---Context---   === Document 1 ===
    LABEL = auto()  # Context:  Question: ...
    ANNOUNCE = auto()  # a whole sentence that ends with a colon
    RULE = auto()  # ------
    FENCE = auto()  # ```python


@dataclass(frozen=True, slots=True)
class Marker:
    """`start`, `end`: code points of the marker alone, text after it on the line left out. `pair` is the index of the
    marker that closes this one, or that this one closes; `level` the depth of a heading, or a rule's look."""

    start: int
    end: int
    form: Form
    title: str
    meaning: Meaning | None = None
    closing: bool = False
    level: str = ""
    pair: int | None = None
    inline: bool = False  # text follows on the same line


_TAG = re.compile(r"<(/?)([A-Za-z_][\w.:-]{0,60}(?: [A-Z]{2,20}){0,3})(\s[^<>\n]{0,400})?>")
_CLOSING_TAG = re.compile(r"</[A-Za-z_][\w.: -]{0,80}>$")
_HEADING = re.compile(r"(#{1,6})\s+(\S.{0,160})$")
_BOLD = re.compile(r"(\*\*|__)([^*_\n]{2,100})\1[:：]?$")
_TITLED_RULE = re.compile(r"([-=*~#+]{2,40}) ?([^-=*~#+\s][^\n]{0,100}?) ?([-=*~#+]{2,40})$")
_BRACKETED = re.compile(
    r"(?:\[\[ ?#* ?|\[|【|〔|《|<<|«)([^\[\]【】〔〕《》«»\n]{2,80}?)(?: ?#* ?\]\]|\]|】|〕|》|>>|»)[:：]?$"
)
_LABEL = re.compile(
    r"(?:[-*#>]{1,3} )?(?:\*\*|__)?([^\W\d_][^:：.!?。！？\n{}<>\"`|]{0,70}?)(?:\*\*|__)?"
    r"(?:[:：](?:\*\*|__)?)(?=[\s\"'«“「<]|$)"
)
_WIDE_LABEL = re.compile(r"(?:\*\*)?([^\W\d_][^:：.!?。！？\n{}<>\"`|]{0,20}?)(?:\*\*)?：")
_BRACKET_LABEL = re.compile(r"\[([^\W\d_][^\[\]\n]{1,40})\][:：](?=\s)")
_RULES = frozenset("-=_*~#+—–─━═")
_MANY_WORDS = 6
MOST = 20_000  # markers; a text with more is taken as unstructured
_HTML_NAMES = """
    a abbr b blockquote body br button caption cite col dd div dl dt em figure font footer form h1 h2 h3 h4 h5 h6
    head header hr html i iframe img label li link main meta nav ol option p path pre script section select
    small span strong style sub sup svg table
    tbody td textarea tfoot th thead title tr u ul video
"""
_HTML = frozenset(_HTML_NAMES.split())
_DIFF_OPENS = ("diff --git ", "@@ -")
_DIFF_GOES_ON = (
    "+",
    "-",
    " ",
    "\t",
    "@@",
    "\\",
    "index ",
    "new file",
    "deleted f",
    "similarity",
    "rename ",
    "Binary f",
)
_QUOTED = ('"""', "'''", "```")
DOUBTFUL = "doubtful"  # level of a fence that looks like the end of another one: what follows it cannot be told


def stripped(text: str, start: int, end: int) -> tuple[int, int]:
    """Both ends moved inwards over white space; start = end where there is nothing else."""
    line = text[start:end]
    left = line.lstrip()
    return end - len(left), end - len(line) + len(line.rstrip()) if left else end - len(left)


def lines(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """The start and end of every line that is not blank, without the white space around it."""
    end = len(text) if end is None else end
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        a, b = stripped(text, start, stop)
        if a < b:
            yield a, b
        start = stop + 1


def _is_rule(head: str, size: int) -> bool:
    return 3 <= size <= 200 and head[0] in _RULES and len(set(head)) == 1


def _tags(text: str, a: int, b: int) -> list[Marker]:
    """The tags at the start of a line, one behind the other, and a closing tag at its end."""
    found: list[Marker] = []
    at = a
    while match := _TAG.match(text, at, b):
        slash, name, attributes = match.groups()
        if name.casefold() in _HTML:
            break
        title = slash + name + (attributes or "")
        meaning = labels.meaning(re.sub(r"[_.:-]", " ", name)) or labels.meaning(name)
        shut = bool(slash) or labels.closes(name)
        inline = match.end() < b
        found.append(Marker(match.start(), match.end(), Form.TAG, title, meaning, shut, labels.key(name), None, inline))
        at, _ = stripped(text, match.end(), b)
    return found


def _trailing_tag(text: str, a: int, b: int) -> Marker | None:
    if text[b - 1] != ">" or not (match := _CLOSING_TAG.search(text, max(a, b - 90), b)):
        return None
    name = match.group()[2:-1]
    if name.casefold() in _HTML:
        return None
    return Marker(match.start(), match.end(), Form.TAG, "/" + name, labels.meaning(name), True, labels.key(name))


def _titled(text: str, a: int, b: int) -> Marker | None:
    """A line that is nothing but a title: heading, bold line, bracketed line, titled rule."""
    if b - a > 180:
        return None
    line = text[a:b]
    first = line[0]
    if first == "#" and (match := _HEADING.match(line)):
        return _title(a, b, Form.HEADING, match[2].strip("# :："), match[1])
    if first in "*_" and (match := _BOLD.match(line)):
        return _title(a, b, Form.HEADING, match[2].strip(":："), match[1])
    if first in "-=*~#+" and (match := _TITLED_RULE.match(line)):
        return _title(a, b, Form.HEADING, match[2].strip(), match[1][0])
    if first in "[【〔《«<" and (match := _BRACKETED.match(line)):
        return _title(a, b, Form.BRACKET, match[1].strip(" #"), line[:2])
    return None


def _title(a: int, b: int, form: Form, title: str, level: str) -> Marker:
    return Marker(a, b, form, title, labels.meaning(title), labels.closes(title), level)


def _opened_inline(text: str, a: int, b: int) -> Marker | None:
    """A tag of a known meaning behind "Here is the document:" on the same line."""
    colon = text.find(": <", a, min(b, a + 400))
    match = _TAG.match(text, colon + 2, b) if colon > 0 else None
    if not match or match[1] or not labels.meaning(match[2]):
        return None
    return _tags(text, match.start(), match.end())[0] if match[2].casefold() not in _HTML else None


def _labelled(text: str, a: int, b: int) -> Marker | None:
    """`Label:` or `Label: text`, or a sentence that ends with a colon."""
    head = text[a : min(b, a + 90)]
    match = _LABEL.match(head) or _WIDE_LABEL.match(head)
    if match and len(match[1].split()) <= _MANY_WORDS:
        end = a + match.end()
        inline = end < b
        meaning = labels.meaning(match[1]) if not shapes.keyword(head) else None
        if meaning and inline and labels.stands_alone(match[1]):
            meaning = None
        if meaning is Meaning.ANSWER and not inline:  # "Answer using the following information:"
            meaning = sentences.announces(match[1]) or meaning
        if meaning or not inline:
            return Marker(a, end, Form.LABEL, match[1].strip(), meaning, inline=inline)
    if match := _BRACKET_LABEL.match(head):
        title = match[1].strip()
        return Marker(a, a + match.end(), Form.BRACKET, title, labels.meaning(title), inline=a + match.end() < b)
    if text[b - 1] in ":：" and b - a <= 400 and " " in head and not shapes.keyword(head):
        return Marker(a, b, Form.ANNOUNCE, text[a:b])
    return None


def _opening_fence(text: str, a: int, b: int) -> list[Marker]:
    """A label and the quotation marks or ticks that open behind it at the end of its line: `Chunk: \"\"\"`."""
    mark = text[max(a, b - 3) : b]
    if mark not in _QUOTED or not 4 < b - a <= 90:
        return []
    end = stripped(text, a, b - 3)[1]
    label = _labelled(text, a, end) if text[end - 1] in ":：" else None
    return [label, Marker(b - 3, b, Form.FENCE, "", level=mark)] if label else []


def _line(text: str, a: int, b: int) -> list[Marker]:
    head = text[a : min(b, a + 200)]
    if head.startswith(("```", "~~~", '"""', "'''")) and (b - a <= 120):
        ticks = len(head) - len(head.lstrip(head[0]))
        if shut := _last(text, a + ticks, b) if head[ticks : ticks + 2] == "</" else []:
            return [Marker(a, a + ticks, Form.FENCE, "", level=head[:ticks]), *shut]
        return [Marker(a, b, Form.FENCE, head[ticks:].strip("`~ "), level=head[:ticks])]
    if text[b - 1] in "\"'`" and (opened := _opening_fence(text, a, b)):
        return opened
    if _is_rule(head, b - a):
        return [Marker(a, b, Form.RULE, "", level=f"{head[0]}{b - a}")]
    found = _tags(text, a, b) if head[0] == "<" else []
    if found and (found[-1].end >= b):
        return found
    if not found and (one := _titled(text, a, b) or _labelled(text, a, b)):
        found = [one]
        if inner := _opened_inline(text, one.end if one.inline else a, b):
            return [*([one] if one.inline else []), inner, *_last(text, inner.end, b)]
        if one.inline and text.startswith("<", at := stripped(text, one.end, b)[0]):
            found.extend(_tags(text, at, b))
    if not found and (inner := _opened_inline(text, a, b)):
        found = [inner]
    return [*found, *_last(text, found[-1].end if found else a, b)]


def _last(text: str, a: int, b: int) -> list[Marker]:
    found = _trailing_tag(text, a, b) if a < b else None
    return [found] if found else []


def scan(text: str) -> list[Marker]:
    """Every marker of a text in order, fences and tags paired, what is in a fence left alone."""
    found: list[Marker] = []
    in_diff = False
    for a, b in lines(text):
        head = text[max(0, a - 1) : a + 12].strip("\n")
        in_diff = head.startswith(_DIFF_OPENS) or (in_diff and head.startswith(_DIFF_GOES_ON))
        if not in_diff:
            found.extend(_line(text, a, b))
            if len(found) > MOST:
                return []
    return _pair(_fenced(text, found))


def _fenced(text: str, found: list[Marker]) -> list[Marker]:
    """Pairs fences and drops the markers between them. A fence that opens inside a fence makes the rest doubtful."""
    kept: list[Marker] = []
    fences = [m for m in found if m.form is Form.FENCE]
    if len(fences) > 2 and not text[: fences[0].start].strip() and not text[fences[-1].end :].strip():
        inner = any(m.title for m in fences[1:])
        if not inner and fences[0].title:  # one attachment that has fences of its own
            return [replace(fences[0], pair=1), replace(fences[-1], pair=0, closing=True)]
    opened: int | None = None
    for marker in found:
        if opened is None:
            kept.append(marker)
            opened = len(kept) - 1 if marker.form is Form.FENCE else None
        elif marker.form is Form.FENCE and marker.level.startswith(kept[opened].level) and not marker.title:
            kept[opened] = replace(kept[opened], pair=len(kept))
            doubtful = _indent(text, marker) != _indent(text, kept[opened])
            kept.append(replace(marker, pair=opened, closing=True, level=DOUBTFUL if doubtful else marker.level))
            if doubtful:
                return kept
            opened = None
    if opened is not None:  # never closed: the markers behind it count again
        start = kept[opened].start
        kept = kept[:opened] + [m for m in found if m.start > start and m.form is not Form.FENCE]
    return kept


def _indent(text: str, marker: Marker) -> int:
    begins = text.rfind("\n", 0, marker.start) + 1
    return stripped(text, begins, marker.end)[0] - begins


def _pair(found: list[Marker]) -> list[Marker]:
    """Finds for each closing tag, bracket or titled rule the last open one of the same name. Unmatched tags go."""
    open_at: dict[tuple[bool, str], list[int]] = {}
    pairs: dict[int, int] = {}
    for i, marker in enumerate(found):
        if marker.form not in (Form.TAG, Form.BRACKET, Form.HEADING):
            continue
        name = (marker.form is Form.TAG, labels.key(marker.title if marker.form is not Form.TAG else marker.level))
        if not marker.closing:
            open_at.setdefault(name, []).append(i)
        elif stack := open_at.get(name):
            opener = stack.pop()
            pairs[i], pairs[opener] = opener, i
    paired = [replace(m, pair=pairs[i]) if i in pairs else m for i, m in enumerate(found)]
    return _renumbered([(i, m) for i, m in enumerate(paired) if m.form is not Form.TAG or m.pair is not None])


def _renumbered(kept: list[tuple[int, Marker]]) -> list[Marker]:
    new = {old: i for i, (old, _) in enumerate(kept)}
    return [m if m.pair is None else replace(m, pair=new.get(m.pair)) for _, m in kept]
