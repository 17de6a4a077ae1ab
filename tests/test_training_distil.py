"""Distillation, by its command, against a provider on a socket: what it asks, pays, survives and writes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from provider import Act, Provider, Request, Script, completion, whole

from training import annotate, jsonl, quality
from training.distil import main

ROOT = Path(__file__).parent.parent
USUAL = ["--model", "gpt-4o-mini", "--budget-usd", "1", "--pause", "0.01"]
STOP_WORDS = {"the", "a", "of", "in", "and", "that", "was", "on", "it", "he", "they", "were", "very"}
MILLION = 1_000_000


def asked(request: Request) -> str:
    """The chunk that a request is about."""
    return str(request.json()["messages"][-1]["content"]).partition("Text:\n")[2]


def answering(shorten: Callable[[str], str]) -> Callable[[Request], Script]:
    def answer(request: Request) -> Script:
        usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        return (whole(json.dumps({**completion(content=shorten(asked(request))), "usage": usage}).encode()),)

    return answer


def drop_stop_words(text: str) -> str:
    return " ".join(word for word in text.split() if word.lower() not in STOP_WORDS)


def error(status: int, message: str, code: str | None = None, *headers: tuple[bytes, bytes]) -> bytes:
    return whole(json.dumps({"error": {"message": message, "code": code}}).encode(), *headers, status=status)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Three documents, one of them of several chunks."""
    return written(tmp_path / "in.jsonl", {"a": story(1), "b": story(30), "ü": "会議は九時に始まった。\n\n" + story(2)})


def written(path: Path, texts: dict[str, str]) -> Path:
    path.write_bytes(b"".join(jsonl.line({"id": name, "text": text}) for name, text in texts.items()))
    return path


