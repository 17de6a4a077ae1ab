"""A real model, tiny and with random weights, behind the real service and the real command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Service
from layouts import LAYOUTS, PASSAGES, QUESTION, RULES, body, kept_of, texts, user
from provider import Provider
from raw import ask, chat
from test_cli import TEXT, laconic
from tiny_models import tiny

from proxy.config import load
from proxy.pipeline import Pipeline


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that lies beside its model."""
    (tmp_path / "models").symlink_to(tiny("bert").parent)
    file = tmp_path / "laconic.toml"
    file.write_text(
        f"""
        [ledger]
        path = "off"
        [compression]
        deadline_ms = 60000
        [compressor.meeting]
        use = "classifier"
        model = "models/{tiny("bert").name}"
        device = "cpu"
        [[route]]
        name = "all"
        policy = "minutes"
        [policy.minutes]
        extends = "aggressive"
        context.compressor = "meeting"
        """
    )
    return file


def test_check_runs_it(file: Path) -> None:
    done = laconic("check", "--config", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "compressor meeting: classifier (model " in done.stdout
    assert done.stdout.endswith("ready to run\n")


def test_check_says_how_to_get_a_model_that_is_not_there(file: Path) -> None:
    file.write_text(file.read_text().replace("models/", "some-owner/"))
    done = laconic("check", "--config", str(file))
    assert done.returncode == 1
    assert "the compressor 'meeting' does not load" in done.stderr
    assert f"laconic models download some-owner/{tiny('bert').name}" in done.stderr


def test_requests_are_compressed_with_it_and_say_the_same_again(file: Path, service: Service, fake: Provider) -> None:
    settings = load(file, {}, {"upstream": fake.url})
    pipeline = Pipeline(settings.compression)
    assert pipeline.settle(settings) == ()
    url = service.start_with(settings, pipeline)
    raw = body(LAYOUTS["tags"])
    sent = []
    for _ in range(2):
        headers = dict(ask(url, chat(raw))[1])
        assert headers[b"x-laconic-outcome"] == b"compressed", headers
        sent.append(fake.last.body)
    assert sent[0] == sent[1]
    assert pipeline.cache
    assert pipeline.cache.stats().hits == 1
    (_, rules), (_, new) = texts(sent[0])
    assert rules == RULES
    assert kept_of(new, texts(raw)[1][1])
    assert new.endswith(f"</context>\n\n{QUESTION}")


def test_documents_move_to_where_a_model_would_have_them(tmp_path: Path, service: Service, fake: Provider) -> None:
    titled = "\n\n".join(f"Document [{n}](Title: Town {n}) {p}" for n, p in enumerate(PASSAGES, 1))
    raw = body([user(f"Context:\n{titled}\n\nQuestion: {QUESTION}")])
    found = {}
    for reorder in ("false", "true"):
        file = tmp_path / f"{reorder}.toml"
        file.write_text(
            f"""
            [ledger]
            path = "off"
            [compression]
            deadline_ms = 60000
            [compressor.long]
            use = "question"
            model = "{tiny("gpt2")}"
            device = "cpu"
            order = "two_stage"
            [policy.p]
            context = {{ compressor = "long", rate = 0.5, reorder = {reorder} }}
            [[route]]
            name = "all"
            policy = "p"
            """
        )
        settings = load(file, {}, {"upstream": fake.url})
        pipeline = Pipeline(settings.compression)
        assert pipeline.settle(settings) == ()
        headers = dict(ask(service.start_with(settings, pipeline), chat(raw))[1])
        assert headers[b"x-laconic-outcome"] == b"compressed", headers
        text = texts(fake.last.body)[0][1]
        assert text.endswith(f"\n\nQuestion: {QUESTION}")
        found[reorder] = re.split(r"(?=Document \[)", text.removesuffix(f"\n\nQuestion: {QUESTION}"))
    as_it_was, moved = ([part.strip() for part in found[reorder]] for reorder in ("false", "true"))
    assert sorted(as_it_was) == sorted(moved)
    assert as_it_was != moved


def test_compress_takes_a_folder_for_the_model() -> None:
    arguments = ("compress", "--compressor", "classifier", "--model", str(tiny("bert")), "--device", "cpu")
    done = laconic(*arguments, "--rate", "0.4", text=TEXT)
    assert done.returncode == 0, done.stderr
    before, after = (int(n) for n in done.stderr.split() if n.isdigit())
    assert 0.35 * before < after < 0.45 * before
    assert kept_of(done.stdout, TEXT)
    done = laconic("compress", "--compressor", "classifier", "--model", "some-owner/no-model", text=TEXT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "laconic models download some-owner/no-model" in done.stderr
    assert "Traceback" not in done.stderr


WITHOUT = """
import sys
for name in ("torch", "transformers", "onnxruntime", "onnx", "tokenizers", "safetensors"):
    sys.modules[name] = None
from proxy.cli import main
sys.exit(main())
"""


def test_the_plain_installation_says_what_is_missing_and_compresses_without(file: Path) -> None:
    run = [sys.executable, "-c", WITHOUT]
    done = subprocess.run([*run, "check", "--config", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install laconic" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run([*run, "compress"], input=TEXT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    request = file.parent / "body.json"
    request.write_text(json.dumps({"messages": [{"role": "user", "content": TEXT}]}))
    done = subprocess.run([*run, "explain", str(request)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
