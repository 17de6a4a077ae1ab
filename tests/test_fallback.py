"""Where a compressor does without its model, everybody who looks is told: the caller, the metrics, the record."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
from conftest import Service, Told
from layouts import LAYOUTS, NUMBERED, PASSAGES, QUESTION, body
from provider import Provider
from raw import ask, chat, value

from compressors import Compressor, Fallback, Kept, Rate, Task, cancel, load
from compressors.encoders import engine
from compressors.ranked_classifier import RankedClassifier, RankedClassifierSettings
from policies.presets import PRESETS
from policies.routes import Route
from proxy.config import load as configured
from proxy.explain import as_json, explain, show
from proxy.genai import MetricsMeter
from proxy.meters import telemetry
from proxy.pipeline import Pipeline
from proxy.settings import Compression, Settings, Upstream
from proxy.span_cache import Remembering, SpanCache
from proxy.texts import Shortening, shorten_lines

ENGLISH = Task(NUMBERED, Rate(0.5), QUESTION)
RUSSIAN = Task(
    "Мост через реку построен давно.  Он узкий и старый. Зимой он закрыт. " * 9, Rate(0.5), "Когда закрыт мост?"
)
BY_WORDS = RankedClassifierSettings(ranker="bm25")
READERS = [load("pruner"), load("classifier"), RankedClassifier(BY_WORDS)]
IDS = ["pruner", "classifier", "ranked_classifier"]


def how(compressor: Compressor, task: Task) -> Fallback | None:
    (kept,) = compressor.compress([task])
    return kept.fallback


@pytest.mark.parametrize("compressor", READERS, ids=IDS)
def test_a_compressor_says_whether_its_model_had_a_part_in_the_result(compressor: Compressor) -> None:
    assert how(compressor, ENGLISH) is None
    assert how(compressor, RUSSIAN) is Fallback.LANGUAGE
    with cancel.watched(lambda: True, monotonic()):
        assert how(compressor, replace(ENGLISH, text=NUMBERED.replace("tram", "bus"))) is Fallback.TIME


@pytest.mark.parametrize("compressor", [load("pruner"), load("classifier")], ids=IDS[:2])
def test_where_nothing_is_to_be_chosen_there_is_nothing_to_tell(compressor: Compressor) -> None:
    for task in (Task("", Rate(0.5)), Task(" \n", Rate(0.5), "why?"), replace(RUSSIAN, budget=Rate(1))):
        assert how(compressor, task) is None


def test_without_a_question_the_pruner_tells() -> None:
    assert how(READERS[0], replace(ENGLISH, question=" ")) is Fallback.QUESTION
    assert how(READERS[1], replace(ENGLISH, question=" ")) is None


def test_without_an_engine_they_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert how(load("pruner"), ENGLISH) is how(load("classifier"), ENGLISH) is Fallback.ENGINE


@pytest.mark.parametrize("fallback", [None, *Fallback])
def test_a_result_that_is_kept_remembers_how_it_was_found(fallback: Fallback | None) -> None:
    cache = SpanCache(1 << 20)
    Remembering(Plain(fallback), cache, b"me").compress([ENGLISH])
    (again,) = Remembering(Plain(None), cache, b"me").compress([ENGLISH])
    assert again.fallback is fallback
    assert cache.stats().hits == 1


class Plain:
    """Chooses by words, or nothing at all, and says that it had to do without its model."""

    def __init__(self, fallback: Fallback | None = Fallback.TIME, choose: bool = True) -> None:
        self.fallback, self.choose = fallback, choose

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        found = load("lexical").compress(tasks) if self.choose else [Kept(((0, len(task.text)),)) for task in tasks]
        return [replace(kept, fallback=self.fallback) for kept in found]


def settings(url: str) -> Settings:
    return Settings({"fake": Upstream("fake", url)}, (Route("default", "fake", "balanced"),), PRESETS)


def serving(service: Service, fake: Provider, compressor: Compressor) -> str:
    pipeline = Pipeline(Compression(5000, bypass_share=0), lambda name: compressor)
    return service.start_with(settings(fake.url), pipeline)


def test_the_caller_the_record_and_the_metrics_are_told(service: Service, fake: Provider, told: Told) -> None:
    headers = ask(serving(service, fake, Plain()), chat(body(LAYOUTS["labels"])))[1]
    assert value(headers, b"x-laconic-outcome") == b"compressed"
    assert value(headers, b"x-laconic-reason") == b"without the model: no time"
    record = told.one()
    assert dict(record.measured.reasons)["compressed without the model: no time"] == len(PASSAGES)
    metrics = telemetry({}, lambda: settings(fake.url))
    assert any(isinstance(meter, MetricsMeter) for meter in metrics.meters)
    metrics.record(record)
    page = metrics.render_metrics()[0].decode()
    metrics.close()
    assert 'laconic_segments_total{laconic_reason="compressed without the model: no time"} 4.0' in page
    assert 'laconic_outcome="compressed"' in page
    assert 'laconic_reason="without the model: no time"' in page


def test_a_model_that_did_its_part_is_not_mentioned(service: Service, fake: Provider, told: Told) -> None:
    headers = ask(serving(service, fake, Plain(None)), chat(body(LAYOUTS["labels"])))[1]
    assert value(headers, b"x-laconic-outcome") == b"compressed"
    assert value(headers, b"x-laconic-reason") is None
    assert "without the model" not in str(told.one().measured)


def test_what_brought_nothing_without_the_model_says_so(service: Service, fake: Provider) -> None:
    headers = ask(serving(service, fake, Plain(choose=False)), chat(body(LAYOUTS["labels"])))[1]
    assert value(headers, b"x-laconic-reason") == b"no gain without the model: no time"


def test_a_compressor_cannot_say_what_it_likes(service: Service, fake: Provider) -> None:
    """What it says goes into headers and labels, and it has read the prompt."""
    raw = body(LAYOUTS["labels"])
    headers = ask(serving(service, fake, Plain("zanzibarine")), chat(raw))[1]  # type: ignore[arg-type]
    assert value(headers, b"x-laconic-reason") == b"error: ValueError"
    assert fake.last.body == raw


def test_explain_names_the_compressors_that_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    raw = body(LAYOUTS["labels"])
    assert as_json("f", explain(raw, configured()))["lacks"] == []
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    explanation = explain(raw, configured())
    (sentence,) = as_json("f", explanation)["lacks"]
    assert sentence.startswith("pruner: its model does not run")
    out = io.StringIO()
    show("f", explanation, Console(file=out, width=140))
    assert sentence in out.getvalue()


def test_compress_says_when_the_model_had_no_part_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"id": 1, "text": NUMBERED, "question": QUESTION}) + "\n")

    def row(name: str) -> dict[str, object]:
        shorten_lines(source, tmp_path / name, Shortening("pruner", Rate(0.5)), io.StringIO())
        found: dict[str, object] = json.loads((tmp_path / name).read_text())
        return found

    assert "without_model" not in row("with")
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert "is not installed" in str(row("without")["without_model"])
