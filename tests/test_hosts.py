"""No request field and no header chooses a host: nobody but the upstream of the route is ever contacted."""

from collections.abc import Iterator

import pytest
from conftest import Service
from provider import Provider, provider, whole
from raw import ask, connected, read_head, request


@pytest.fixture
def fakes() -> Iterator[tuple[Provider, Provider]]:
    """The provider, and somebody else who must not be reached."""
    with provider() as one, provider() as other:
        yield one, other


@pytest.mark.parametrize(
    "target",
    [
        "http://EVIL/v1/chat/completions",
        "http://user@EVIL/v1/chat/completions",
        "//EVIL/v1/chat/completions",
        "/\\EVIL/v1",
        "/@EVIL/v1/chat/completions",
        "@EVIL/v1",
        ":@EVIL/v1",
        "/v1@EVIL/chat",
        "/v1/%2f%2fEVIL/chat",
        "/%2F%2FEVIL%2Fv1",
        "/v1/..%2f..%2f@EVIL/",
        "/v1?url=http://EVIL/v1&host=EVIL",
        "/v1#@EVIL/",
        "/http://EVIL/v1/models",
        "/v1/models;@EVIL",
        "EVIL",
        "*",
    ],
)
def test_no_target_reaches_another_host(service: Service, fakes: tuple[Provider, Provider], target: str) -> None:
    fake, evil = fakes
    url = service.start(fake.url + "/v1")
    host = evil.url.removeprefix("http://")
    body = f'{{"model":"http://{host}/","base_url":"http://{host}/v1","messages":[]}}'.encode()
    for method in ("GET", "POST", "CONNECT", "OPTIONS"):
        with connected(url) as sock:
            sock.sendall(request(method, target.replace("EVIL", host), body, (b"connection", b"close")))
            assert read_head(sock).startswith(b"HTTP/1.1 ")
    assert evil.connections == 0
    assert {value for got in fake.requests for value in got.header("host")} <= {fake.url[7:].encode()}
    assert all(got.target.startswith("/") for got in fake.requests), "never the absolute form"


@pytest.mark.parametrize(
    "name",
    [
        "host",
        "x-forwarded-host",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x-host",
        "openai-base-url",
        "referer",
    ],
)
def test_no_header_reaches_another_host(service: Service, fakes: tuple[Provider, Provider], name: str) -> None:
    fake, evil = fakes
    url = service.start(fake.url + "/v1")
    host = evil.url.removeprefix("http://")
    with connected(url) as sock:
        lines = [f"{name}: {f'host={host}' if name == 'forwarded' else host}", *(["host: x"] if name != "host" else [])]
        sock.sendall("\r\n".join(["GET /v1/models HTTP/1.1", *lines, "\r\n"]).encode())
        assert read_head(sock).startswith(b"HTTP/1.1 200")
    assert evil.connections == 0
    assert fake.last.header("host") == [fake.url.removeprefix("http://").encode()]


def test_a_redirect_of_the_provider_is_not_followed(service: Service, fakes: tuple[Provider, Provider]) -> None:
    fake, evil = fakes
    fake.script(whole(b"", (b"location", evil.url.encode() + b"/v1"), status=307))
    assert ask(service.start(fake.url), request("GET", "/v1/models"))[0] == 307
    assert evil.connections == 0
