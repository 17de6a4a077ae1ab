"""The `laconic` command as a user meets it: a process, its output, its exit status."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "import sys; from proxy.cli import main; sys.exit(main())"]
TEXT = " ".join(f"Shelf {n} of the seed library keeps {n} jars of beans from the valley." for n in range(40))


def laconic(*arguments: str, text: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LACONIC_")}
    run = [*COMMAND, *arguments]
    return subprocess.run(run, input=text, capture_output=True, text=True, timeout=60, env=environment, cwd=cwd)


def test_compress_writes_the_shorter_text_and_says_what_it_cost() -> None:
    done = laconic("compress", "--question", "How many jars on shelf 17?", "--rate", "0.3", text=TEXT)
    assert done.returncode == 0
    assert "Shelf 17 of" in done.stdout
    assert len(done.stdout) < 0.4 * len(TEXT)
    assert "tokens before" in done.stderr


def test_compress_shortens_a_file_of_texts(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"id": "a", "text": TEXT}) + "\n")
    done = laconic("compress", "--jsonl", str(source), "--out", str(tmp_path / "out.jsonl"), "--tokens", "100")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads((tmp_path / "out.jsonl").read_text())["tokens_after"] <= 110


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compress", "--rate", "1.5"], "--rate must be above 0 and at most 1"),
        (["compress", "--tokens", "0"], "--tokens must be above 0"),
        (["compress", "--threshold", "2"], "--threshold must be from 0 to 1"),
        (["compress", "--compressor", "magic"], "no compressor is called 'magic'; known: "),
        (
            ["compress", "--compressor", "lexical", "--model", "gpt-4o"],
            "--model: lexical has no such setting (it takes no settings); whose tokens",
        ),
        (
            ["compress", "--compressor", "passages", "--device", "gpu"],
            '--device may be "auto", "cpu", "cuda", "cuda:N"',
        ),
        (["compress", "--jsonl", "x"], "--jsonl IN and --out OUT go together"),
        (["compress", "--jsonl", "missing.jsonl", "--out", "o"], "missing.jsonl"),
        (["explain", "missing.json"], "missing.json: No such file or directory"),
        (["explain", "--policy", "nice", "x"], "nice"),
        (["check", "--config", "missing.toml"], "missing.toml: cannot be read"),
        (["report", "--ledger", "missing.sqlite3"], "there is no ledger at"),
        (["report", "--since", "yesterday"], "--since"),
        (["serve", "--port", "99999"], "--port"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_not_in_a_traceback(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = laconic(*arguments, text=TEXT, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_explain_prints_a_json_line_a_file_and_goes_on_after_a_bad_one(tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}))
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    done = laconic("explain", "--json", str(bad), str(body))
    assert done.returncode == 2
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(body)]
    assert "bad.json: expected a JSON object" in done.stderr


def test_check_names_every_problem_with_its_line_and_key(tmp_path: Path) -> None:
    config = tmp_path / "laconic.toml"
    config.write_text('[server]\nport = 70000\n\n[[route]]\nname = "a"\npolicy = "balancd"\n')
    done = laconic("check", "--config", str(config))
    assert done.returncode == 2
    assert "laconic.toml:2: server.port" in done.stderr
    assert "laconic.toml:6: route[0].policy" in done.stderr
    assert laconic("check", "--ledger-is-no-flag").returncode == 2


def test_check_of_a_good_configuration_says_what_it_amounts_to(tmp_path: Path) -> None:
    config = tmp_path / "laconic.toml"
    config.write_text(f'[ledger]\npath = "{tmp_path}/l.sqlite3"\n[[route]]\nname = "all"\npolicy = "safe"\n')
    done = laconic("check", "--config", str(config))
    assert done.returncode == 0
    assert "policy safe" in done.stdout
    assert done.stdout.endswith("ready to run\n")


def test_serve_says_what_it_does_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = [*COMMAND, "serve", "--port", str(port), "--ledger", str(tmp_path / "l.sqlite3")]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
        try:
            _until_ready(port)
        finally:
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1" in said
    assert "It will not: touch instructions" in said
    assert "Traceback" not in said
    assert laconic("report", "--ledger", str(tmp_path / "l.sqlite3")).returncode == 0


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_serve_ends_well_while_its_models_are_being_loaded(seconds: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), "--ledger", "off"], stderr=subprocess.PIPE
    ) as process:
        _until_ready(port, "/healthz")
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said


def test_serve_says_so_when_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = laconic("serve", "--ledger", "off", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen on 127.0.0.1" in done.stderr


def _until_ready(port: int, page: str = "/readyz") -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not become ready")
