"""Models are loaded in the background; until one is there, and while one cannot be, requests go on without."""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from conftest import Register, Service
from layouts import LAYOUTS, body
from provider import Provider
from raw import ask, chat, request

from compressors import Kept, Task, Unavailable, load
from policies.presets import PRESETS
from policies.routes import Route
from proxy import loading
from proxy.app import create_app
from proxy.config import load as load_settings
from proxy.loading import Compressors, Loading, key_of
from proxy.pipeline import Pipeline
from proxy.reload import Current
from proxy.server import running
from proxy.settings import Chosen, Compression, Settings, Upstream

WAIT = 5


@dataclass
class Model:
    """Stands for a compressor that runs a model. Its steps are taken when the test says so."""

    loads: int = 0
    warm: Callable[[], object] = lambda: None
    work: Callable[[], object] = lambda: None
    warmed: threading.Event = field(default_factory=threading.Event)
    version: str = "1"

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        self.work()
        return load("ends").compress(tasks)

    def warm_up(self) -> None:
        self.loads += 1
        try:
            self.warm()
        finally:
            self.warmed.set()


def settings(url: str = "http://127.0.0.1:1", name: str = "model") -> Settings:
    rules = {kind: replace(rule, compressor=name) for kind, rule in PRESETS["aggressive"].rules.items()}
    policies = {"mine": replace(PRESETS["aggressive"], name="mine", rules=rules), "off": PRESETS["off"]}
    return Settings({"fake": Upstream("fake", url)}, (Route("default", "fake", "mine"),), policies)


def missing() -> None:
    raise Unavailable("the model a/b is not there: run `laconic models download a/b`")


RAW = body(LAYOUTS["labels"])


def reason(url: str) -> str:
    told = dict(ask(url, chat(RAW))[1])
    return (told.get(b"x-laconic-reason") or told[b"x-laconic-outcome"]).decode()


def ready(url: str) -> tuple[int, dict[str, object]]:
    status, _, answer = ask(url, request("GET", "/readyz"))
    return status, json.loads(answer)


def test_while_a_model_is_loading_requests_pass_and_readiness_tells(
    service: Service, fake: Provider, register: Register
) -> None:
    go = threading.Event()
    model = Model(warm=lambda: go.wait(WAIT))
    register("model", lambda: model)
    url = service.start_with(settings(fake.url))
    assert ready(url) == (503, {"status": "not ready", "reasons": ["model: its model is being loaded"]})
    assert reason(url) == "model loading"
    assert fake.last.body == RAW
    go.set()
    assert model.warmed.wait(WAIT)
    while ready(url)[0] == 503:
        pass
    assert reason(url) == "compressed"
    assert len(fake.last.body) < len(RAW)
    assert model.loads == 1


