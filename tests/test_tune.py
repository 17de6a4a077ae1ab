"""`laconic tune` on recorded requests, alone and with an upstream that answers; and what it is made of."""

import json
import stat
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from layouts import NUMBERED, PASSAGES, QUESTION, body, tool, user
from provider import Provider, Request, Script, completion, whole

from compressors import load as compressor
from policies.presets import TABLES
from policies.written import build
from proxy.check import check
from proxy.cli import main
from proxy.config import load
from proxy.pricing import Price
from proxy.recording import Recorder, line
from proxy.recording import Request as RecordedRequest
from proxy.savings import Usage
from proxy.settings import Compression, Recording, Settings
from proxy.shorten import Stages, shorten
from proxy.tune import TuneError
from proxy.tune.answers import agreement, text_of
from proxy.tune.candidates import BASE, BLIND, Candidate, as_toml, candidates, combined, turned
from proxy.tune.evidence import marks, survival
from proxy.tune.frontier import choose, frontier
from proxy.tune.money import Saved, blended, rates
from proxy.tune.options import Options
from proxy.tune.run import tune
from proxy.tune.search import Search
from proxy.tune.sweep import Sweep, Tried
from proxy.tune.traffic import read

SETTINGS = load(None, flags={"ledger": "off"})
USAGE = Usage(1000, 30, 0)


def recorded(path: Path, count: int = 2, usage: Usage | None = USAGE, **more: Any) -> Path:
    """A file as the recorder writes it: requests with documents, each with another question."""
    for n in range(count):
        content = f"Context:\n{NUMBERED}\n\nQuestion: {n}. {QUESTION}"
        raw = json.dumps({"model": "gpt-4o", "messages": [user(content)], **more}).encode()
        written = line(RecordedRequest(1.0, "default", usage, raw), False)
        assert written
        with path.open("ab") as file:
            file.write(written)
    return path


def asked_for(path: Path, **more: Any) -> Options:
    return Options((path,), path.with_name("tuned.toml"), models=False, **more)


# Without an upstream


