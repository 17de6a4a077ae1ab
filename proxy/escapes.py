"""Escapes of JSON within texts: taken away, so that words begin and end where they do, and put back. Pure."""

import re

_ESCAPE = re.compile(r"(?<!\\)\\++(?:u([0-9a-fA-F]{4})|([nrtbf\"'/]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " "}


def unescaped(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text with the character in the place of each escape of JSON, and where in it which escape was. Backslashes
    before one are part of it: JSON within JSON escapes escapes."""
    parts: list[str] = []
    escapes: list[tuple[int, str]] = []
    at = length = 0
    for match in _ESCAPE.finditer(text) if "\\" in text else ():
        length += match.start() - at
        parts += (text[at : match.start()], chr(int(match[1], 16)) if match[1] else _ESCAPED.get(match[2], match[2]))
        escapes.append((length, match[0]))
        at, length = match.end(), length + 1
    return "".join((*parts, text[at:])), escapes


def escaped(plain: str, redacted: str, escapes: list[tuple[int, str]]) -> str:
    """`redacted`, as long as `plain`, with the escapes of all characters that have not become others."""
    parts: list[str] = []
    at = 0
    for place, escape in escapes:
        parts += (redacted[at:place], escape if redacted[place] == plain[place] else redacted[place])
        at = place + 1
    return "".join((*parts, redacted[at:]))
