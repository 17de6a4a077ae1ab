"""A request explained: what each part is, what may change in it, what would be done."""

import io
import json

import pytest
from rich.console import Console

from proxy.config import load
from proxy.explain import as_json, explain, show
from proxy.wire import UnknownShape

FACTS = " ".join(
    f"Berth {n} of the old harbour was dredged in {1900 + n} and takes ships of {n} metres." for n in range(40)
)
BODY = json.dumps(
    {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You answer from the context. Be brief."},
            {"role": "user", "content": f"Context:\n{FACTS}\n\nQuestion: When was berth 7 dredged?"},
        ],
    }
).encode()


def test_json_names_place_kind_ranges_step_and_reason_of_each_segment() -> None:
    line = as_json("body.json", explain(BODY, load()))
    assert line["file"] == "body.json"
    kinds = [s["kind"] for s in line["segments"]]
    assert kinds[0] == "instruction"
    assert kinds[-1] == "question"
    (context,) = [s for s in line["segments"] if s["kind"] == "context"]
    assert set(context) == {
        "message", "part", "start", "end", "kind", "document", "may_change", "step", "reason",
    }  # fmt: skip
    text = json.loads(BODY)["messages"][1]["content"]
    assert text[context["start"] : context["end"]] == FACTS
    assert context["step"] == "pruner, rate 0.6"
    assert context["reason"] == "planned"
    assert all(context["start"] <= a < b <= context["end"] for a, b in context["may_change"])
    assert all(s["may_change"] == [] for s in line["segments"] if s["kind"] in ("instruction", "question"))
    json.dumps(line)


def test_the_policy_of_the_settings_decides_the_step_but_not_what_may_change() -> None:
    off, balanced = (as_json("f", explain(BODY, load(flags={"policy": p}))) for p in ("off", "balanced"))
    assert {s["step"] for s in off["segments"]} == {None}
    assert [s["may_change"] for s in off["segments"]] == [s["may_change"] for s in balanced["segments"]]


def test_the_table_shows_kinds_tokens_and_reasons() -> None:
    out = io.StringIO()
    show("body.json", explain(BODY, load()), Console(file=out, width=140))
    assert "pruner, rate 0.6" in out.getvalue()
    assert "instruction" in out.getvalue()
    assert "tokens" in out.getvalue()


def test_a_body_that_is_no_chat_request_is_an_error_in_words() -> None:
    with pytest.raises(UnknownShape, match="expected a JSON object"):
        explain(b"[]", load())
