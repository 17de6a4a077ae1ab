"""Recording: off unless asked for, what a line holds, where it ends; and that no request ever notices it."""

import json
import logging
import signal
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from layouts import NUMBERED, QUESTION, body, user
from provider import Provider, whole
from raw import Header, ask, chat

from policies.presets import PRESETS
from policies.routes import Route
from proxy.app import App
from proxy.check import Checked, check
from proxy.config import load
from proxy.endpoints import Parts
from proxy.pipeline import Pipeline
from proxy.recording import Recorder, open_recorder
from proxy.savings import Measured, Outcome, Savings
from proxy.server import running
from proxy.serving import screen
from proxy.settings import Recording, Settings, Upstream
from proxy.transport import Transport

SPACED = NUMBERED.replace(". ", ".\n\n\n\n")
MESSAGES = [user(f"Context:\n{SPACED}\n\nQuestion: {QUESTION} Write to ann.lee@example.org.")]
PLAIN = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "user": "ann", "temperature": 0.5}).encode()


def settings(fake: Provider, recording: Recording, policy: str = "safe") -> Settings:
    upstreams = {"fake": Upstream("fake", fake.url)}
    return Settings(upstreams, (Route("default", "fake", policy),), PRESETS, recording=recording)


def sent(it: Settings, *bodies: bytes, headers: tuple[Header, ...] = ()) -> list[int]:
    """The statuses of the answers to these, once the server has stopped and written all that it had to."""
    recorder = open_recorder(it.recording)
    app = App(Parts(lambda: it, Pipeline(it.compression), Transport(), recorder=recorder), None)
    with running(app) as url:
        statuses = [ask(url, chat(raw, *headers))[0] for raw in bodies]
    if recorder:
        recorder.close()
    return statuses


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_chat_request_is_one_line_with_its_own_body_redacted_and_what_was_billed(
    fake: Provider, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "traffic.jsonl"
    key = (b"authorization", b"Bearer quokka-key")
    assert sent(settings(fake, Recording(str(path))), PLAIN, PLAIN, headers=(key,)) == [200, 200]
    first, second = lines(path)
    assert (first["route"], first["model"]) == ("default", "gpt-4o")
    assert first["usage"] == {"input": 40, "output": 3, "cached": 8, "cache_write": None, "model": "gpt-4o"}
    assert first["at"] <= second["at"]
    told, original = first["body"], json.loads(PLAIN)
    assert told["temperature"] == 0.5
    assert "user" not in told
    content = told["messages"][0]["content"]
    assert len(content) == len(original["messages"][0]["content"])
    assert content.startswith(original["messages"][0]["content"][:40])  # shortened upstream, recorded whole
    written = path.read_bytes()
    assert b"ann.lee" not in written
    assert b"quokka" not in written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unredacted_bodies_are_kept_as_they_are_but_for_who_asked(fake: Provider, tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    sent(settings(fake, Recording(str(path), redact=False)), PLAIN)
    (line,) = lines(path)
    assert line["body"] == {key: value for key, value in json.loads(PLAIN).items() if key != "user"}


def test_nothing_is_recorded_unless_asked_for(fake: Provider, tmp_path: Path) -> None:
    assert load(None).recording == Recording(None)
    sent(settings(fake, Recording()), PLAIN)
    assert list(tmp_path.iterdir()) == []


def test_what_upstream_gets_does_not_change_with_recording(fake: Provider, tmp_path: Path) -> None:
    for policy in ("off", "safe"):
        for recording in (Recording(), Recording(str(tmp_path / "t.jsonl"))):
            sent(settings(fake, recording, policy), PLAIN)
    off, off_recorded, safe, safe_recorded = (request.body for request in fake.requests)
    assert off == off_recorded == PLAIN
    assert safe == safe_recorded != PLAIN
    assert len(lines(tmp_path / "t.jsonl")) == 2


def test_bodies_that_nobody_could_tune_for_and_bypassed_requests_are_left_out(fake: Provider, tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    it = settings(fake, Recording(str(path)))
    for _ in range(4):
        fake.script(whole(b"{}"))
    sent(it, b"[]", b'{"messages": 1}', b"{", body(MESSAGES))  # NaN in the last
    sent(it, PLAIN, headers=((b"x-laconic", b"off"),))
    assert path.read_bytes() == b""


def test_a_share_of_the_requests_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(Recording(share=0.25), str(tmp_path / "t.jsonl"))
    wanted = sum(recorder.wants() for _ in range(4000))
    recorder.close()
    assert 850 < wanted < 1150  # six standard deviations


def savings() -> Savings:
    return Savings("id", 1.0, "r", "safe", "u", False, Measured(Outcome.COMPRESSED, model="gpt-4o"))


def test_recording_ends_with_one_line_when_the_file_is_full(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.jsonl"
    raw = json.dumps({"model": "m", "messages": [user("word " * 60_000)]}).encode()
    recorder = Recorder(Recording(max_mb=1), str(path))
    for _ in range(8):
        recorder.record(raw, savings())
    recorder.close()
    assert len(lines(path)) == 3
    assert caplog.text.count("has reached 1 MB: nothing more is recorded") == 1
    assert not recorder.wants()
    again = Recorder(Recording(max_mb=1), str(path))
    again.record(raw, savings())
    again.close()
    assert len(lines(path)) == 3


def test_bodies_beyond_the_room_are_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.jsonl"
    recorder = Recorder(Recording(), str(path), room=len(PLAIN) - 1)
    recorder.record(PLAIN, savings())
    recorder.close()
    assert (recorder.dropped, path.read_bytes()) == (1, b"")
    assert "1 requests are missing from the recording" in caplog.text


def test_a_path_that_cannot_be_written_is_one_line_and_requests_go_on(
    fake: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "traffic.jsonl"
    with caplog.at_level(logging.WARNING, "laconic.recording"):
        assert sent(settings(fake, Recording(str(path))), PLAIN, PLAIN) == [200, 200]
    assert caplog.text.count("nothing is recorded") == 1
    assert str(path) in caplog.text


def test_a_folder_in_the_place_of_the_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "laconic.toml"
    config.write_text(
        '[ledger]\npath = "off"\n[recording]\npath = "."\n[[route]]\nname = "all"\npolicy = "off"\n', "utf-8"
    )
    checked = check(lambda: load(config))
    assert checked.obstacles == (f"the recording {tmp_path} is a folder",)
    said = "\n".join(screen(load(config), checked))
    assert f"cannot run: the recording {tmp_path} is a folder" in said
    assert "are kept in" not in said


def test_the_screen_says_that_recording_is_on(fake: Provider, tmp_path: Path) -> None:
    quiet = "\n".join(screen(settings(fake, Recording()), Checked()))
    assert "recording" not in quiet
    assert "keep or log prompts" in quiet
    loud = settings(fake, Recording(str(tmp_path / "t.jsonl"), 0.5))
    said = "\n".join(screen(loud, Checked()))
    told = "recording: 50% of chat requests, redacted, but for names, up to 100 MB, are kept in"
    assert f"{told} {tmp_path / 't.jsonl'}" in said
    assert "keep or log prompts" not in said
    assert "NOT redacted" in "\n".join(screen(replace(loud, recording=Recording("t", redact=False)), Checked()))


def test_serve_records_where_the_configuration_says_so(fake: Provider, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "laconic.toml"
    config.write_text(
        f'[server]\nport = {port}\n[ledger]\npath = "off"\n[recording]\npath = "t.jsonl"\n'
        f'[upstream.fake]\nurl = "{fake.url}"\n[[route]]\nname = "all"\npolicy = "off"\n'
    )
    run = [sys.executable, "-c", "from proxy.cli import main; main()", "serve", "--config", str(config)]
    with subprocess.Popen(run, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            while "stop: Ctrl-C" not in (said := process.stderr.readline()):
                assert process.poll() is None, said
            assert ask(f"http://127.0.0.1:{port}", chat(PLAIN))[0] == 200
        finally:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    (line,) = lines(tmp_path / "t.jsonl")
    assert (line["route"], line["model"]) == ("all", "gpt-4o")


def test_the_file_names_it_relative_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "laconic.toml"
    file.write_text('[recording]\npath = "t.jsonl"\nshare = 0.1\nmax_mb = 7\nredact = false\n')
    assert load(file).recording == Recording(str(tmp_path / "t.jsonl"), 0.1, 7, False)
