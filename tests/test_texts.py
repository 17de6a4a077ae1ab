"""Texts from a file are shortened line by line; a run that was stopped goes on; nobody's file is overwritten."""

import io
import json
from pathlib import Path

import pytest

from compressors import Rate, Threshold, load
from proxy.texts import BadRecord, Shortening, shorten_lines, shorten_text

TEXT = " ".join(f"Locker {n} on platform {n % 7} holds {n} umbrellas and a map of the canal." for n in range(30))
HOW = Shortening("lexical", Rate(0.5))


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_result_is_what_its_spans_say_and_counts_its_tokens(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", {"id": "a", "text": TEXT, "question": "What does locker 12 hold?"})
    assert shorten_lines(source, tmp_path / "out.jsonl", HOW, io.StringIO()) == 0
    (row,) = read(tmp_path / "out.jsonl")
    assert list(row) == ["id", "text", "spans", "tokens_before", "tokens_after", "ms"]
    assert row["text"] == "".join(TEXT[a:b] for a, b in row["spans"])  # type: ignore[attr-defined]
    assert "Locker 12" in str(row["text"])
    assert row["tokens_after"] < row["tokens_before"]  # type: ignore[operator]


def test_a_second_run_does_only_what_the_first_left_undone(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *({"id": n, "text": TEXT} for n in range(3)))
    out = tmp_path / "out.jsonl"
    shorten_lines(source, out, HOW, io.StringIO())
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(lines[0] + lines[1][:20])  # killed in the middle of a line
    shorten_lines(source, out, HOW, io.StringIO())
    assert [r["id"] for r in read(out)] == [0, 1, 2]
    assert out.read_bytes().startswith(lines[0])


def test_lines_that_cannot_be_used_are_named_and_the_others_done(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 1, "text": "One."}\n{oops\n\n{"id": 2}\n{"id": 3, "text": "x", "question": 4}\n', "utf-8")
    errors = io.StringIO()
    assert shorten_lines(source, tmp_path / "out.jsonl", HOW, errors) == 3
    assert [r["id"] for r in read(tmp_path / "out.jsonl")] == [1]
    said = errors.getvalue()
    assert "in.jsonl:2: not JSON" in said
    assert 'in.jsonl:4: expected an object with "id" and a string "text"' in said
    assert 'in.jsonl:5: "question" must be a string' in said


@pytest.mark.parametrize("content", ["shopping list", "shopping list\n", '{"id": 1}\nmilk', '["id"]\n', "\xff\n"])
def test_a_file_that_holds_something_else_is_refused_and_left_as_it_was(tmp_path: Path, content: str) -> None:
    out = tmp_path / "notes.txt"
    out.write_text(content, encoding="latin-1")
    with pytest.raises(BadRecord, match="holds something else"):
        shorten_lines(write(tmp_path / "in.jsonl", {"id": 1, "text": TEXT}), out, HOW, io.StringIO())
    assert out.read_text(encoding="latin-1") == content


def test_a_text_that_cannot_be_shortened_comes_back_whole() -> None:
    result = shorten_text("Short.", Shortening("identity", Threshold(0.9)), load("identity"))
    assert (result.text, result.spans, result.tokens_before) == ("Short.", ((0, 6),), result.tokens_after)
    assert shorten_text("", HOW, load("lexical")).spans == ()
