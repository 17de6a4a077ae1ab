"""A client that sends the bytes it is given, so that a test can send what no library would."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

Header = tuple[bytes, bytes]


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection to the server of a base URL."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port or 80), timeout=10) as sock:
        yield sock


def request(method: str, target: str, body: bytes = b"", *headers: Header) -> bytes:
    """A request with a host and, where there is a body, its length."""
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target.encode()), b"host: test"]
    lines += [b"%b: %b" % header for header in headers]
    if body:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chat(body: bytes, *headers: Header) -> bytes:
    return request("POST", "/v1/chat/completions", body, (b"content-type", b"application/json"), *headers)


def value(headers: list[Header], name: bytes) -> bytes | None:
    return dict(headers).get(name)


def read_head(sock: socket.socket) -> bytes:
    """Up to and with the empty line, and whatever came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            break
        data += piece
    return data


def read_all(sock: socket.socket) -> bytes:
    """Until the other side closes."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def more(sock: socket.socket) -> bytes:
    """At least one byte; fails where the other side has closed."""
    data = sock.recv(65536)
    if not data:
        raise ConnectionError("the answer is not complete")
    return data


def flood(sock: socket.socket, piece: bytes, times: int) -> None:
    for _ in range(times):
        sock.sendall(piece)


def ask(url: str, data: bytes) -> tuple[int, list[Header], bytes]:
    """Sends one request; gives the status, the headers and the body as framed by its length or by chunks."""
    with connected(url) as sock:
        sock.sendall(data)
        head, _, body = read_head(sock).partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
        framing = dict(headers)
        if framing.get(b"transfer-encoding") == b"chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += more(sock)
            body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f]+\r\n)", body, re.DOTALL))
        else:
            while len(body) < int(framing.get(b"content-length", b"0")):
                body += more(sock)
        return int(start.split(b" ")[1]), headers, body
