"""The judge's rows: from methods to measured values, intervals, the journal, Markdown, and the command itself."""

import gzip
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import quality
from judge import cases, estimates, methods, report
from judge.cases import Case
from judge.journal import Journal, key
from judge.measure import PAIR, THRESHOLD, Measured, Plan, measure
from judge.methods import BLIND, QUESTION, SENTENCE, Method
from judge.metrics import Value
from test_quality import RECORD

from compressors import spans
from compressors.base import Compressor, Kept, Task, Tokens


class Noted:
    """Keeps the first half of each text and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[Task]] = []

    def compress(self, tasks: Sequence[Task]) -> list[Kept]:
        self.calls.append(list(tasks))
        return [Kept(((0, len(task.text) // 2),)) for task in tasks]


def whole(found: Iterable[Case]) -> Iterable[Case]:
    return found


def plan(number: int = 3, kind: str = QUESTION, sizes: tuple[str, ...] = ("0.5", "0.25")) -> Plan:
    found = tuple(cases.passages({**RECORD, "id": str(i)}) for i in range(number))
    return Plan("nq", kind, found, sizes, 2)


def method(made: Compressor, name: str = "noted", most: int | None = None) -> Method:
    return Method(name, lambda _: made, most=most)


def test_every_case_is_measured_at_every_size_and_timed_at_the_first() -> None:
    made = Noted()
    found = measure(plan(), method(made), None, whole)
    assert [len(call) for call in made.calls] == [1, 1] * 3
    assert list(found.values) == ["0.5", "0.25"]
    assert len(found.ms) == len(found.positions) == len(found.values["0.25"]["kept"]) == 3
    assert found.positions == [0.5] * 3


def test_only_the_first_cases_are_timed_of_others_all_sizes_are_asked_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("judge.measure.TIMED", 1)
    made = Noted()
    assert len(measure(plan(), method(made), None, whole).ms) == 1
    assert [len(call) for call in made.calls] == [1, 1, 2, 2]


def test_slow_methods_are_measured_on_fewer_records_but_ours_on_all_dialogues() -> None:
    assert len(measure(plan(), method(Noted(), most=2), None, whole).positions) == 2
    assert len(measure(plan(kind=BLIND), method(Noted(), "classifier", 2), None, whole).positions) == 3


def test_the_size_of_a_pair_is_counted_in_tokens_and_only_classifiers_have_thresholds() -> None:
    case = cases.pair({"id": "1", "text": "Rain fell on the old town today.", "keep_spans": [[0, 9]]})
    made = Noted()
    measured = measure(Plan("google", SENTENCE, (case,), (PAIR, THRESHOLD), 0), method(made), None, whole)
    assert list(measured.values) == [PAIR]
    assert made.calls[0][0].budget == Tokens(2)


@pytest.mark.parametrize("made", [methods.SentenceBM25(), methods.Words(methods.lots), methods.rarity(["a b b"])])
def test_the_simple_methods_meet_a_rate(made: Compressor) -> None:
    task = plan(1).cases[0].task
    text = task.text * 6
    (kept,) = made.compress([Task(text, Tokens(60), "Who built the ferry?")])
    assert 0 < len(spans.join(text, kept.spans)) < len(text) * 0.6


def test_rare_words_stay() -> None:
    made = methods.rarity(["the the the cat the the", "the dog"])
    (kept,) = made.compress([Task("the cat the dog the", Tokens(2))])
    assert spans.join("the cat the dog the", kept.spans).split() == ["cat", "dog"]


def test_without_context_and_the_original_are_the_ends_of_the_scale() -> None:
    nothing, original = (measure(plan(), one, None, whole) for one in methods.ends_of_the_scale())
    assert nothing.values["0"]["kept"][0] == (0, 1)
    assert original.values["1"]["answers"][0] == (1, 1)
    assert original.values["1"]["kept"][0] == (1, 1)


def test_an_estimate_is_a_share_of_sums_within_its_interval() -> None:
    values: list[Value] = [(1, 1), (0, 1), (3, 8), (0, 0)]
    found = estimates.estimate(values)
    assert found is not None
    assert found[0] == 0.4
    assert found[1] < 0.4 < found[2]
    assert found == estimates.estimate(values)
    assert estimates.estimate([(0, 0)]) is None


def test_intervals_shrink_with_more_records() -> None:
    few, many = (estimates.estimate([(i % 2, 1) for i in range(n)]) for n in (20, 800))
    assert few is not None
    assert many is not None
    assert few[2] - few[1] > 2 * (many[2] - many[1])


def test_differences_are_drawn_together() -> None:
    """Two methods that always differ by the same have no doubt about it, however much records differ."""
    lower = [(0.1 * (i % 9), 1.0) for i in range(60)]
    higher = [(part + 0.1, 1.0) for part, _ in lower]
    assert estimates.difference(higher, lower) == (0.1, 0.1, 0.1)
    assert estimates.difference(higher[:10], lower) == (0.1, 0.1, 0.1)


def test_a_reader_is_compared_with_itself_on_the_original() -> None:
    whole, half = ([(part, 1.0) for part in parts] for parts in ((0.8, 0.4), (0.4, 0.2)))
    original = Measured("nq", "original", {"1": {"f1": whole}}, [1.0] * 2, [None] * 2)
    shortened = Measured("nq", "ours", {"0.25": {"f1": half}}, [1.0] * 2, [None] * 2)
    assert estimates.rows(QUESTION, [original, shortened])[1].read == (0.5, 0.5, 0.5)


def measured(name: str, answers: Sequence[Value], positions: Sequence[float | None] = ()) -> Measured:
    values = {"0.25": {"answers": list(answers), "kept": [(0.25, 1.0)] * len(answers)}}
    return Measured("nq", name, values, [1.0] * len(answers), list(positions) or [None] * len(answers))


def test_rows_say_what_is_gained_over_lexical_and_where_the_gold_document_stood() -> None:
    lexical = measured("lexical", [(0, 1)] * 10)
    better = measured("better", [(1, 1)] * 5 + [(0, 1)] * 5, [0.05] * 5 + [1.0] * 5)
    base, row = estimates.rows(QUESTION, [lexical, better])
    assert row.gains["answers"][0] == 0.5
    assert not base.gains
    assert row.fifths["answers"] == [(1, 1, 1), None, None, None, (0, 0, 0)]


def test_markdown_has_a_column_a_set_and_a_line_a_method() -> None:
    rows = estimates.rows(QUESTION, [measured("lexical", [(1, 1), (0, 1)]), measured("ours", [(1, 1), (1, 1)])])
    text = report.markdown(rows, ["made by hand"])
    assert "## Answers kept at 25% of the tokens\n\n| | nq |\n|---|--:|\n| lexical | .500 [.00, 1.00] |\n" in text
    assert "| ours | 1.000 |" in text
    assert "Needles" not in text


def test_the_journal_gives_back_what_was_measured_and_forgives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    one = measure(plan(), method(Noted()), None, whole)
    Journal(path).add(key("a", 1), one)
    with path.open("a") as lines:
        lines.write('{"key": "b", "measu')
    Journal(path).add(key("c"), one)
    again = Journal(path)
    found = again.get(key("a", 1))
    assert found is not None
    assert estimates.rows(QUESTION, [found]) == estimates.rows(QUESTION, [one])
    assert again.get(key("c")) is not None
    assert again.get(key("a", 2)) is None


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["quality.py", *words])
    quality.main()
    return capsys.readouterr().out


def test_the_command_measures_what_it_can_says_what_it_cannot_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with gzip.open(tmp_path / "qa_nq_multidoc.jsonl.gz", "wt", encoding="utf-8") as lines:
        for number in range(12):
            titled = [{**d, "title": f"{d['title']} {number}"} for d in RECORD["documents"]]
            lines.write(json.dumps({**RECORD, "id": str(number), "documents": titled}) + "\n")
    words = ["--data", str(tmp_path), "--sets", "nq", "sgd", "needle", "--limit", "4", "--rates", "0.5", "0.25"]
    words += [
        "--methods",
        "lexical",
        "random",
        "llmlingua2",
        "--out",
        str(tmp_path / "out" / "q"),
        "--journal",
        str(tmp_path / "j"),
    ]
    first = run(monkeypatch, capsys, *words)
    assert "nq lexical: 4 records" in first
    assert "left out: sgd: no dialogue_sgd.jsonl.gz" in first
    assert "left out: llmlingua2: no --model llmlingua2=FOLDER" in first
    assert "left out: selective" not in first
    result: dict[str, Any] = json.loads((tmp_path / "out" / "q.json").read_text())
    assert {(row["set"], row["method"], row["size"]) for row in result["rows"]} == {
        (name, one, size) for name in ("nq", "needle") for one in ("lexical", "random") for size in ("0.5", "0.25")
    }
    assert str(tmp_path) not in result["command"]
    assert "--data DIR" in result["command"]
    assert "| lexical |" in (tmp_path / "out" / "q.md").read_text()
    again = run(monkeypatch, capsys, *words)
    assert "nq lexical: measured before" in again
    assert json.loads((tmp_path / "out" / "q.json").read_text())["rows"] == result["rows"]
