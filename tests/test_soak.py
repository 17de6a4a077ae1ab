"""The soak runs, and what it is there to find is found."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soak
from soaking import provider
from soaking.book import Book, Records, leaks, logged, missing, repeated
from soaking.callers import Answer, Seen, fault
from soaking.kinds import KINDS, Kind
from soaking.provider import State
from soaking.watching import Sample, slope, slopes

KIND = {kind.name: kind for kind in KINDS}
CHAT = KIND["chat"]
QUESTION = "Who closed the northern gate, and on which day was that?"
MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": f"a b c. {QUESTION}"}]
BODY = json.dumps({"messages": MESSAGES}).encode()
SHORTER = BODY.replace(b"a b c. ", b"")


def test_a_few_seconds_of_it_hold_all_invariants_and_are_written_down(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    kinds = ["chat", "stream", "file in chunks", "provider tears", "leaves in stream", "key twice"]
    assert soak.main(["--minutes", "0.03", "--json", str(file), "--only", *kinds]) == 0
    written = json.loads(file.read_text())
    assert written["problems"] == []
    assert written["requests"] == sum(kind["requests"] for kind in written["kinds"].values()) > soak.LAST_STREAMS
    assert written["samples"][0]["resident"] > 10
    assert written["kinds"]["chat"]["outcomes"]["compressed"]


def answered(received: bytes, outcome: str = "compressed", serial: int = 7) -> Answer:
    body = provider.sealed(provider.account(received, serial), 100)
    return Answer(200, {"x-laconic-outcome": outcome}, [body], whole=True)


def streamed(received: bytes) -> Answer:
    return Answer(200, {"x-laconic-outcome": "compressed"}, provider.events(provider.account(received, 7)), whole=True)


def test_right_answers_are_right() -> None:
    assert fault(CHAT, BODY, 7, answered(SHORTER)) == ""
    assert fault(CHAT, BODY, 7, streamed(SHORTER)) == ""
    assert fault(CHAT, BODY, 7, answered(BODY, "untouched")) == ""


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (answered(SHORTER, "failed_open"), "altered though it is failed_open"),
        (answered(BODY), "not smaller"),
        (answered(SHORTER.replace(b"day", b"week")), "question were altered"),
        (answered(SHORTER.replace(b"kind", b"mean")), "question were altered"),
        (answered(SHORTER, serial=8), "another request"),
        (replace(answered(SHORTER), whole=False), "broke off"),
        (replace(answered(SHORTER), hung=True), "no end within"),
        (replace(answered(SHORTER), status=502), "status 502"),
        (Answer(), "without an answer"),
        (Answer(200, {}, [answered(SHORTER).body.replace(b"gpt-4o", b"gpt-5o")], whole=True), "checksum"),
        (Answer(200, {}, streamed(SHORTER).pieces[1:], whole=True), "checksum"),
    ],
)
def test_a_wrong_answer_is_told(answer: Answer, wrong: str) -> None:
    assert wrong in fault(CHAT, BODY, 7, answer)


def test_a_broken_stream_that_looks_whole_is_told() -> None:
    assert fault(KIND["provider tears"], BODY, 7, streamed(BODY)) == "a broken stream looks whole"


def noted(kind: Kind, *serials: int, routed: bool = True) -> Book:
    book = Book()
    for serial in serials:
        book.note(Seen(kind.name, serial, 200, "compressed", "words", routed=routed, billed=kind.billed))
    return book


def test_records_that_are_lost_doubled_or_too_many_are_told() -> None:
    book = noted(CHAT, 1, 2)
    assert missing(book, Records({"chat": 2}, {1: 1, 2: 1}), [1, 2]) == []
    (rows, lost) = missing(book, Records({"chat": 1}, {1: 1}), [1, 2])
    assert "1 records for 2" in rows
    assert "1 answered requests are not in the ledger, like 2" in lost
    assert "more than once, like 2" in missing(book, Records({"chat": 2}, {1: 1, 2: 2}), [1, 2])[0]


@pytest.mark.parametrize(("rows", "holds"), [(0, False), (1, True), (2, True), (3, False)])
def test_who_leaves_has_a_record_where_the_provider_was_reached(rows: int, holds: bool) -> None:
    leaving = KIND["leaves in stream"]
    found = missing(noted(leaving, 1, 2, routed=False), Records({leaving.name: rows}, {}), [1])
    assert (found == []) is holds


def test_what_came_twice_or_stayed_open_is_told() -> None:
    assert repeated(State(0, [1, 2])) == []
    assert "more than once, like 2" in repeated(State(0, [1, 2, 2]))[0]
    assert "3 connections" in repeated(State(3, []))[0]


def test_errors_in_the_log_are_told_but_for_those_that_were_provoked() -> None:
    lines = ["t ERROR not reloaded: x", "t INFO fine", "t ERROR compression failed: error: KeyError", "more"]
    assert logged(lines) == ["1 times in the log: compression failed: error: KeyError"]


def samples(resident: Callable[[int], float]) -> list[Sample]:
    return [Sample(3.0 * n, resident(n), 20, 10, 1) for n in range(400)]


def noise(n: int) -> float:
    return hashlib.sha256(b"%d" % n).digest()[0] / 25  # up to 10 MB


def test_a_leak_is_told_and_noise_a_jump_and_a_warm_up_are_not() -> None:
    assert list(leaks(slopes(samples(lambda n: 200 + noise(n))), 1800)) == []
    assert list(leaks(slopes(samples(lambda n: 200 + noise(n) + min(n, 90))), 1800)) == []
    leaking = slopes(samples(lambda n: 200 + noise(n) + 60 * n / 1200))  # 60 MB an hour
    assert list(leaks(leaking, 1200)) == []
    assert "resident grows by" in next(leaks(leaking, 1800))


def test_a_slope_is_that_of_the_line_whatever_single_values_do() -> None:
    values = [5 + n / 120 + 1000 * (n % 11 == 0) for n in range(120)]  # one a minute: half a unit an hour
    found = slope([60.0 * n for n in range(120)], values)
    assert found is not None
    assert found.low <= 0.5 <= found.high
    assert found.per_hour == pytest.approx(0.5, abs=0.05)
    assert slope([1.0], [1.0]) is None
