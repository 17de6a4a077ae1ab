"""What a recorded request must not tell: pure, from a decoded body to one with stand-ins in it.

E-mail and IP addresses, phone, card and account numbers, long runs of digits, keys, tokens, and what stands in URLs
before the host and in the query become others of the same shape, so that compression treats them alike: digits become
digits, vowels vowels, other letters letters of the same case, the rest stays. Within a body the same value has the same
stand-in; from one body to the next it has another. Names of people and places cannot be found with any certainty, and
stay: a redacted recording is still to be kept like the prompts it was made from.
"""

import random
import re
import string
from collections.abc import Callable
from typing import Any

from proxy.escapes import escaped, unescaped

DROPPED = ("user", "metadata", "safety_identifier", "prompt_cache_key")
"""Fields of a body that name a person and say nothing about its text."""
STRUCTURAL = frozenset(("role", "type", "model", "$ref", "format", "detail", "effort"))
"""Keys whose values are words of the API."""
BINARY = frozenset(("data", "file_data"))
_LINE = 4000  # characters that are looked at in one go: searching holds the interpreter
_AHEAD = 2100  # characters behind those that a value may reach into

_SUSPECT = re.compile(
    r"\d|@|://|::|pass|pwd|secret|token|key|credential|authorization|bearer|cookie|session|(?<!\S)-u\b|akia|asia|aiza|eyj"
    r"|\b(?:sk|pk|rk|gh[opsu]|hf|npm)[-_]",
    re.IGNORECASE,
)
"""A line without any of this has nothing to hide."""
_URL = r"(?P<url>\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s\"'<>`\\]+)"
_LABEL = (
    r"[\w-]{0,20}(?:passw(?:or)?d|passphrase|passwd|pwd|secret|token|authorization|credentials?|session(?:[_-]?id)?"
    r"|(?:api|access|account|private|secret|shared|signing|encryption|master|auth)[_-]?key)|(?:[\w-]{0,20}[_-])?pass"
)
_REST = (
    r"(?P<email>(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+)",
    r"(?P<named>(?i:\b(?:" + _LABEL + r")[\"'\\]{0,3}\s{0,8}[:=]>?\s{0,8}[\"'\\]{0,3}(?:(?:bearer|basic)\s)?|\bbearer\s"
    r"|(?<=--)(?:" + _LABEL + r")\s{1,8}[\"']?|(?<!\S)(?:-u|--user)[\s=]{1,8}[\"']?[^\s:\"'/]{1,64}:))"
    r"(?P<value>(?![\[{]*(?:true|false|null)\b)[^\s\"',;<>]{6,})",
    r"(?P<cookies>(?i:\bcookie[\"']{0,2}\s{0,8}[:=]\s{0,8}[\"']?)[\w.-]{1,64}=)"
    r"(?P<baked>[^\s\"'<>;]+(?:; ?[^\s\"'<>;]+)*)",
    r"(?P<prefixed>\b(?:sk|pk|rk|gh[opsu]|github_pat|glpat|xox[abeprs]|hf|npm)[-_][\w-]{12,}"
    r"|\b(?:AKIA|ASIA|AIza|ya29|eyJ)[\w.-]{12,})",
    r"(?P<uuid>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b)",
    r"(?P<iban>\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b)",
    r"(?P<ipv6>(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:])"
    r"|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){0,6}(?:[0-9a-fA-F]{1,4})?::(?:[0-9a-fA-F]{1,4}:){0,6}[0-9a-fA-F]{1,4}(?![\w:]))",
    r"(?P<ipv4>(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d))",
    r"(?P<card>(?<![\d.])\d(?:[ -]?\d){12,18}(?!\d))",
    r"(?P<social>(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-]))",
    r"(?P<phone>(?<![\w.])(?:\+\d[\d ().\-/]{6,18}\d|(?:\(\d{3}\)[ .-]?|\d{3}[ .-])\d{3}[ .-]\d{4}"
    r"|(?!\d\d?[-/. ]\d\d?[-/. ]\d{2,4}(?!\d))\(?0\d{1,4}\)?[ /.-]\d[\d \-/]{4,12}\d)(?!\w))",
    r"(?P<token>[A-Za-z0-9+/_-]{20,}={0,2})",
    r"(?P<digits>[A-Za-z]{0,19}\d{8,})",
)
_START = (  # what stops most words at once, or else searching would take three times as long
    r"(?<![A-Za-z0-9])(?=\S{0,300}?[\d@:=_-]|(?i:\w{0,20}(?:pass|pwd|secret|key|token|cred|authorization|session)"
    r"|bearer|cookie|akia|asia|eyj))(?:"
)
_IN_URL = re.compile(_START + "|".join(_REST) + ")")
_ANY = re.compile(_START + "|".join((_URL, *_REST)) + ")")
_DIGITS = re.compile(r"\d{8,}")
_BEYOND = re.compile(r"[\w+/=.%-]{1,4000}")
"""What is left of a value that is longer than could be looked at in one go."""
_PEM = re.compile(r"(-----BEGIN [A-Z0-9 ]{3,40}-----)((?:[^-]|-(?!----))*+(?=-----END)|(?:\s*[A-Za-z0-9+/=]{20,})++)")
_CREDENTIALS = re.compile(r"(.*?://)(?:([^/?#\s]+)(?=@))?(.*)", re.DOTALL)
_QUERY = re.compile(r"(?<==)[^&\s#]+")
_DATA_URL = re.compile(r"\s*data:[\w/+.;=-]{0,100},")
_HEX = re.compile(r"[0-9a-fA-F\W]*")
_WORDS = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}")


