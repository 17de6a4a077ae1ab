"""What stays inside of material that may change: addresses, ids, marks that are cited, titles, names. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from compressors.base import Span

_WINDOW = 8_192
_OVERLAP = 2_048
_FEW_TAGS = 8
_FEW_ROWS = 6  # from here on a text can be a log or a trace
_FEW_QUESTIONS = 3
_SEVERAL = 3
_JOINED = 200  # characters, on average, between two marks that join texts
_FEWEST_CELLS = 2  # marks between the cells of a row
_CELL = 40  # characters of a cell of the first row of a table, on average
_BELOW = 3  # rows below the first row of a table, one of which has as many cells
_OFTEN = 0.7  # share of the lines from which marks are the text itself
_TITLE = 160  # characters of a line that says what stands behind a mark
_LONGEST_ROW = 2_000  # characters of a row that are read to tell a table


def _any(words: str) -> str:
    return "|".join(words.split())


_ADDRESS = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,12}://|www\.)[^\s<>\"'`]{2,2000}|\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,4}",
    re.IGNORECASE,
)
_ID = re.compile(
    r"\b(?:(?=[A-Z])(?:[A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){3,7}\b|[A-Z]{1,4}\d{1,5}\b"
    r"|(?=[\w-]{0,60}\d)[A-Z]{1,10}[-_]?[A-Z]{0,6}[-_]?\d{2,}(?:[-_/]?[A-Z0-9]{1,12}){0,4}\b)"
    r"|(?=[0-9a-f]{8})(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{13,27}\b|(?=[a-f]{0,40}\d)[0-9a-f]{12,64}\b)"
    r"|(?=\d\d\d)(?<![-./])(?!(?:19|20)\d\d-)\d{3,10}-\d{2,8}\b(?![-./]\d))"
)
_CITATION = re.compile(  # every alternative begins with a plain character, for which `re` searches fast
    r"#(?<!\w#)\d{1,9}\b|\*\[\d{1,5}\]<\w{0,12}|\[\d{1,5}\]<\w{0,12}"
    r"|\[\[[^\[\]\n]{1,24}\]\]|\[\^[^\[\]\n]{1,24}\]"
    r"|\[(?<![A-Za-z0-9_]\[)\[?@?[\w.:-]{1,16}(?:, ?[\w.:-]{1,16}){0,6}\]{1,2}"
    r"|\[\d{1,3}(?:(?:[,;] ?|[-–])\d{1,3}){0,6}\]|\[[^\W\d_]{1,12}[ .#]{1,2}\d{1,4}\]"
    r"|【[^】\n]{1,60}】|〔[^〕\n]{1,20}〕|［[^］\n]{1,20}］"
)
_NOTE = re.compile(  # the same in forms that are rare
    r"[⁽⁰¹²³⁴-⁹](?<!\w[⁰¹²³⁴-⁹])[⁰¹²³⁴-⁹,⁾]{0,8}|[①-⓿❶-➓]|\^(?:\[\d{1,3}\]|\d{1,3}\^)"
    r"|\{\{?(?:\w{1,20}[:.-])?\d{1,4}\}\}?|<<[\w .:-]{1,24}>>|<[@#][\w|.-]{2,40}>:?"
    r"|[‹⟦＜《〈〖][\w .:-]{1,24}[›⟧＞》〉〗]"
    r"|（(?:[^\W\d_]{2,14}[ :：#_-]{0,2})?\d{1,4}）|\\cite\w{0,8}\{[^{}\n]{1,60}\}"
)
_SOURCE = re.compile(r"\((?:[^\W\d_]{2,14}(?: et al\.?)?[ :#_.,-]{1,3})?\d{1,4}[a-z]?(?:, ?\d{1,4}){0,4}\)")
_TARGET = re.compile(r"\]\([^()\s]{1,300}\)")
_NUMBERED_ROW = re.compile(r"^[ \t]{0,8}\d{1,6}\|", re.MULTILINE)
_PARTS = _any(
    """Art Article Artikel Artículo Articulo Artigo Articolo Artykuł Section Sec Clause Chapter Rule Regulation Schedule
    Annex Appendix Kapitel Abschnitt Ziffer Absatz Anlage Chapitre Annexe Sección Cláusula Capítulo Anexo Seção
    Clausola Capo Allegato Hoofdstuk Bijlage Rozdział Статья Пункт Глава Раздел Madde Bölüm Điều Khoản Chương Pasal
    Bab المادة البند अनुच्छेद धारा"""
)
_CLAUSE = re.compile(  # the mark of a clause, an article, an item of a list, at the start of a line or a sentence
    r"(?:^|(?<=[.;。；:] ))[ \t]{0,8}(?:[-*•>#] ?)?(?:\*\*)?(?:§{1,2} ?\d{1,4}[a-z]?(?:\.\d{1,3}){0,3}"
    rf"|(?:{_PARTS})\.? ?(?:\d{{1,4}}[a-z]?(?:[.-]\d{{1,3}}){{0,4}}(?:\(\w{{1,3}}\)){{0,3}}|[IVXLC]{{1,7}}\b)"
    r"|[^\W\d_]{2,14} \d{1,4}(?:\.\d{1,3}){0,3}(?:\(\w{1,3}\)){0,3}(?=[ \t]*(?:[.:)\]–-](?!\d)|$))"
    r"|第[一二三四五六七八九十百零〇\d]{1,6}[条條章节節款项項回号]"
    r"|제 ?\d{1,4} ?[조항장절]"
    r"|\((?:[a-z]|[ivx]{1,5}|\d{1,3})\)|\d{1,3}(?:\.\d{1,3}){1,4}\.?(?=\s[^\W\d_])|\d{1,3}[.)](?=\s))",
    re.MULTILINE,
)
_KEYED = re.compile(
    r"[\"'](?:\w{0,20}[_-]|(?-i:\w{1,20}(?=[A-Z])))?(?:ids?|key|uuid|ref|reference_id|index|number|no|sku|code|source|url|title|name|doc|file"
    r"|path)[\"']\s?:\s?(?:[\"'][^\"'\n]{0,120}[\"']|-?\d{1,20})"
    r"|[\"'](?=[^\"'\n]{0,60}\d)(?:\d{6,24}|[a-z]{1,20}(?:[_-][a-z0-9]{1,20}){1,6})[\"']",  # an id wherever it stands
    re.IGNORECASE,
)
_HEADER = re.compile(  # of a mail, of a document
    r"^[> ]{0,8}(?:from|to|cc|bcc|subject|date|sent|von|an|betreff|datum|gesendet|de|à|objet|envoyé|para|asunto|fecha"
    r"|assunto|da|oggetto|van|aan|onderwerp|от|кому|тема|差出人|宛先|件名|发件人|收件人|主题|보낸 사람|받는 사람|제목"
    r"|title|source|url|link|author|published|updated|file ?(?:name|path)|file|path|page|doc(?:ument)? id|id|score"
    r"|quelle|titel|fuente|título|fonte|titre|出典|来源|标题|출처)"
    r" ?[:：].{1,300}$|^[\w%./\\~-]{1,150}\.[a-z]\w{1,4}(?:#[\w=&.-]{1,40})?\s?[:：]",
    re.MULTILINE | re.IGNORECASE,
)
_RECORD = re.compile(  # what a record of a list is called; the list may stand in a JSON string
    r"(?:^|\\n)[ \t]{0,12}(?:[-*] )?(?:\w{0,20}[_-])?(?:names?|ids?|key|uuid|sku|slug|label|nom|nombre|nome|naam|имя)"
    r" ?[:=：][^\n\\]{1,120}(?=\\n|$)",
    re.MULTILINE | re.IGNORECASE,
)
_RULE = re.compile(  # a rule, with a title or without
    r"^[ \t]{0,8}(?:[-=*_#~─━═]{3}(?:[ \t]?[-=*_#~─━═]){0,200}"
    r"|([-=*#~+<\[])\1{1,40} ?[^\n]{1,80}?[-=*#~+>\]]{2,40})[ \t]{0,8}$"
    r"|[-=*_~]{3,40}(?:[ \t][-=*_~]{3,40}){1,20}",
    re.MULTILINE,
)
_HEADING = re.compile(
    r"^(?:#{1,6} .{1,160}|[> ]{0,8}[^\n{}();=<>]{1,100}[:：][ \t]{0,4}|[> ]{0,8}>[ \t]{0,4}"
    r"|(\*{1,2})[^*\n]{1,100}\1[:：]?)$",
    re.MULTILINE,
)
_REPR = re.compile(  # of an object around a quoted text: the class, the names of its fields, what stands beside it
    r"\[?\b[A-Z]\w{1,40}\((?:\w{1,40}=[^,()'\"\n]{1,60}, ?)*\w{1,40}=['\"]"
    r"|['\"](?:, ?\w{1,40}=(?:\{[^{}\n]{0,600}\}|'[^'\n]{0,120}'|[^,()'\"\n]{1,60}))*\)(?:\]|,(?= ?[A-Z]\w{1,40}\()|$)",
    re.MULTILINE,
)
_ALIGNED = re.compile(  # of a form or a bill set with spaces: a named value in a column, an amount that ends a row
    r"(?<=\S {3}) {0,80}[^\W\d_][\w .]{0,30}: ?[^\n]{1,60}$|(?<=  )-?\d{1,3}(?:[., ]\d{3}){0,4}[.,]\d{2}$", re.MULTILINE
)
_FROM = re.compile(
    r"\((?:[^()\n]{1,40} )?(?:[\w.~/-]{1,150}\.[a-z]\w{1,4}|https?://[^\s()]{1,300})\)", re.IGNORECASE
)  # a text's file, behind it
_COLUMNS = re.compile(  # of a table that stands apart from its rows
    r"[\"'](?:columns?|fields|headers?|column_?names|index|labels)[\"']\s?:\s?[\[(][^\[\]()]{1,4000}[\])]",
    re.IGNORECASE,
)
_TAGGED = re.compile(r"<([A-Za-z_][\w.:-]{0,60})>\s{0,9}[^<>\n]{1,80}?\s{0,9}</\1>")  # a value in a tag of its own
_POST = re.compile(
    r"[(\[#]\d{1,4}[)\].]? ?@?[^\W\d_][^\n:：()\[\]]{1,40}[:：]"
)  # the number and the name of who wrote it
_BULLET = re.compile(r"^[ \t]{0,8}[-*•] (?=[^\n]{80})", re.MULTILINE)  # of an item that is a text of its own
_JOINTS = (";", "|", "•", "¶", "---", "***", "###", "===")
_JOINT = re.compile(r"(?:[;|•¶]|[-*#=]{3}) ?(?=[¿¡\"'«“]?[A-ZÀ-ÞΑ-ΩА-Я][^\W\d_]{0,20} )")
_TAG = re.compile(r"</?[A-Za-z_][\w.:-]{0,60}(?:\s[^<>\n]{0,200})?/?>")
_QUESTION = re.compile(r"(?:^|(?<=[.!?。！？\n]))[^.!?。！？؟\n]{2,300}[?？؟]", re.MULTILINE)
_GAP = re.compile(r"\S {2,}(?=\S)")
_CELLS = re.compile(r"\"?\d{1,6}\"?[,;|\t](?: ?[^,;|\t\n]{1,60}[,;|\t])?")
_FIGURES = re.compile(r"\d+")
_FENCE = re.compile(r"^[ \t]*```[^\n]{0,80}\n", re.MULTILINE)
_LEVELS = "DEBUG|INFO|NOTICE|WARN|ERROR|CRITICAL|FATAL|TRACE|SEVERE"
_TIMED = (  # a date or a time in any form, with brackets or without; of a chat, not of a log with its levels
    r"(?>(?:[\[(<{](?=[^\n]{0,40}\d[:.h]\d\d)[^\[\](){}<>\n]{4,50}[\])>}]"
    r"|\d{1,2}\.? [^\W\d_]{3,10}\.?,? \d{4},? ?(?:[^\W\d_]{1,4} )?\d{1,2}[:.h]\d\d(?::\d\d)?"
    r"|(?=\d{1,4}[-/.:h]\d)[\d:./h, TZ+-]{4,24}(?: ?[apAP]\.?[mM]\.?(?=\W))?)[ \t|,–—-]{0,4})"
    rf"(?!(?:{_LEVELS}))"
)
_NAMED = r"(?:@[\w.-]{1,40}|[^\W\d_a-z][\w .'’()-]{0,40}?|user|human|assistant|system|ai|bot|agent|customer)"
_SPEAKER = re.compile(rf"^[ \t>*-]{{0,4}}{_NAMED}(?:\*\*)?[ ]?(?:[:：](?=\s|[^\x00-\x7f])|[>›»](?=\s))", re.MULTILINE)
_TIMED_SPEAKER = re.compile(
    rf"^[ \t>*-]{{0,4}}(?:{_TIMED}(?:\*\*)?(?:<[^<>\n]{{1,40}}>|(?:{_NAMED}|[^\W\d_][\w.'’-]{{0,20}})(?:\*\*)?"
    r" ?(?:[:：](?:\*\*)?(?=\s|[^\x00-\x7f])|[>›»|](?=\s)|$))"
    r"|<[^\W\d_][^<>\n=/]{0,40}>(?= \w)(?![^\n]{0,200}</)"
    r"|[@*]{0,2}[^\W\d_][\w .'’-]{0,40}?[*]{0,2}[ ,|–—-]{1,4}[\[(]?(?=[^\n]{0,20}\d[:.h]\d\d)\d[\d:./, -]{3,24}"
    r"(?: ?[apAP]\.?[mM]\.?)?[\])]?(?:$|[:：>](?=\s)))",
    re.MULTILINE,
)
_CLOCK = re.compile(r"\d[:.h]\d\d")
_OWN_LABEL = re.compile(  # the name of who speaks, where a message or a text begins
    r"\s{0,9}(?:[\[<(]{1,2}[^\W\d_][\w .'’-]{0,30}[\]>)]{1,2}[:：]?(?=\s)"
    r"|[*_@]{0,3}[^\W\d_][\w .'’()-]{0,30}[*_]{0,3}(?:[:：][*_]{0,3}(?=\s|[^\x00-\x7f])|>(?=\s)))"
)
_PARAGRAPH_LABEL = re.compile(r"\n\n[*_@]{0,3}[^\W\d_a-z][\w .'’-]{0,30}[*_]{0,3}[:：](?=\s|[^\x00-\x7f])")
_SIGNS = "`\"'«»“”„‟‘’‚‹›「」『』《》"
_MARKER = re.compile(  # a line that is an identifier, or begins with two signs, or stands in brackets
    r"[ \t]{0,8}(?:_{2}\w{1,60}|[A-Za-z][A-Za-z0-9]{0,30}(?:[_-][A-Za-z0-9]{1,30}){2,8}|[A-Z]{2,30}_[A-Z0-9_]{1,40}"
    r"|[A-Z][a-z]{1,20}(?:[A-Z][a-z0-9]{1,20}){2,5}|#\w{1,40}|\\\w{1,20}(?:[{\[][^\n]{0,60}[}\]])?"
    r"|(?!</|\*\* )[^\w\s\"'(\[«“‘¿¡.…├└│]{2}[^\n]{0,80}(?<![.!?;,])"
    r"|[\[{(]{1,3}[^\[\]{}()\"'\n]{1,60}[\]})]{1,3}(?: ?\([^()\n]{1,80}\))?)[:：]?\s{0,4}$"
)
_ALARM = re.compile(  # "\n" ends a line, and so do the two characters that stand for it in JSON
    r"(?:^|(?<=\\n))(?:(?:[^\\\n]|\\(?!n)){0,200}?\b)??(?:\w{0,40}error|\w{0,40}exception"
    r"|exit (?:code|status) [1-9]\d{0,2}|warn|warning|fatal|critical|panic|fail|failed|failure|kill|killed"
    r"|out of memory|oom\w{0,8}|denied|refused|time[d ]?out)\b.{0,400}?(?:$|(?=\\n))"
    r"|[\"']\w{0,20}(?:error|exit_?code|reason|failure|exception)\w{0,12}[\"']\s?:\s?(?![\"']{2}|null|none|false|0\b)"
    r"(?:[\"'][^\"'\n]{1,300}[\"']|\w{1,20})",
    re.MULTILINE | re.IGNORECASE,
)
_ALARMS = (  # one of them stands in every match
    *("error", "exception", "exit", "fatal", "warn", "critical", "panic", "fail", "kill", "out of memory", "oom"),
    *("denied", "refused", "timeout", "time out", "timed", "reason"),
)

_ENDS = ("", ".", "!", "?", ",", ";", "。", "…")
_SAYS = (":", "：", ">", "›", "»")
_COLONS = (":", "：", "=")
_Gated = tuple[re.Pattern[str], tuple[str, ...]]
# Each with what stands in every text that it matches: to look for that first is many times faster.
_ALWAYS: tuple[_Gated, ...] = (
    (_ADDRESS, ("://", "@", "www.", "WWW.")),
    (_ID, tuple("0123456789")),
    (_CITATION, ("[", "【", "#", "〔", "［")),
    (_SOURCE, ("(",)),
    (_TARGET, ("](",)),
    (_NOTE, ("（", "{", "^", "<<", "<@", "<#", *"⁽⁰¹²³⁴⁵⁶⁷⁸⁹‹⟦＜《〈〖①②❶❷")),
    (_NUMBERED_ROW, ("|",)),
    (_KEYED, ('"', "'")),
    (_COLUMNS, ('": [', "': [", '":[', "':[", "': (")),
    (_HEADER, _COLONS),
    (_RECORD, _COLONS),
    (_REPR, ("='", '="')),
    (_RULE, ("--", "==", "**", "__", "##", "~~", "++", "──", "━━", "══", "<<", "[[")),
)
_IN_TEXT: tuple[_Gated, ...] = (
    (_ALIGNED, ("   ",)),
    (_FROM, (")",)),
    (_POST, ("(", "[", "#")),
    (_BULLET, ("- ", "* ", "• ")),
    (_PARAGRAPH_LABEL, ("\n\n",)),
    (_HEADING, ("#", "*", ">", *_COLONS)),
    (_CLAUSE, (*"0123456789", "(", "第", "§", "I", "V", "X")),
)

_IN_PROSE = tuple(
    (p, frozenset(n for n in needles if len(n) == 1), tuple(n for n in needles if len(n) > 1))
    for p, needles in (*_ALWAYS, *_IN_TEXT)
)
_IN_CODE = _IN_PROSE[: len(_ALWAYS)]


def holes(text: str, *, code: bool) -> Iterator[Span]:
    """What stays inside of a text, as spans; unordered, they may overlap. `code`: it is source code or a diff."""
    signs = set(text)
    for pattern, single, longer in _IN_CODE if code else _IN_PROSE:
        if not single.isdisjoint(signs) or any(map(text.__contains__, longer)):
            yield from _matches(pattern, text)
    if not code:
        yield from _fenced(text)
        yield from _joints(text)
        yield from _markers(text)
        asked = list(_matches(_QUESTION, text)) if any(mark in text for mark in "?？؟") else []
        if len(asked) <= _FEW_QUESTIONS:  # more of them are a list of questions and answers, or a chat
            yield from asked
    yield from _column_names(text, code)
    yield from _edges(text, "`" if code else _SIGNS)
    tags = list(_matches(_TAG, text)) if "<" in text else []
    if len(tags) <= _FEW_TAGS:  # more of them are a page of HTML
        yield from tags
        yield from _matches(_TAGGED, text) if tags else ()
    yield from _of_lines(text, code)


def _joints(text: str) -> list[Span]:
    """The marks that join texts into one: the same few signs between sentences, again and again, far apart."""
    if max(map(text.count, _JOINTS)) < _SEVERAL:
        return []
    found = list(_matches(_JOINT, text))
    return found if len(found) >= _SEVERAL and len(text) >= _JOINED * len(found) else []


def _of_lines(text: str, code: bool) -> Iterator[Span]:
    """The rare lines of a log, which are what it is read for; the names of those who speak."""
    rows = text.count("\n") + text.count("\\n") + 1  # a log may stand in a JSON string
    low = text.lower() if rows >= _FEW_ROWS else ""
    alarms = list(_matches(_ALARM, text)) if any(map(low.__contains__, _ALARMS)) else []
    if len(alarms) <= max(2, 0.2 * rows):
        yield from alarms
    names = list(_matches(_SPEAKER, text)) if any(map(text.__contains__, _SAYS)) else []
    if len(names) >= 0.5 * text.count("\n") + 0.5:
        yield from names
    if not code and ("<" in text or _CLOCK.search(text)):
        timed = list(_matches(_TIMED_SPEAKER, text))
        yield from timed if len(timed) >= min(_SEVERAL, 0.5 * rows) else ()


def _edges(text: str, signs: str) -> Iterator[Span]:
    """The name before which a text begins; the quoting signs at its ends, which may belong to what stands around it."""
    if signs == _SIGNS and (label := _OWN_LABEL.match(text[:80])):
        yield label.span()
    opened = len(text) - len(text.lstrip(signs))
    closed = len(text.rstrip(signs))
    if opened:
        yield 0, opened
    if closed < len(text):
        yield closed, len(text)


def _markers(text: str) -> Iterator[Span]:
    """The lines that only mark where something begins or ends, and the short line before and behind each, which says
    what it is."""
    rows = list(accumulate((len(row) + 1 for row in text.split("\n")), initial=0))
    found = [(a, b - 1) for a, b in pairwise(rows) if 2 < b - a <= _TITLE and _MARKER.match(text[a : b - 1])]
    yield from found
    if len(found) > _OFTEN * text.count("\n"):
        return
    for a, b in found:
        begins = text.rfind("\n", max(0, a - _TITLE), max(0, a - 1)) + 1
        for c, d in ((begins, a - 1), (b + 1, text.find("\n", b + 1, b + _TITLE))):
            if 0 < d - c <= _TITLE and "|" not in text[c:d] and text[c:d].strip()[-1:] not in _ENDS:
                yield c, d


def openers(texts: Sequence[str]) -> list[tuple[Span, ...]]:
    """The lines that documents of one context share at their beginning or at their end ("From X:", "Page 3 of ..."),
    by document: what most of them begin with is a mark, not text."""
    first = [_until_colon(text, *_line(text, first=True)) for text in texts]
    last = [_line(text, first=False) for text in texts]
    return [(*a, *b) for a, b in zip(_alike(texts, first), _alike(texts, last), strict=True)]


def _alike(texts: Sequence[str], edges: list[Span]) -> Iterator[tuple[Span, ...]]:
    """The edges that stand in two texts, figures aside, or of which most begin with the same word."""
    looks = [_look(text[a : min(b, a + 300)]) for text, (a, b) in zip(texts, edges, strict=True)]
    words = [look.partition(" ")[0] for look in looks]
    whole, one = Counter(looks), Counter(words)
    for text, (a, b), look, word in zip(texts, edges, looks, words, strict=True):
        common = whole[look] > 1 or one[word] >= max(3, 0.6 * len(texts))
        yield ((a, b),) if common and b - a <= 250 and b - a < len(text) else ()


def _look(line: str) -> str:
    return _FIGURES.sub("0", _TAG.sub("", line)).strip().casefold()


def _until_colon(text: str, a: int, b: int) -> Span:
    colon = text.find(":", a, min(b, a + 200))
    return a, colon + 1 if colon > 0 else b


def _line(text: str, *, first: bool) -> Span:
    if first:
        end = text.find("\n")
        return 0, end if end >= 0 else len(text)
    return text.rfind("\n") + 1, len(text)


def _column_names(text: str, code: bool) -> Iterator[Span]:
    """The first row of each table, and the rule below it; the first cells of a row that stands alone."""
    if "\n" not in text:
        if not code and (row := _CELLS.match(text)):
            yield row.span()
        return
    rows = [row.strip() for row in text.split("\n")]
    first = next((i for i, row in enumerate(rows) if row), 0)
    for mark in ("|", "\t", ";", ","):
        if text.count(mark) >= 2 * _FEWEST_CELLS:
            head = first + 1 if code and mark == "," else len(rows)  # code is full of commas
            yield from _heads(text, rows[: head + _BELOW], mark, head)
    gaps = len(_GAP.findall(rows[first][:_LONGEST_ROW]))
    second = rows[first + 1][:_LONGEST_ROW] if first + 1 < len(rows) and not code else ""
    if gaps >= 2 and len(_GAP.findall(second)) >= gaps - 1:
        yield 0, text.find(rows[first]) + len(rows[first])


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _heads(text: str, rows: Sequence[str], mark: str, head: int) -> Iterator[Span]:
    """The rows, of the first `head`, with which tables begin of which this mark parts the cells."""
    counts = [row.count(mark) for row in rows]
    at = 0
    for i, (row, cells) in enumerate(zip(rows[:head], counts, strict=False)):
        end = _line_end(text, at)
        if cells >= _FEWEST_CELLS and row[-1] not in ".:" and (i == 0 or counts[i - 1] < _FEWEST_CELLS):
            below = counts[i + 1 : i + 1 + _BELOW]
            strictly = mark == "," and any(rows[:i])  # lines of prose have commas too
            alike = below[:2].count(cells) == len(below[:2]) > 0 if strictly else max(below, default=0) >= cells
            if alike and len(row) <= _CELL * (cells + 1):
                ruled = i + 1 < len(rows) and rows[i + 1] and not any(c.isalnum() for c in rows[i + 1])
                yield at, _line_end(text, end + 1) if ruled else end
        at = end + 1


def _fenced(text: str) -> Iterator[Span]:
    if "```" not in text:
        return
    fences = list(_matches(_FENCE, text + "\n"))
    for opening, closing in zip(fences[::2], fences[1::2], strict=False):
        yield opening[0], closing[1]
    if len(fences) % 2:
        yield fences[-1][0], len(text)


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """Matches of a pattern, window by window: `re` holds the interpreter, so that no single call may be long."""
    position = 0
    for start in range(0, len(text), _WINDOW):
        stop = start + _WINDOW
        for match in pattern.finditer(text, max(start, position), min(len(text), stop + _OVERLAP)):
            if match.start() >= stop:
                break
            yield match.span()
            position = match.end()


def outside(spans: Iterable[Span], text: str) -> Iterator[Span]:
    """The stretches between spans that hold more than white space."""
    start = 0
    for a, b in [*sorted(spans), (len(text), len(text))]:
        if a > start and text[start:a].strip():
            yield start, a
        start = max(start, b)