def test_the_policy_that_saves_most_at_the_quality_is_written_and_can_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "p.toml", tmp_path / "f.svg"
    traffic = recorded(tmp_path / "t.jsonl")
    command = ["tune", str(traffic), "--out", str(out), "--plot", str(picture), "--no-models", "--quality", "0.9"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "is no quality of answers" in said
    assert "chosen" in said
    assert out.read_text("utf-8") in said
    assert picture.read_text("utf-8").startswith("<?xml")
    policy = tomllib.loads(out.read_text("utf-8"))["policy"]["tuned"]
    assert policy["context"]["compressor"] == "lexical"
    config = tmp_path / "laconic.toml"
    config.write_text(out.read_text("utf-8") + '\n[ledger]\npath = "off"\n[[route]]\nname = "all"\npolicy = "tuned"\n')
    checked = check(lambda: load(config), warm_up=True)
    assert checked.ok
    assert "policy tuned (on)" in checked.lines[0]


def test_what_is_chosen_saves_more_than_any_other_of_its_quality(tmp_path: Path) -> None:
    sweep = swept(recorded(tmp_path / "t.jsonl", 2))
    search = Search(sweep, False)
    search.run(0.9)
    chosen = choose(search.tried, 0.9)
    assert chosen.quality >= 0.9
    assert chosen.saved.net > 0
    assert max(one.saved.net for one in search.tried if one.quality >= 0.9) == chosen.saved.net
    rated = [one for one in search.tried if one.candidate.knob == "context"]
    assert [one.saved.gross for one in rated] == sorted((one.saved.gross for one in rated), reverse=True)
    assert rated[0].quality < rated[-1].quality


def test_where_compressing_costs_more_than_it_saves_nothing_is_done(tmp_path: Path) -> None:
    options = asked_for(recorded(tmp_path / "t.jsonl", 2))
    tune(options, replace(SETTINGS, compression=Compression(usd_per_second=1000.0)))
    assert tomllib.loads(options.out.read_text())["policy"]["tuned"] == {"extends": "off"}


def test_knobs_are_put_together_as_far_as_the_quality_allows(tmp_path: Path) -> None:
    long = {"role": "assistant", "content": "\n\n\n\n".join(PASSAGES)}
    path = tmp_path / "t.jsonl"
    rows = tool("\n".join(f"2031-05-01T10:00:{n % 60:02}Z INFO gate {n} opened in {n % 7} ms" for n in range(300)))
    content = f"Context:\n{NUMBERED}\n\nQuestion: {QUESTION}"
    calls = [{"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    messages = [user("What is it?"), long, user(content), {"role": "assistant", "tool_calls": calls}, rows]
    written = line(
        RecordedRequest(1.0, "r", USAGE, json.dumps({"model": "gpt-4o", "messages": messages}).encode()), False
    )
    assert written
    path.write_bytes(written)
    search = Search(swept(path), False)
    search.run(0.5)
    both = [one for one in search.tried if "," in one.candidate.name]
    assert both
    assert {"context", "tool_output"} <= set(both[0].candidate.table)
    assert max(search.tried, key=lambda one: one.saved.net) in both


def test_when_the_time_is_over_what_was_tried_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = asked_for(recorded(tmp_path / "t.jsonl"), seconds=1e-9)
    with pytest.raises(TuneError, match="no time for a single policy"):
        tune(options, SETTINGS)
    assert not options.out.exists()


def test_a_compressor_that_is_not_there_is_told_and_the_others_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Candidate("broken", {"extends": "safe", "context": {"compressor": "selective", "rate": 0.5}})
    monkeypatch.setattr("proxy.tune.search.candidates", lambda _: (*candidates(False)[:2], broken))
    monkeypatch.setenv("LACONIC_MODELS", str(tmp_path))
    search = Search(swept(recorded(tmp_path / "t.jsonl", 1)), False)
    search.run(0.9)
    assert [one.candidate.name for one in search.tried] == ["off", "safe"]
    assert search.missing[0].startswith("broken: ")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "no chat request in what was recorded"),
        ('{"body": {"messages": 1}}\n', "no chat request in what was recorded"),
        ("[]\n", "t.jsonl:1: no recorded request"),
        ('\n{"body": {}, "usage": 3}\n', "t.jsonl:2: no recorded request"),
        ('{"body": {"model": "us", "messages": []}}\n', "no price is known for the model 'us'"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place_and_nothing_is_written(
    written: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(written)
    assert main(["tune", str(path), "--out", str(tmp_path / "p.toml")]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl"], "missing.jsonl: No such file"),
        (["x", "--quality", "1.5"], "--quality must be above 0"),
        (["x", "--requests", "0"], "--requests must be at least 1"),
        (["x", "--budget-usd", "0"], "--budget-usd must be above 0"),
        (["x", "--key-env", "K"], "--key-env is of no use"),
        (["x", "--upstream", "http://127.0.0.1:9", "--key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is empty"),
        (["x", "--upstream", "nowhere"], "--upstream"),
        (["x", "--out", "none/p.toml"], "there is no such folder"),
        (["x", "--out", __file__], "not written by this command"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_matplotlib_the_picture_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.tune.shown.find_spec", lambda _: None)
    with pytest.raises(TuneError, match=r"pip install 'laconic\[plot\]'"):
        tune(asked_for(tmp_path / "none", plot=tmp_path / "f.svg"), SETTINGS)


# With an upstream


def says(answer: Callable[[str], str]) -> Callable[[Request], Script]:
    """A provider that answers by what it is sent."""

    def script(request: Request) -> Script:
        return (whole(json.dumps(completion(content=answer(request.body.decode()))).encode()),)

    return script


def test_answers_decide_where_an_upstream_gives_them(
    fake: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that answers well from whole documents only: nothing lossy will do, however much evidence is kept."""
    monkeypatch.setenv("TUNE_KEY", "sk-canary")
    full = len(PASSAGES[0])
    fake.answer = says(lambda body: "It is thirty one days." if len(body) > 4 * full else "I cannot tell you that.")
    options = asked_for(recorded(tmp_path / "t.jsonl", stream=True), upstream=fake.url + "/v1", key_env="TUNE_KEY")
    tune(options, SETTINGS)
    assert tomllib.loads(options.out.read_text())["policy"]["tuned"]["extends"] in ("safe", "off")
    said = capsys.readouterr().out
    assert "agreement of answers" in said
    assert "1.000 by which two answers" in said
    assert "canary" not in said
    assert {request.target for request in fake.requests} == {"/v1/chat/completions"}
    assert {request.header("authorization")[0] for request in fake.requests} == {b"Bearer sk-canary"}
    assert all("stream" not in request.json() for request in fake.requests)
    assert stat.S_IMODE(options.answers.stat().st_mode) == 0o600


def test_what_few_answers_say_comes_with_its_uncertainty(
    fake: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shortened, the first of two requests gets another answer: 0.5 is lost, and nobody knows how sure that is."""
    full = len(PASSAGES[0]) * 4
    fake.answer = says(lambda body: "Nobody knows." if "Question: 0." in body and len(body) < full else "31 days.")
    tune(asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url, quality=0.4), SETTINGS)
    said = capsys.readouterr().out
    assert "0.500 ±0.980" in said
    assert "the interval of the chosen one reaches below 0.4" in said


def test_a_run_that_goes_on_asks_nothing_twice(fake: Provider, tmp_path: Path) -> None:
    fake.answer = says(lambda body: "It is thirty one days.")
    options = asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url)
    tune(options, SETTINGS)
    asked = [request.body for request in fake.requests]
    assert len(asked) == len(set(asked)) + 2  # each original twice
    block = options.out.read_text()
    with options.answers.open("ab") as file:
        file.write(b'{"asked": "ha')  # as a run leaves it that is killed
    tune(options, SETTINGS)
    assert len(fake.requests) == len(asked)
    assert options.out.read_text() == block


def test_the_budget_holds_and_what_was_bought_is_compared(
    fake: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fake bills each answer with 0.004 USD, about what is reckoned with before it is asked."""
    bill = {"prompt_tokens": 1600, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}
    told = whole(json.dumps(completion(content="It is thirty one days.") | {"usage": bill}).encode())
    fake.answer = lambda request: (told,)
    options = asked_for(recorded(tmp_path / "t.jsonl", 4, max_tokens=10), upstream=fake.url, budget_usd=0.06)
    tune(options, SETTINGS)
    assert "the budget was spent before all requests were answered" in capsys.readouterr().out
    assert 0.02 < len(fake.requests) * 0.004 <= 0.06
    tune(options, SETTINGS)
    assert "the budget was spent" not in capsys.readouterr().out
    assert list(Counter(request.body for request in fake.requests).values()).count(2) == 4  # the originals


def test_a_budget_that_is_too_small_buys_nothing(fake: Provider, tmp_path: Path) -> None:
    with pytest.raises(TuneError, match="--budget-usd is too little"):
        tune(asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url, budget_usd=1e-9), SETTINGS)
    assert fake.requests == []


@pytest.mark.parametrize(("status", "said"), [(401, "status 401: see to the URL and the key"), (400, "no answer")])
def test_an_upstream_that_refuses_ends_it_in_one_line(status: int, said: str, fake: Provider, tmp_path: Path) -> None:
    fake.answer = lambda request: (whole(b'{"error": {}}', status=status),)
    options = asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url)
    with pytest.raises(TuneError, match=said):
        tune(options, SETTINGS)
    assert not options.out.exists()


def test_a_file_that_holds_no_answers_is_left_alone(fake: Provider, tmp_path: Path) -> None:
    options = asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url)
    options.answers.write_text("mine\n")
    with pytest.raises(TuneError, match="holds something else than answers"):
        tune(options, SETTINGS)
    assert options.answers.read_text() == "mine\n"


# The parts


def swept(path: Path, settings: Settings = SETTINGS) -> Sweep:
    requests = read([path], 100).requests
    return Sweep(requests, rates(requests, {}, settings.compression.usd_per_second), 60.0, float("inf"))


def test_of_many_requests_the_same_ones_are_drawn_each_time(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.jsonl", 30)
    first, second = read([path], 7), read([path], 7)
    assert [r.body for r in first.requests] == [r.body for r in second.requests]
    assert (len(first.requests), first.found) == (7, 30)


def test_a_model_stands_in_for_the_one_that_was_named(tmp_path: Path) -> None:
    (request,) = read([recorded(tmp_path / "t.jsonl", 1)], 1, "gpt-4.1").requests
    assert request.model == "gpt-4.1"
    assert json.loads(request.body)["model"] == "gpt-4.1"


def test_a_line_that_was_never_finished_is_counted_and_the_recorder_goes_on_below_it(tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.jsonl", 1)
    with path.open("ab") as file:
        file.write(path.read_bytes()[:-100])
    recorder = Recorder(Recording(), str(path))
    recorder.close()
    traffic = read([recorded(path, 1)], 9)
    assert (len(traffic.requests), traffic.found, traffic.unreadable) == (2, 3, 1)


@pytest.mark.parametrize("models", [False, True])
def test_every_candidate_is_a_valid_policy_and_its_toml_says_the_same(models: bool) -> None:
    found = candidates(models)
    assert len({one.name for one in found}) == len(found)
    knobs = [one for one in found if one.knob == "context"][:1] + [one for one in found if one.knob == "history"][-1:]
    for one in (*found, combined(BASE if models else BLIND, knobs)):
        complaints: list[Any] = []
        build({"tuned": dict(one.table)}, TABLES, complaints)
        assert complaints == []
        assert tomllib.loads(as_toml("tuned", one.table))["policy"]["tuned"] == dict(one.table)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (None, 2.0),
        (Usage(1000, 5), 2.0),
        (Usage(1000, 5, 0), 2.0),
        (Usage(1000, 5, 1000), 0.5),
        (Usage(1000, 5, 500), 1.25),
        (Usage(1000, 5, 500, 500), 1.5),
        (Usage(0, 5, 0), 2.0),
    ],
)
def test_a_removed_token_is_worth_what_the_tokens_of_its_request_were_billed_at(
    usage: Usage | None, price: float
) -> None:
    assert blended(Price(2.0, 0.5, 2.5, 8.0), usage) == pytest.approx(price / 1e6)


def test_net_is_gross_less_the_seconds(tmp_path: Path) -> None:
    requests = read([recorded(tmp_path / "t.jsonl", 2)], 2).requests
    saved = rates(requests, {}, 0.01).saved(requests, [100, 300], [0.5, 0.1])
    assert saved.gross == pytest.approx(400 * 2.5e-6 * 500)
    assert saved.net == pytest.approx(saved.gross - 0.6 * 0.01 * 500)


def test_requests_whose_cached_tokens_are_unknown_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for usage in (None, Usage(10, 1), USAGE):
        recorded(path, 1, usage)
    assert rates(read([path], 9).requests, {}, 0).guessed == 2


def test_evidence_is_the_sentences_that_bear_on_the_question() -> None:
    raw = body([user(f"Context:\n{NUMBERED}\n\nQuestion: {QUESTION}")]).replace(b"NaN", b"1")
    policy = build({"t": {"extends": "safe"}}, TABLES, [])["t"]
    examined = shorten(raw, policy, compressor, Stages()).examined
    found = marks(examined.segments)
    (field,) = {mark.field for mark in found}
    text = examined.request.fields[field].text

    def without(gone: str) -> float:
        at = text.index(gone)
        return survival(found, {field: ((0, at), (at + len(gone), len(text)))})

    assert survival(found, {}) == 1
    assert survival(found, {field: ()}) == 0
    assert without("Volunteers repair punctures on Saturdays between 10:00 and 13:00 and bring their own tools.") == 1
    assert without("A borrowed cargo bike must be returned within 31 days") < 0.95
    assert survival((), {field: ()}) == 1


def test_the_evidence_of_tool_output_is_rows_and_what_tells_them_apart() -> None:
    rows = "\n".join(f"bike CB-{n:03} stands in hall {n % 3}" for n in range(60))
    calls = [{"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    raw = body([user("Where is CB-017?"), {"role": "assistant", "tool_calls": calls}, tool(rows)])
    policy = build({"t": {"extends": "safe"}}, TABLES, [])["t"]
    examined = shorten(raw.replace(b"NaN", b"1"), policy, compressor, Stages()).examined
    found = marks(examined.segments)
    field = found[0].field

    def without(row: int) -> float:
        gone = f"bike CB-{row:03} stands in hall {row % 3}"
        at = rows.index(gone)
        return survival(found, {field: ((0, at), (at + len(gone), len(rows)))})

    assert without(17) < without(40) < 1


def test_the_frontier_is_what_no_other_beats_in_both() -> None:
    points = [(0.0, 1.0), (1.0, 0.99), (0.5, 0.98), (2.0, 0.9), (2.0, 0.8), (-1.0, 1.0)]
    tried = [Tried(turned(BASE, "context", 0.5), Saved(net, net, 0, 0), quality) for net, quality in points]
    assert [(one.saved.net, one.quality) for one in frontier(tried)] == [(2.0, 0.9), (1.0, 0.99), (0.0, 1.0)]
    assert choose(tried, 0.95).saved.net == 1.0
    assert choose(tried, 0.9).quality == 0.9
    assert choose(tried, 1.0).saved.net == 0.0


@pytest.mark.parametrize(
    ("one", "two", "agree"),
    [
        ("Within 31 days.", "within 31 days", 1.0),
        ("a b c d", "a b", 2 * 2 / 6),
        ("yes", "no", 0.0),
        ("", "", 1.0),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', 1.0),
        ('{"a": 1}', '{"a": 2}', 0.0),
        ('{"a": 1}', "a 1", 0.0),
        ("[1]", "[1]", 1.0),
    ],
)
def test_agreement_is_exact_for_json_and_by_words_for_text(one: str, two: str, agree: float) -> None:
    assert agreement(one, two) == agreement(two, one) == pytest.approx(agree)


def test_calls_of_tools_are_compared_by_name_and_arguments() -> None:
    def called(arguments: str) -> str | None:
        return text_of(
            completion(content=None, tool_calls=[{"id": "x", "function": {"name": "f", "arguments": arguments}}])
        )

    one, two, other = called('{"a": 1, "b": 2}'), called('{"b": 2,  "a": 1}'), called('{"a": 2}')
    assert one
    assert two
    assert other
    assert (agreement(one, two), agreement(one, other)) == (1.0, 0.0)
    odds: tuple[object, ...] = ({}, {"choices": []}, [], None, completion(content=None))
    assert text_of(completion(content="hi")) == "hi"
    assert [text_of(odd) for odd in odds] == [None] * 5