def redact(body: dict[str, Any], pause: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """The body without `DROPPED`, and with stand-ins for what is listed above. `pause` is called now and then:
    searching holds the interpreter, about 0.5 ms from one call to the next."""
    return _Redaction(pause).body(without_names(body))


def without_names(body: dict[str, Any]) -> dict[str, Any]:
    """The body without `DROPPED`."""
    return {key: value for key, value in body.items() if key not in DROPPED}


class _Redaction:
    """Stand-ins of one body. They are drawn at random and nowhere kept: no way leads back."""

    def __init__(self, pause: Callable[[], object]) -> None:
        self._pause = pause
        self._searched = 0  # characters since the last pause
        self._stand_ins: dict[str, str] = {}
        self._random = random.SystemRandom()

    def body(self, body: dict[str, Any]) -> dict[str, Any]:
        messages = body.get("messages")
        for message in messages if isinstance(messages, list) else []:
            if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("name"), str):
                self._stand_in(message["name"])  # asked for here, it stands wherever that value stands alone
        redacted: dict[str, Any] = self._value(body)
        return redacted

    def _value(self, value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            if key in BINARY:
                return "AAAA"
            return value if key in STRUCTURAL else self._stand_ins.get(value) or self._text(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            return {name: self._value(item, name) for name, item in value.items()}
        return value

    def _text(self, text: str) -> str:
        if data := _DATA_URL.match(text):
            return data[0] + "AAAA"
        plain, escapes = unescaped(text)
        whole = _PEM.sub(lambda found: found[1] + self._stand_in(found[2]), plain) if "-----BEGIN" in plain else plain
        redacted = "".join(map(self._line, whole.splitlines(True)))
        return escaped(plain, redacted, escapes)

    def _line(self, line: str) -> str:
        """Some thousand characters at a time; what begins within them is seen to its end."""
        parts: list[str] = []
        at, within = 0, False  # within a value
        while at < len(line):
            if within and (beyond := _BEYOND.match(line, at)):
                parts.append(self._stand_in(beyond[0]))
                at = self._paused(at, beyond.end())
                continue
            end = min(at + _LINE, len(line))
            seen = min(end + _AHEAD, len(line))
            found = self._piece(line, (at, end, seen), parts)
            within = found == seen
            at = self._paused(at, found)
        return "".join(parts)

    def _paused(self, at: int, to: int) -> int:
        self._searched += to - at
        if self._searched >= _LINE:
            self._searched = 0
            self._pause()
        return to

    def _piece(self, line: str, where: tuple[int, int, int], parts: list[str]) -> int:
        """Up to where it was redacted: all that begins in `at` to `end`, while `seen` limits what is looked at."""
        at, end, seen = where
        if _SUSPECT.search(line, at, seen):
            for match in _ANY.finditer(line, at, seen):
                if match.start() >= end:
                    break
                parts += (line[at : match.start()], self._found(match))
                at = match.end()
        parts.append(line[at:end])
        return max(at, end)

    def _found(self, match: re.Match[str]) -> str:
        kind, value = match.lastgroup, match[0]
        if kind == "value":  # the last group of `named`
            return match["named"] + self._stand_in(match["value"])
        if kind == "baked":
            return match["cookies"] + self._stand_in(match["baked"])
        if kind == "url":
            return self._url(value)
        if kind == "email":
            name, dot, ending = value.rpartition(".")
            return self._stand_in(name) + dot + ending
        if kind == "digits":
            return self._digits(value)
        if kind == "iban":
            length = next((n for n in range(len(value), 14, -1) if _is_iban(value[:n])), 0)
            return self._stand_in(value[:length]) + self._digits(value[length:]) if length else self._digits(value)
        if (kind == "card" and not _luhn(value)) or (kind == "token" and not _is_secret(value)):
            return self._digits(value)
        return self._stand_in(value)

    def _url(self, url: str) -> str:
        scheme, credentials, rest = _CREDENTIALS.match(url).groups("")  # type: ignore[union-attr]  # fits every URL
        rest = _QUERY.sub(lambda value: self._stand_in(value[0]), rest)
        return scheme + self._stand_in(credentials) + _IN_URL.sub(self._found, rest)

    def _digits(self, text: str) -> str:
        return _DIGITS.sub(lambda run: self._stand_in(run[0]), text)

    def _stand_in(self, value: str) -> str:
        if value not in self._stand_ins:
            hexadecimal = any(c.isdecimal() for c in value) and _HEX.fullmatch(value) is not None
            self._stand_ins[value] = "".join(self._other(c, hexadecimal) for c in value)
        return self._stand_ins[value]

    def _other(self, character: str, hexadecimal: bool) -> str:
        if character.isdecimal():  # where there was no zero, none comes: numbers in JSON must not begin with one
            return self._random.choice(string.digits if character == "0" else string.digits[1:])
        if not character.isalpha():
            return character
        letters = "abcdef" if hexadecimal else "aeiou" if character.lower() in "aeiou" else "bcdfghjklmnprstvwz"
        chosen = self._random.choice(letters)
        return chosen.upper() if character.isupper() else chosen


def _is_iban(text: str) -> bool:
    """By the check digits of ISO 13616."""
    text = text.replace(" ", "")
    return len(text) >= 15 and text.isalnum() and int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _luhn(text: str) -> bool:
    """Whether a number's last digit is the check digit of ISO 7812."""
    digits = [int(c) for c in reversed(text) if c.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_secret(text: str) -> bool:
    """Whether a long run of letters and digits looks drawn at random: neither a path nor a name out of words."""
    digits, separators = sum(c.isdecimal() for c in text), sum(c in "/_-" for c in text)
    if separators > len(text) // 12:
        return False
    return digits >= max(2, len(text) // 10) or (len(text) >= 32 and _is_scattered(text))


def _is_scattered(text: str) -> bool:
    """Whether most of its letters of both cases stand in no word: drawn at random they rarely follow their like."""
    words = sum(len(word) for word in _WORDS.findall(text))
    return words <= 0.8 * len(text) and text.upper() != text != text.lower()
