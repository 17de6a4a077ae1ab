"""On which line each key of a TOML file stands: tomllib keeps no positions.

The text must have passed tomllib before, so the scanner may be lax: it splits the text into strings, comments,
punctuation and words, and follows headers, keys, arrays and inline tables just as far as the paths need it.
"""

import re
import tomllib
from collections.abc import Mapping

from policies.tables import Path

_TOKEN = re.compile(
    r'''(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|'[^']*')'''
    r"|(?P<comment>\#[^\n]*)|(?P<mark>[\[\]{}=,.\n])|(?P<word>[^\s\[\]{}=,.\#\"']+)",
    re.DOTALL,
)


def lines(text: str) -> dict[Path, int]:
    """Path -> line (from 1) of every table, key and list element in a valid TOML text."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


def line_of(path: Path, known: Mapping[Path, int]) -> int | None:
    """The line of a key, or of the nearest table around it that is written down. None: nothing around it is."""
    return next((known[path[:n]] for n in range(len(path), 0, -1) if path[:n] in known), None)


class _Scanner:
    """Walks the tokens once. `_tables` counts the elements of each array of tables that headers have opened."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, int]] = []
        self._at = 0
        self._found: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}
        line, end = 1, 0
        for token in _TOKEN.finditer(text):
            line += text.count("\n", end, token.start())
            end = token.start()
            if token.lastgroup != "comment":
                self._tokens.append((token.group(), line))

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip_lines():
            if self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _header(self) -> Path:
        line = self._tokens[self._at][1]
        double = self._tokens[self._at + 1][0] == "["
        self._at += 2 if double else 1
        names = self._key("]")
        self._at += 1 if double else 0
        path: Path = ()
        for name in names[:-1]:
            path = self._inside((*path, name), line)
        path = (*path, names[-1])
        if double:
            self._tables[path] = self._tables.get(path, 0) + 1
        path = self._inside(path, line)
        self._found[path] = line
        return path

    def _inside(self, path: Path, line: int) -> Path:
        self._found.setdefault(path, line)
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        line = self._tokens[self._at][1]
        path = table
        for name in self._key("="):
            path = (*path, name)
            self._found.setdefault(path, line)
        self._value(path)

    def _key(self, end: str) -> list[str]:
        """The names of a dotted key; steps over the mark that ends it."""
        names = []
        while (token := self._take()) != end:
            if token != ".":
                names.append(tomllib.loads(f"k = {token}")["k"] if token[0] in "\"'" else token)
        return names

    def _value(self, path: Path) -> None:
        opening = self._peek()
        if opening in ("[", "{"):
            self._at += 1
            self._members(path, "]" if opening == "[" else "}")
        else:
            while self._at < len(self._tokens) and self._peek() not in ("\n", ",", "]", "}"):
                self._at += 1

    def _members(self, path: Path, end: str) -> None:
        index = 0
        while self._skip_lines() and self._peek() != end:
            if self._peek() == ",":
                self._at += 1
                index += 1
            elif end == "}":
                self._pair(path)
            else:
                self._found[(*path, index)] = self._tokens[self._at][1]
                self._value((*path, index))
        self._at += 1

    def _skip_lines(self) -> bool:
        while self._at < len(self._tokens) and self._peek() == "\n":
            self._at += 1
        return self._at < len(self._tokens)

    def _peek(self) -> str:
        return self._tokens[self._at][0]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][0]
