"""What a stretch of lines looks like: a table, a log, a transcript, JSON, code, a diff, a numbered view of a file."""

import re

from proxy.segmentation import labels
from proxy.segmentation.labels import Meaning

_STAMP = re.compile(r"\d{1,4}[-/.:]\d{1,2}[-/.:]\d{1,4}|\b\d{1,2}:\d{2}\b")
_CLOCK = r"(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?[\])]?\s*[-–]?\s*)?"
_SPEAKER = re.compile(_CLOCK + r"(?:\*\*)?[^\W\d_][\w .'’()-]{0,40}?(?:\*\*)?\s?(?:：|:(?=\s|[^\x00-\x7f]))")
_WORDS_OF_CODE = (
    "import|from|def|class|return|if|for|while|else|elif|try|except|finally|with|async|await|const|let|var|function"
    "|public|private|static|void|package|use|fn|impl|struct|enum|export|switch|case"
)
_LANGUAGE_NAMES = """
    bash sh zsh fish bat powershell ps1 perl pl awk python py ipython ruby rb lua r julia matlab octave vba vb
    javascript js jsx typescript ts tsx vue svelte java kotlin kt scala groovy swift c h cpp c++ cc hpp csharp cs c#
    go golang rust rs zig dart php haskell hs elixir ex erlang clojure clj lisp ocaml fsharp fortran cobol pascal
    delphi ada asm solidity makefile dockerfile terraform hcl nix css scss"""
_LANGUAGES = frozenset(_LANGUAGE_NAMES.split())
_KEYWORD = re.compile(rf"(?:{_WORDS_OF_CODE})\b")
_CODE = re.compile(
    rf"(?:{_WORDS_OF_CODE}|#include|SELECT|CREATE|INSERT|@\w|//|/\*|\*/|⋮|\d+[:|\t])\b"
    r"|.*[{;(]$|[)\]}]+[;,:]?$|[\w.]+ = |[\w.]{1,60}\(.*\)$"
)
_SURELY_CODE = re.compile(
    r"(?:class|def|func|fn|function|interface|struct|impl|module) [\w.]+"
    r"|(?:import|from|using|package|#include|require) [\w.\"<{*/]+( import .*|;|\"|>)?$"
    r"|(?:public|private|protected|export|const|let|var|static|async) [\w<]"
    r"|@\w+(?:\(|$)|.{2,}(?:\) ?\{|\);|\):)$"
)
_DIFF = re.compile(r"diff --git |@@ |\+\+\+ |--- |index [0-9a-f]{4}|[+-](?=\S|\s{2})")
_NODE = re.compile(r"(?:[-*+|├└─ ]{1,8})?\[[\w:.-]{1,12}\] ?[^\W\d_]")
_NUMBERED = re.compile(r"\d{1,6}(?:[:|│→]|\t|\s{2})")
_FILE_NAME = re.compile(r"\.[A-Za-z]\w{1,4}$")
_LETTERS = re.compile(r"[^\W\d_]+")
_DIGITS = re.compile(r"[\d ]*\d")


_PROSE = 200  # characters of a row, on average, from which it is a paragraph
_RECORDS = 8  # rows of a log, at least
_NODES = 8  # rows of the tree of a page, at least


def rows_of(text: str) -> list[str]:
    """Up to 80 lines that are not blank, from the beginning and the end, without margins."""
    ends = text if len(text) <= 6000 else text[:3000] + "\n" + text[-3000:]
    rows = [r for r in (line.strip(" \t│") for line in ends.split("\n")) if r]
    return rows if len(rows) <= 80 else rows[:40] + rows[-40:]


def _share(pattern: re.Pattern[str], rows: list[str]) -> float:
    return sum(1 for row in rows if pattern.match(row[:160])) / len(rows)


def transcript(rows: list[str]) -> bool:
    """Whether most lines begin with the name of somebody who speaks."""
    if len(rows) < 3 or _share(_SPEAKER, rows) < 0.6:
        return False
    names = {m.group().strip(" :：*") for row in rows if (m := _SPEAKER.match(row[:160]))}
    people = [n for n in names if labels.meaning(n) in (None, Meaning.SPEAKER) and not _FILE_NAME.search(n)]
    return len(people) >= 0.6 * len(names)