def test_a_model_that_cannot_be_loaded_keeps_readiness_red_and_requests_going(
    service: Service, fake: Provider, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(warm=missing)
    register("model", lambda: model)
    url = service.start_with(settings(fake.url))
    assert reason(url) in ("model loading", "model unavailable")
    assert model.warmed.wait(WAIT)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert reason(url) == "model unavailable"
            assert fake.last.body == RAW
    assert len(caplog.records) <= 1, "no request fills the log"
    status, told = ready(url)
    assert (status, told["reasons"]) == (
        503,
        ["model: the model a/b is not there: run `laconic models download a/b`"],
    )
    assert model.loads == 1, "it is not tried again for every request"


def test_it_is_tried_again_after_a_while(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(warm=missing)
    register("model", lambda: model)
    it = Compressors()
    try:
        assert it.settle(["model"], {}) == ("model: the model a/b is not there: run `laconic models download a/b`",)
        model.warm = lambda: None
        assert it.settle(["model"], {}) != ()
        monkeypatch.setattr(loading, "AGAIN_SECONDS", -1.0)
        assert it.settle(["model"], {}) == ()
        assert it.get("model", {}).compressor is model
    finally:
        it.close()


def test_a_model_that_fails_in_use_makes_the_service_degraded_until_it_works_again(
    service: Service, fake: Provider, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    """Out of memory, a lost device, an open breaker: the service takes requests, and says what is wrong."""
    model = Model()
    register("model", lambda: model)
    url = service.start_with(settings(fake.url))
    while ready(url)[0] == 503:
        pass

    def lost() -> None:
        raise Unavailable("cuda:0 has failed 3 times; tried again in 30 s")

    model.work = lost
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert reason(url) == "model unavailable"
            assert fake.last.body == RAW
    assert len(caplog.records) == 1
    assert ready(url) == (
        200,
        {"status": "degraded", "reasons": ["model: when last used: cuda:0 has failed 3 times; tried again in 30 s"]},
    )
    model.work = lambda: None
    assert reason(url) == "compressed"
    assert ready(url) == (200, {"status": "ready", "reasons": []})


def test_whatever_a_warm_up_raises_is_told(register: Register) -> None:
    def breaks() -> None:
        raise MemoryError

    register("model", lambda: Model(warm=breaks))
    it = Compressors()
    try:
        assert it.settle(["model", "lexical"], {}) == ("model: MemoryError",)
    finally:
        it.close()


def test_one_that_closes_while_a_model_is_loading_does_not_wait(register: Register) -> None:
    go = threading.Event()
    register("model", lambda: Model(warm=lambda: go.wait(WAIT)))
    it = Compressors()
    with pytest.raises(Loading):
        it.get("model", {})
    threading.Timer(0.05, it.close).start()
    assert it.settle(["model"], {}) == ("model: its model is being loaded",)
    go.set()


def test_the_same_settings_are_one_compressor_under_any_name() -> None:
    from compressors.passages import PassagesSettings

    one, other = Chosen("passages", PassagesSettings(device="cpu")), Chosen("passages", PassagesSettings(device="cpu"))
    assert key_of("a", {"a": one}) == key_of("b", {"b": other}) != key_of("passages", {})
    it = Compressors()
    try:
        assert it.get("lexical", {}).compressor is it.get("mine", {"mine": Chosen("lexical")}).compressor
    finally:
        it.close()


# Reloading


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "laconic.toml"


def routed(policy: str, compressor: str = "model") -> str:
    return (
        f'[ledger]\npath = "off"\n[[route]]\nname = "all"\npolicy = "{policy}"\n'
        f'[policy.new]\nhistory = {{ compressor = "{compressor}", rate = 0.5 }}\n'
    )


def test_new_models_are_loaded_before_they_count_and_old_ones_are_not_loaded_again(
    file: Path, register: Register
) -> None:
    model = Model()
    made: list[Model] = []

    def make() -> Model:
        made.append(model)
        return model

    register("model", make)
    file.write_text(routed("off"))
    pipeline = Pipeline(Compression())
    current = Current(load_settings(file), lambda: load_settings(file), pipeline.settle)
    seen: list[str] = []
    model.warm = lambda: seen.append(current.current().routes[0].policy)
    try:
        for policy in ("new", "new", "safe"):
            file.write_text(routed(policy))
            assert current.reload().problems == ()
            pipeline.keep_only(current.current())
        assert seen == ["off"], "loaded once, while the old settings were in force"
        assert len(made) == 1
        file.write_text(routed("new"))
        current.reload()
        assert len(made) == 2, "what nobody called for was let go"
    finally:
        pipeline.close()


def test_a_file_that_calls_for_a_model_that_cannot_be_loaded_changes_nothing(
    file: Path, register: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register("model", lambda: Model(warm=missing))
    file.write_text(routed("safe"))
    pipeline = Pipeline(Compression())
    current = Current(load_settings(file), lambda: load_settings(file), pipeline.settle)
    try:
        file.write_text(routed("new"))
        (problem,) = current.reload().problems
        assert "laconic models download a/b" in str(problem)
        assert "not reloaded" in caplog.text
        assert current.current().routes[0].policy == "safe"
    finally:
        pipeline.close()


def test_a_model_that_was_missing_before_keeps_nobody_from_changing_something_else(
    file: Path, register: Register
) -> None:
    register("model", lambda: Model(warm=missing))
    file.write_text(routed("new"))
    pipeline = Pipeline(Compression())
    current = Current(load_settings(file), lambda: load_settings(file), pipeline.settle)
    try:
        file.write_text(routed("new") + "[server]\nmax_headers = 7\n")
        assert current.reload().problems == ()
        assert current.current().limits.headers == 7
    finally:
        pipeline.close()


def test_each_request_uses_the_compressors_of_the_settings_that_it_began_with(
    fake: Provider,
) -> None:
    """A name may stand for something else after a reload."""
    plain = settings(fake.url, "mine")
    uses = ("ends", "ends", "identity", "identity", "ends", "ends")  # each for a connection and its request
    versions = (replace(plain, compressors={"mine": Chosen(use)}) for use in (*uses, "ends"))  # and when it stops
    with running(create_app(lambda: next(versions), Pipeline(Compression(5000, bypass_share=0)))) as url:
        assert [reason(url) for _ in range(3)] == ["compressed", "no gain", "compressed"]
