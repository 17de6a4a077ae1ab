"""A strict reader of HTTP/1.1 requests (RFC 9110, RFC 9112) for tests: what an honest reader makes of the bytes.

It takes no line end but CRLF, no folding, no space before a colon, and refuses every framing that two readers could
understand differently. What it lets pass, because there is but one way to read it: empty lines before a request, more
than one space within the first line, a name and a password in an absolute target, `RTSP` for `HTTP`.
"""

import re
from dataclasses import dataclass
from enum import Enum

Header = tuple[bytes, bytes]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_START = re.compile(rb"(%b) +([\x21-\x7e]+) +(?:HTTP|RTSP)/1\.([01])" % _TOKEN)
_FIELD = re.compile(
    rb"(%b):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*" % _TOKEN
)
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]+)(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")  # what extensions say is nobody's business
_MOST_DIGITS = 15  # of a length: more is no request that anybody sends


class End(Enum):
    """What stands after the last whole request."""

    CLEAN = "nothing"
    INCOMPLETE = "the beginning of another"
    MALFORMED = "nonsense"


@dataclass(frozen=True)
class Message:
    """One request; names of headers in lower case. `target` is the path and the query."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[Header, ...]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


class _Malformed(Exception):
    pass


class _Incomplete(Exception):
    pass


def requests(data: bytes) -> tuple[list[Message], End, bytes]:
    """The requests in the bytes of one connection, up to where they end or make no sense, and what is left."""
    found: list[Message] = []
    at = 0
    while True:
        while data[at : at + 1] in (b"\r", b"\n"):  # empty lines may stand before a request (RFC 9112, 2.2)
            at += 1
        if at == len(data):
            return found, End.CLEAN, b""
        try:
            message, at = _request(data, at)
        except _Malformed:
            return found, End.MALFORMED, data[at:]
        except _Incomplete:
            return found, End.INCOMPLETE, data[at:]
        found.append(message)


def _request(data: bytes, at: int) -> tuple[Message, int]:
    line, at = _line(data, at)
    start = _START.fullmatch(line)
    if start is None:
        raise _Malformed
    headers, at = _fields(data, at)
    message = Message(start[1], _path(start[1], start[2]), start[3], headers, b"")
    body, at = _body(message, data, at)
    return Message(message.method, message.target, message.version, headers, body), at


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\n", at)
    line = data[at : len(data) if end < 0 else end]
    if b"\r" in line[:-1] or (end >= 0 and not line.endswith(b"\r")):
        raise _Malformed
    if end < 0:
        raise _Incomplete
    return line[:-1], end + 1


def _fields(data: bytes, at: int) -> tuple[tuple[Header, ...], int]:
    found: list[Header] = []
    while True:
        line, at = _line(data, at)
        if not line:
            return tuple(found), at
        field = _FIELD.fullmatch(line)
        if field is None:
            raise _Malformed
        found.append((field[1].lower(), field[2]))


def _path(method: bytes, target: bytes) -> bytes:
    """Of a target in origin or absolute form; others are not for us."""
    if absolute := re.fullmatch(rb"https?://[^/?#]+(/[^#]*|\?[^#]*|)(#.*)?", target, re.IGNORECASE):
        target = absolute[1] if absolute[1].startswith(b"/") else b"/" + absolute[1]
    if not target.startswith(b"/") or method == b"CONNECT":
        raise _Malformed
    target = target.partition(b"#")[0]
    return target if target.partition(b"?")[2] else target.removesuffix(b"?")  # an empty query is none


def _body(message: Message, data: bytes, at: int) -> tuple[bytes, int]:
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise _Malformed
    if codings:
        if codings[0].lower() != b"chunked" or message.version == b"0":
            raise _Malformed
        return _chunks(data, at)
    if not lengths:
        return b"", at
    if not re.fullmatch(rb"[0-9]{1,%d}" % _MOST_DIGITS, lengths[0]):
        raise _Malformed
    return _take(data, at, int(lengths[0]))


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if len(data) - at < size:
        raise _Incomplete
    return data[at : at + size], at + size


def _chunks(data: bytes, at: int) -> tuple[bytes, int]:
    body = b""
    while True:
        line, at = _line(data, at)
        head = _CHUNK.fullmatch(line)
        if head is None or len(head[1]) > _MOST_DIGITS:
            raise _Malformed
        if int(head[1], 16) == 0:
            return body, _fields(data, at)[1]
        piece, at = _take(data, at, int(head[1], 16))
        if not b"\r\n".startswith(data[at : at + 2]):
            raise _Malformed
        _, at = _take(data, at, 2)
        body += piece
