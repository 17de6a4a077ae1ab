"""`laconic demo`, run as users run it, and the honesty of its scripted provider."""

import io
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from proxy.demo import run
from proxy.demo.cases import Case, Line, cases, user
from proxy.demo.provider import NOT_FOUND, answer
from proxy.demo.session import Result, session
from proxy.demo.show import diff, legend, table


@pytest.fixture(scope="module")
def results() -> list[Result]:
    with session(cases()) as through:
        return [through.send(case) for case in cases()]


def by_name(results: list[Result], name: str) -> Result:
    return next(r for r in results if r.case.name == name)


def test_the_command_runs_without_a_terminal_in_80_columns(tmp_path: Path) -> None:
    """Exit status 0, plain text, nothing wider than the page, and the two lines that say what to do next."""
    command = shutil.which("laconic", path=str(Path(sys.executable).parent))
    assert command
    done = subprocess.run([command, "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "laconic serve" in done.stdout
    assert "export OPENAI_BASE_URL=http://127.0.0.1:8787/v1" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_it_talks_to_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: whatever connects to another host fails."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert run() == 0


def test_no_answer_is_lost_and_most_requests_shrink(results: list[Result]) -> None:
    assert [r.case.name for r in results if not r.kept] == []
    shorter = [r for r in results if r.outcome == "compressed"]
    assert len(shorter) >= 8
    assert all(r.before and r.after and r.after < r.before and len(r.received) < len(r.sent) for r in shorter)


def test_every_context_shrinks_however_it_is_laid_out(results: list[Result]) -> None:
    assert [r.case.name for r in results if r.route == "rag" and r.before == r.after] == []


def test_what_is_left_alone_arrives_byte_for_byte_and_says_why(results: list[Result]) -> None:
    alone = [r for r in results if r.outcome != "compressed"]
    assert {"translation", "plain question", "agent, step 1"} <= {r.case.name for r in alone}
    assert all(r.received == r.sent and r.reason for r in alone)


def test_the_provider_counts_what_it_received(results: list[Result]) -> None:
    """Its usage is near the proxy's own count after shortening: the frames of the messages are the difference."""
    for r in results:
        assert r.after is not None
        assert 0 < r.prompt_tokens - r.after < 20 + 5 * len(r.case.messages)


def test_tool_output_stays_json_and_its_call_stays_as_it_was(results: list[Result]) -> None:
    r = by_name(results, "agent, JSON rows")
    sent, received = json.loads(r.sent), json.loads(r.received)
    assert received["messages"][:3] == sent["messages"][:3]
    rows = json.loads(received["messages"][3]["content"])
    assert [row for row in rows if row["order"] == 50317] == [row for row in rows if row["note"]]


def test_the_provider_admits_what_it_was_not_given() -> None:
    line = Line("38 dB(A)")
    assert answer(line, [user("It falls to 38 dB(A). It weighs 138 kg.")])["content"] == "It falls to 38 dB(A)."
    assert answer(line, [user("It weighs 138 kg.")])["content"] == NOT_FOUND


def test_a_lost_answer_is_shown_as_lost() -> None:
    case = Case("lost", "", [user("Say it.")], Line("a fact that no text holds"))
    with session([case]) as through:
        result = through.send(case)
    assert not result.kept
    assert "LOST" in printed(table([result], None))


def test_it_says_so_and_fails_where_nothing_could_be_shortened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("proxy.pipeline.shorten", broken)
    assert run() == 1
    assert "translation: error: RuntimeError" in capsys.readouterr().out


def test_the_legend_names_the_model_the_price_and_each_reason(results: list[Result]) -> None:
    text = "\n".join(legend(results, None))
    assert "list price of gpt-5.4" in text
    assert re.search(r"translation: \S", text)


def test_the_diff_marks_what_went(results: list[Result]) -> None:
    """With its marks taken as cuts, the text that is shown is the beginning of what arrived."""
    r = by_name(results, "manual, labelled")
    text = diff(r, plain(), 3000).plain
    kept = re.sub(r"\[-.*?-\]", "", text, flags=re.DOTALL)
    assert "[-" in text
    arrived = json.loads(r.received)["messages"][0]["content"]
    assert "".join(arrived.split()).startswith("".join(kept.split()))


def test_on_a_terminal_the_diff_is_coloured(results: list[Result]) -> None:
    colours = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    shown = diff(by_name(results, "manual, labelled"), colours, 3000)
    assert "[-" not in shown.plain
    assert any(span.style == "red strike" for span in shown.spans)


def plain() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=False)


def printed(what: object) -> str:
    console = plain()
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