def _tabular(rows: list[str]) -> bool:
    for mark in (",", ";", "\t", "|"):
        counts = [row[:2000].count(mark) for row in rows]
        usual = max(set(counts), key=counts.count)
        if usual >= 2 and counts.count(usual) >= 0.7 * len(rows):
            return not _paragraphs(rows)
    return False


def _paragraphs(rows: list[str]) -> bool:
    """Whether the rows are paragraphs: long, and most of them end as a sentence does."""
    ended = sum(1 for row in rows if row.rstrip("\"'”’»」)")[-1:] in (".", "!", "?", "。"))
    return ended >= 0.6 * len(rows) and sum(map(len, rows)) >= _PROSE * len(rows)


def _alike(rows: list[str]) -> bool:
    """Whether most rows begin with the same pattern of letters, digits and punctuation, as records of a log do."""
    if len(rows) < _RECORDS:
        return False
    looks = [_LETTERS.sub("a", _DIGITS.sub("0", row[:24])) for row in rows]
    usual = max(set(looks), key=looks.count)
    plain = usual.replace("a", "").replace(" ", "") in ("", ",") or usual[0] in "-*•>#0"
    alike = not plain and looks.count(usual) >= 0.5 * len(rows)
    return alike and not (usual[0] in "[(【" and _paragraphs(rows))


def language(title: str) -> bool:
    """Whether what stands behind the ticks of a fence is the name of a programming language."""
    return title[:20].casefold() in _LANGUAGES


def keyword(line: str) -> bool:
    """Whether a line starts with a word of a programming language."""
    return bool(_KEYWORD.match(line))


def code(rows: list[str]) -> bool:
    """Whether it is source code or a diff."""
    if len(rows) < 3:
        return False
    if rows[0].startswith(("#!", "<?php", "#include ")):
        return True
    surely = sum(1 for row in rows if _SURELY_CODE.match(row[:160]))
    return _share(_CODE, rows) >= 0.35 or surely >= max(3, 0.12 * len(rows)) or _diff(rows)


def _diff(rows: list[str]) -> bool:
    return rows[0].startswith(("diff --git", "--- ", "@@ ", "commit ")) and _share(_DIFF, rows) >= 0.2


def patch(text: str) -> bool:
    """Whether a whole text is a diff, whatever blank lines it has."""
    if not text.startswith(("diff --git ", "--- ", "@@ -", "Index: ")) or "\n@@ " not in text:
        return False
    rows = [row for row in text[-6000:].split("\n")[1:] if row.strip()]
    return sum(1 for row in rows if row[0] in "+- @\\\t" or row.startswith(("diff --git ", "index "))) >= 0.9 * len(
        rows
    )


def jsonlike(text: str) -> bool:
    """Whether it looks like JSON, JSON lines or the repr of a list or dict."""
    inside = text[1:200].lstrip()[:1]
    framed = text[:1] in ("[", "{") and text[-1:] in ("]", "}") and inside in ("{", "[", '"', "'")
    read = text[:2000] + text[-200:]
    return framed and read.count('"') + read.count("'") >= 4


def tree(rows: list[str]) -> bool:
    """Whether it is the tree of a page: short rows, most of which begin with an id in brackets and a role."""
    return len(rows) >= _NODES and sum(map(len, rows)) < 90 * len(rows) and _share(_NODE, rows) >= 0.7


def quoted(rows: list[str]) -> bool:
    """Whether it is quoted from another mail."""
    return len(rows) >= 2 and rows[-1][0] == ">" and sum(1 for row in rows if row[0] == ">") >= 0.6 * len(rows)


def data(text: str) -> bool:
    """Whether it is machine-made: rows of a table, a log, a trace, a transcript, JSON, code, HTML."""
    head = text[:300].lstrip().casefold()
    if jsonlike(text) or head.startswith(("<!doctype", "<html")) or "traceback (most recent" in head:
        return True
    rows = rows_of(text)
    if quoted(rows):
        return True
    if len(rows) < 4:
        return False
    stamped = sum(1 for row in rows if _STAMP.search(row[:80])) >= 0.7 * len(rows)
    numbered = _share(_NUMBERED, rows) >= 0.7
    return stamped or numbered or tree(rows) or _alike(rows) or _tabular(rows) or transcript(rows) or code(rows)
