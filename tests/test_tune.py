"""`laconic tune` on recorded requests, alone and with an upstream that answers."""

import asyncio
import json
import stat
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from layouts import NUMBERED, PASSAGES, QUESTION, tool, user
from provider import Provider, Request, Script, completion, whole
from traffic import SETTINGS, USAGE, asked_for, recorded, swept

from proxy.check import check
from proxy.cli import main
from proxy.config import load
from proxy.economy import Economy
from proxy.pipeline import Asked, Pipeline
from proxy.recording import Request as RecordedRequest
from proxy.recording import line
from proxy.savings import Usage
from proxy.settings import Compression
from proxy.tune import TuneError
from proxy.tune.candidates import Candidate, candidates
from proxy.tune.frontier import choose
from proxy.tune.run import tune
from proxy.tune.search import Search

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


def test_what_is_promised_is_what_serving_saves(tmp_path: Path) -> None:
    """A document that everybody asks of goes whole once that is seen."""
    path = tmp_path / "t.jsonl"
    document = "Answer from these documents.\n\nContext:\n" + "\n\n".join([NUMBERED] * 4)
    for n in range(20):
        messages = [{"role": "system", "content": document}, user(f"What is so in {1800 + n} with {QUESTION}")]
        raw = json.dumps({"model": "gpt-4o", "messages": messages}).encode()
        with path.open("ab") as file:
            file.write(line(RecordedRequest(1.0 + n, "r", Usage(2300, 50, 2000), raw), False) or b"")
    sweep = swept(path)
    (candidate,) = (one for one in candidates(False) if one.name == "context 0.3")
    policy = candidate.policy
    economy = Economy(lambda: SETTINGS)
    pipeline = Pipeline(Compression(deadline_ms=5000, bypass_share=0), market=economy.market)
    removed = 0
    for request in sweep.requests:
        measured = asyncio.run(pipeline.prepare(request.body, policy, Asked(b"", {}, route="r"))).measured
        removed += (measured.tokens_before or 0) - (measured.tokens_after or 0)
    pipeline.close()
    tokens = sum(request.tokens for request in sweep.requests)
    assert 0 < removed < 0.2 * tokens
    assert sweep.run(candidate).saved.tokens == pytest.approx(removed / tokens)


def test_requests_past_the_deadline_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = asked_for(recorded(tmp_path / "t.jsonl"))
    tune(options, replace(SETTINGS, compression=Compression(deadline_ms=0.001)))
    assert "so counted as sent whole, were of 2: safe 2; lexical 2" in " ".join(capsys.readouterr().out.split())


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
        (["x", "--plot", "none/f.svg"], "none/f.svg: there is no such folder"),
        (["x", "--plot", "."], "Is a directory"),
        (["x", "--plot", __file__], "no picture, so it stays"),
        (["x", "--out", "same", "--plot", "same"], "same: would be written over"),
        (
            ["p.answers.jsonl", "--out", "p.toml", "--upstream", "http://127.0.0.1:9"],
            "p.answers.jsonl: would be written",
        ),
        (["x", "--upstream", "http://127.0.0.1:9", "--key-env", "ODD_KEY"], "ODD_KEY holds characters that no key has"),
    ],
)
def test_what_is_asked_wrongly_is_said_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODD_KEY", "abc\u2019def")
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
    assert "two answers to the same original agree by 1.000" in said
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
        file.write(b'{"asked":"ha')  # as a run leaves it that is killed
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


@pytest.mark.parametrize("foreign", ["mine, without an end", "{"])
def test_a_file_of_one_line_that_never_ended_is_left_alone_where_it_is_no_answer(
    foreign: str, fake: Provider, tmp_path: Path
) -> None:
    options = asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url)
    options.answers.write_text(foreign)
    if foreign != "{":  # which a run that was killed may have left, too
        with pytest.raises(TuneError, match="holds something else than answers"):
            tune(options, SETTINGS)
        assert options.answers.read_text() == foreign
    else:
        tune(options, SETTINGS)


def refusing(request: Request) -> Script:
    """Answers what is whole; what was shortened it refuses, and bills."""
    long = len(request.body) > 4 * len(PASSAGES[0])
    said = {"content": "It is thirty one days."} if long else {"content": None, "refusal": "no"}
    bill = {"prompt_tokens": 1600, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}
    return (whole(json.dumps(completion(**said) | {"usage": bill}).encode()),)


def test_an_answer_without_text_is_paid_for_once_and_agrees_with_nothing(
    fake: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answer = refusing
    options = asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url)
    tune(options, SETTINGS)
    said = capsys.readouterr().out
    assert tomllib.loads(options.out.read_text())["policy"]["tuned"]["extends"] in ("safe", "off")
    assert "0.000 ±0.000" in said  # all that the shortened ones had to lose
    assert "answers were empty or refusals" in said
    asked = len(fake.requests)
    tune(options, SETTINGS)
    assert len(fake.requests) == asked


def test_answers_without_text_are_paid_out_of_the_budget(fake: Provider, tmp_path: Path) -> None:
    fake.answer = refusing
    options = asked_for(recorded(tmp_path / "t.jsonl", 4, max_tokens=10), upstream=fake.url, budget_usd=0.05)
    tune(options, SETTINGS)
    assert len(fake.requests) * 0.004 <= 0.05


def test_where_not_even_originals_are_answered_nothing_is_chosen(fake: Provider, tmp_path: Path) -> None:
    fake.answer = lambda request: (whole(json.dumps(completion(content=None)).encode()),)
    options = asked_for(recorded(tmp_path / "t.jsonl"), upstream=fake.url)
    with pytest.raises(TuneError, match="no two answers to the same original agree"):
        tune(options, SETTINGS)
    assert not options.out.exists()


def test_what_nobody_changes_has_no_part_in_how_well_two_answers_agree(
    fake: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two answers to the original have half of their words in common; ten requests are too short to be shortened."""
    seen: Counter[str] = Counter()

    def answer(body: str) -> str:
        seen[body] += 1
        return "red blue" if seen[body] == 1 else "red green"

    fake.answer = says(answer)
    path = recorded(tmp_path / "t.jsonl", 1)
    for n in range(10):
        raw = json.dumps({"model": "gpt-4o", "messages": [user(f"hi {n}")]}).encode()
        with path.open("ab") as file:
            file.write(line(RecordedRequest(1.0, "r", USAGE, raw), False) or b"")
    tune(asked_for(path, upstream=fake.url), SETTINGS)
    said = " ".join(capsys.readouterr().out.split())
    assert "no policy changes 10 of them, and of the other 1 two answers to the same original agree by 0.500" in said