def story(length: int) -> str:
    sentence = (
        "On day {} the captain of the ship wrote in a letter that he was very tired and that they were out of bread. "
    )
    return "".join(sentence.format(day) for day in range(length))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def model(fake: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setenv("OPENAI_BASE_URL", fake.url + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    fake.answer = answering(drop_stop_words)
    return fake


def lines(path: Path) -> list[dict[str, Any]]:
    return [record for _, record in jsonl.read(path)]


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


def test_every_chunk_is_asked_for_once_and_its_answer_is_written(model: Provider, texts: Path, out: Path) -> None:
    assert run(texts, out, *USUAL, "--chunk-tokens", 200) == 0
    found = lines(out)
    assert Counter(asked(request) for request in model.requests) == Counter(line["text"] for line in found)
    assert {line["id"] for line in found} >= {"a#0", "b#0", "b#3", "ü#0"}
    originals = {record["id"]: record["text"] for record in lines(texts)}
    for line in found:
        assert originals[line["document"]][line["start"] : line["end"]] == line["text"]
        assert line["compressed"] == drop_stop_words(line["text"])
        assert line["usd"] == pytest.approx((100 * 0.15 + 50 * 0.6) / MILLION)


def test_the_model_is_told_to_drop_words_only(model: Provider, texts: Path, out: Path) -> None:
    run(texts, out, *USUAL, "--extra", '{"top_p": null, "seed": 7}')
    (request, *_) = model.requests
    assert request.target == "/v1/chat/completions"
    assert request.header("authorization") == [b"Bearer sk-of-the-test"]
    sent = request.json()
    rules = sent["messages"][-1]["content"]
    for word in ("Delete", "order", "no other form", "abbreviations", "emojis", "Add no words"):
        assert word in rules
    assert (sent["model"], sent["seed"], "top_p" in sent) == ("gpt-4o-mini", 7, False)
    assert sent["max_tokens"] < 2_000


def test_the_same_command_again_asks_for_nothing(model: Provider, texts: Path, out: Path) -> None:
    run(texts, out, *USUAL)
    before, count = out.read_bytes(), len(model.requests)
    assert run(texts, out, *USUAL) == 0
    assert (out.read_bytes(), len(model.requests)) == (before, count)


def test_a_killed_run_goes_on_where_it_was(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed for good while answers are under way, and in the middle of writing a line."""
    command = [sys.executable, "-m", "training.distil", texts, out, *USUAL, "--chunk-tokens", "100", "--workers", "2"]
    shorten = model.answer

    def stalling(request: Request) -> Script:
        return shorten(request) if len(model.requests) <= 4 else (Act.STALL,)

    model.answer = stalling
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while len(model.requests) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = lines(out)
    assert len(kept) == 4
    with out.open("ab") as file:
        file.write(jsonl.line(kept[0])[:-9])

    model.answer = shorten
    before = len(model.requests)
    assert run(*command[3:]) == 0
    assert "half written" in capsys.readouterr().err
    found = lines(out)
    assert found[:4] == kept
    assert len({line["id"] for line in found}) == len(found) == 4 + len(model.requests) - before
    assert not {asked(request) for request in model.requests[before:]} & {line["text"] for line in kept}


def test_a_line_that_only_lacks_its_end_is_kept(model: Provider, texts: Path, out: Path) -> None:
    run(texts, out, *USUAL)
    whole_file, count = out.read_bytes(), len(model.requests)
    out.write_bytes(whole_file[:-1])
    assert run(texts, out, *USUAL) == 0
    assert (out.read_bytes(), len(model.requests)) == (whole_file, count)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_budget_is_never_exceeded_and_may_be_raised(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    budget = 0.0004
    tight = [*USUAL, "--chunk-tokens", 100, "--workers", workers, "--budget-usd"]
    assert run(texts, out, *tight, budget) == 3
    assert "might exceed the budget of 0.0004 USD" in capsys.readouterr().err
    spent = sum(line["usd"] for line in lines(out))
    assert 0.5 * budget < spent <= budget
    count = len(model.requests)
    assert count == len(lines(out))

    assert run(texts, out, *tight, budget) == 3  # what was spent before counts
    assert len(model.requests) == count
    assert run(texts, out, *tight, 1) == 0
    assert len(model.requests) == len(lines(out)) > count


def test_an_answer_that_says_no_usage_costs_the_most_it_could(model: Provider, texts: Path, out: Path) -> None:
    body = completion(content="short")
    del body["usage"]
    model.answer = lambda request: (whole(json.dumps(body).encode()),)
    assert run(texts, out, *USUAL, "--model", "mine", "--price", 0, 10) == 0
    limits = {asked(request): request.json()["max_tokens"] for request in model.requests}
    for line in lines(out):
        assert line["usd"] == pytest.approx(limits[line["text"]] * 10 / MILLION)


def test_what_passes_is_tried_again(model: Provider, texts: Path, out: Path) -> None:
    model.script(error(429, "slow down", None, (b"retry-after", b"0.01")))
    model.script(error(503, "busy"))
    model.script(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", Act.RESET)
    model.script(whole(b"<html>"))
    assert run(texts, out, *USUAL, "--workers", 1) == 0
    found = lines(out)
    assert len(model.requests) == len(found) + 4
    cost = (100 * 0.15 + 50 * 0.6) / MILLION
    assert found[0]["usd"] > 2 * cost, "answers that broke off or made no sense may have been billed"
    assert [line["usd"] for line in found[1:]] == pytest.approx([cost] * (len(found) - 1))


@pytest.mark.parametrize(
    ("status", "code"), [(401, "invalid_api_key"), (400, None), (404, "model_not_found"), (429, "insufficient_quota")]
)
def test_what_would_fail_again_ends_the_run(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str], status: int, code: str | None
) -> None:
    model.answer = lambda request: (error(status, "We cannot let you.", code),)
    assert run(texts, out, *USUAL, "--workers", 1) == 1
    said = capsys.readouterr().err
    assert 'chunk "a#0"' in said
    assert f"{status} from {model.url}/v1/chat/completions: We cannot let you." in said
    assert "sk-of-the-test" not in said
    assert len(model.requests) == 1


def test_after_the_last_try_the_run_ends_and_answers_under_way_are_kept(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shorten = model.answer

    def answer(request: Request) -> Script:
        return (error(500, "down"),) if "会議" in asked(request) else (0.3, *shorten(request))

    model.answer = answer
    assert run(texts, out, *USUAL, "--tries", 2, "--workers", 8) == 1
    assert "down (tried 2 times)" in capsys.readouterr().err
    assert {line["document"] for line in lines(out)} == {"a", "b"}


def test_money_for_a_chunk_that_failed_is_remembered(model: Provider, texts: Path, out: Path) -> None:
    shorten = model.answer
    model.answer = lambda request: (Act.RESET,)
    assert run(texts, out, *USUAL, "--tries", 2, "--workers", 1) == 1
    (failed,) = lines(out)
    assert failed["failed"] is True
    assert failed["usd"] > 0
    model.answer = shorten
    assert run(texts, out, *USUAL, "--workers", 1) == 0
    assert lines(out)[1]["id"] == "a#0"


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "We sai"}, "finish_reason": "length"}]},
        {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]},
    ],
    ids=["cut off", "refused"],
)
def test_an_answer_that_is_no_short_form_is_a_problem_of_its_chunk_only(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str], body: dict[str, Any]
) -> None:
    model.script(whole(json.dumps(body).encode()))
    assert run(texts, out, *USUAL, "--workers", 1) == 0
    assert "1 of them got no short form" in capsys.readouterr().err
    found = lines(out)
    assert [("problem" in line, "compressed" in line) for line in found] == [(True, False)] + [(False, True)] * (
        len(found) - 1
    )


def test_no_more_requests_than_workers_are_under_way_and_no_bar_is_drawn_but_on_a_terminal(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shorten, at_once = model.answer, []

    def answer(request: Request) -> Script:
        at_once.append(len(model.requests) - len(lines(out)))
        return 0.03, *shorten(request)

    model.answer = answer
    assert run(texts, out, *USUAL, "--chunk-tokens", 60, "--workers", 3) == 0
    assert len(at_once) > 10
    assert max(at_once) == model.connections == 3
    assert "━" not in capsys.readouterr().err


def test_an_estimate_asks_for_nothing(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(texts, out, *USUAL, "--estimate") == 0
    assert "will cost about 0.000" in capsys.readouterr().err
    assert not model.requests


def test_interrupted_it_says_so_and_keeps_what_it_has(model: Provider, texts: Path, out: Path) -> None:
    model.script(*model.answer(Request("POST", "/", [], b'{"messages": [{"content": "Text:\\nthe ship"}]}')))
    model.script(Act.STALL)
    command = [sys.executable, "-m", "training.distil", texts, out, *USUAL, "--workers", "1"]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stderr=subprocess.PIPE, env=os.environ)
    deadline = time.monotonic() + 30
    while len(model.requests) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"stopped" in said
    assert b"Traceback" not in said
    done, cancelled = lines(out)
    assert done["compressed"] == "ship"
    assert cancelled["failed"], "the request under way may be billed"


def test_another_input_for_the_same_output_is_refused(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(texts, out, *USUAL)
    assert run(texts, out, *USUAL, "--chunk-tokens", 50) == 1
    assert '"b#0" has another text there' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', 'in.jsonl:2: the id "a" stands in line 1 already'),
        (b'{"id": "a"}\n', 'in.jsonl:1: "text" must be of type str, there is nothing'),
        (b'{"id": null, "text": "x"}\n', 'in.jsonl:1: "id" must be of type str'),
        (b'{"id": "a", "text": "\xff"}\n', "in.jsonl:1: not UTF-8"),
    ],
)
def test_a_bad_input_is_named_before_any_money_is_spent(
    model: Provider, texts: Path, out: Path, capsys: pytest.CaptureFixture[str], content: bytes, complaint: str
) -> None:
    texts.write_bytes(content)
    assert run(texts, out, *USUAL) == 1
    assert complaint in capsys.readouterr().err
    assert not model.requests


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--model", "nobody-knows"], "no price is known for 'nobody-knows': give --price"),
        (["--budget-usd", "-1"], "not a number of 0 or more"),
        (["--workers", "0"], "not a whole number of 1 or more"),
        (["--extra", "[1]"], "not a JSON object"),
    ],
)
def test_a_wrong_command_is_explained(
    texts: Path, out: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(texts, out, *USUAL, *arguments)
    assert complaint in capsys.readouterr().err


def test_the_three_steps_make_examples_of_what_a_model_kept_and_drop_what_it_spoiled(
    model: Provider, tmp_path: Path
) -> None:
    """The model drops stop words from forty texts, but in one it makes up words, in one it moves and repeats them."""
    source = written(
        tmp_path / "in.jsonl",
        {f"t{i}": f"Ship {i} was lost. The crew of it was {i} men strong. They were in the north." for i in range(40)},
    )

    def shorten(text: str) -> str:
        if text.startswith("Ship 7 "):
            return "A vessel called seven perished"
        if text.startswith("Ship 8 "):
            return "north. men men men strong. crew crew Ship Ship 8"
        return drop_stop_words(text)

    model.answer = answering(shorten)
    files = [tmp_path / name for name in ("distilled.jsonl", "annotated.jsonl", "examples.jsonl")]
    assert run(source, files[0], *USUAL) == 0
    assert annotate.main([str(files[0]), str(files[1])]) == 0
    assert quality.main([str(files[1]), str(files[2]), "--variation", "0.05", "--gap", "0.1"]) == 0
    examples = lines(files[2])
    assert {example["document"] for example in examples} == {f"t{i}" for i in range(40)} - {"t7", "t8"}
    for example in examples:
        words = [example["text"][start:end] for start, end in example["keep_spans"]]
        assert " ".join(words) == drop_stop_words(example["text"])
        assert 0.4 < example["rate"] < 0.8
