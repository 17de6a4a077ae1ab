"""No word of a prompt, no header of a caller and no key is written anywhere, on good days and on bad ones."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from layouts import CALL, NUMBERED, QUESTION, ROWS, RULES, body, system, tool, user
from provider import Provider, whole
from raw import ask, chat, request

from compressors import Kept, Task, load
from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import create_app
from proxy.ledger import open_ledger
from proxy.meters import LogMeter, telemetry
from proxy.pipeline import Pipeline
from proxy.server import running
from proxy.settings import Compression, Settings, Upstream

CANARIES = ("zanzibarine", "quokkaesque", "sk-canary-5f3a", "vellichorous", "tooltruffle")


class Chatty:
    """A compressor whose error quotes the prompt."""

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        raise ValueError(tasks[0].text, tasks[0].question)


@pytest.mark.parametrize("broken", [False, True])
def test_no_word_of_a_prompt_and_no_key_is_written_anywhere(
    fake: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], broken: bool
) -> None:
    noted = f"{CANARIES[0]} {NUMBERED} {CANARIES[0]}"
    messages = [
        system(f"{RULES} {CANARIES[1]}"),
        user(f"Context:\n{noted}\n\nQuestion: {QUESTION} {CANARIES[3]}"),
        CALL,
        tool(json.dumps({CANARIES[4]: ROWS, "note": noted})),
    ]
    good = body(messages)
    it = Settings({"fake": Upstream("fake", fake.url)}, (Route("default", "fake", "aggressive"),), PRESETS)
    pipeline = Pipeline(Compression(5000, bypass_share=0), (lambda name: Chatty()) if broken else load)
    key = (b"authorization", b"Bearer " + CANARIES[2].encode())
    file = tmp_path / "ledger.sqlite3"
    ledger = open_ledger(str(file))
    told = telemetry({}, lambda: it)
    app = create_app(lambda: it, pipeline, (*told.meters, ledger, LogMeter()), render_metrics=told.render_metrics)
    said: list[bytes] = []
    with caplog.at_level(logging.DEBUG), running(app) as url:
        for raw in (good, good[:-30], good.replace(b"Context", b"\xff"), good.replace(b'"tools"', b'"messages"')):
            fake.script(whole(b'{"error": {}}', status=400))
            _, headers, answer = ask(url, chat(raw, key, (b"x-secret", CANARIES[3].encode())))
            said += [answer, *(b": ".join(header) for header in headers)]
        said += ask(url, chat(good, key, key))[::2][1:]
        fake.script(b"SSH-2.0 nothing\r\n")
        said.append(ask(url, chat(good, key))[2])
        said.append(ask(url, request("GET", "/metrics"))[2])
    told.close()
    ledger.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    out, err = capfd.readouterr()
    assert broken == ("ValueError" in caplog.text)
    assert len(written) > 1000
    assert b"laconic" in said[-1]
    for canary in CANARIES:
        for place in (written, b"".join(said), caplog.text.encode(), out.encode(), err.encode()):
            assert canary.encode() not in place
