"""Our own pages, and which version of the settings a request sees."""

import json

from conftest import Service, Told
from provider import Provider, whole
from raw import ask, chat, request

from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.chosen import called_for
from proxy.pipeline import Pipeline
from proxy.savings import Money
from proxy.server import running
from proxy.settings import Compression, Settings, Upstream


class Crippled(Pipeline):
    """Lacks one compressor."""

    def missing(self, settings: Settings) -> tuple[str, ...]:
        return ("pruner needs a model that is not there",) if "pruner" in called_for(settings) else ()


def settings(policy: str, url: str = "http://127.0.0.1:1") -> Settings:
    return Settings({"fake": Upstream("fake", url)}, (Route("default", "fake", policy),), PRESETS)


def test_health_and_readiness(service: Service, fake: Provider, told: Told) -> None:
    url = service.start(fake.url, "balanced")
    assert ask(url, request("GET", "/healthz"))[::2] == (200, b'{"status":"ok"}')
    assert ask(url, request("GET", "/readyz"))[::2] == (200, b'{"status":"ready","reasons":[]}')
    assert (fake.requests, told.records) == ([], [])


def test_readiness_is_red_where_a_configured_compressor_cannot_run() -> None:
    for policy, status in (("balanced", 503), ("audit", 503), ("off", 200)):
        it = settings(policy)
        with running(create_app(lambda it=it: it, Crippled(it.compression))) as url:  # type: ignore[misc]
            got, _, body = ask(url, request("GET", "/readyz"))
            assert got == status
            assert ("pruner needs a model that is not there" in json.loads(body)["reasons"]) is (status == 503)
            assert ask(url, request("GET", "/healthz"))[0] == 200


def test_readiness_is_red_while_shutting_down() -> None:
    it = settings("off")
    app = create_app(lambda: it, Pipeline(it.compression))
    with running(app) as url:
        app.drain()
        status, _, body = ask(url, request("GET", "/readyz"))
    assert (status, json.loads(body)["reasons"]) == (503, ["shutting down"])


def test_a_server_that_is_stopped_tells_its_app() -> None:
    it = settings("off")
    app = create_app(lambda: it, Pipeline(it.compression))
    with running(app):
        assert app.obstacles() == ()
    assert app.obstacles() == ("shutting down",)


def test_metrics_are_there_only_where_something_renders_them() -> None:
    it = settings("off")
    with running(create_app(lambda: it, Pipeline(it.compression))) as url:
        assert ask(url, request("GET", "/metrics"))[0] == 404
    app = create_app(lambda: it, Pipeline(it.compression), render_metrics=lambda: (b"requests 1\n", "text/plain"))
    with running(app) as url:
        status, headers, body = ask(url, request("GET", "/metrics"))
    assert (status, dict(headers)[b"content-type"], body) == (200, b"text/plain", b"requests 1\n")


def test_each_request_sees_one_version_of_the_settings(fake: Provider, told: Told) -> None:
    """`current` gives other settings for each connection and its request; were it asked twice in a request, route and
    policy would not match."""
    versions = [
        Settings(
            {f"fake-{n}": Upstream(f"fake-{n}", fake.url)},
            (Route(f"route-{n}", f"fake-{n}", f"policy-{n}", model="gpt-*"),),
            {f"policy-{n}": PRESETS["off"]},
        )
        for n in range(20)
    ]
    it = (version for version in (*versions, versions[0]) for _ in range(2))  # and when it stops
    with running(create_app(lambda: next(it), Pipeline(Compression()), (told,))) as url:
        for n in range(20):
            fake.script(whole(b"{}"))
            headers = dict(ask(url, chat(b'{"model":"gpt-4o"}'))[1])
            assert headers[b"x-laconic-route"] == b"route-%d" % n
            assert headers[b"x-laconic-outcome"] == b"bypassed"


def test_what_was_saved_is_priced(fake: Provider, told: Told) -> None:
    it = settings("off", fake.url)
    with running(create_app(lambda: it, Pipeline(it.compression), (told,), lambda measured, usage: Money(0.25))) as url:
        fake.script(whole(b"{}"))
        ask(url, chat(b"{}"))
    assert told.one().money == Money(0.25)
