"""`structured` as a whole: formats told apart, budgets, protected spans, hostile texts. Other files test a format."""

import json

import pytest

from compressors import Budget, Rate, Task, Threshold, Tokens
from compressors.spans import complement, intersect, join
from compressors.structured import Structured, layout
from compressors.tokenizers import counter


def shorten(text: str, budget: Budget, question: str = "") -> str:
    return join(text, Structured().compress([Task(text, budget, question)])[0].spans)


def size(text: str) -> int:
    return counter("o200k_base").count(text)


ORDERS = [{"order": f"N-{n}", "town": town, "crates": n * 3} for n, town in enumerate(["Ulm", "Bern", "Graz"] * 20)]
SAMPLES = {
    "json": json.dumps(ORDERS, indent=2),
    "json after a label": "Result:\n" + json.dumps({"total": 60, "orders": ORDERS}),
    "json in a fence": "Here you are:\n\n```json\n" + json.dumps(ORDERS) + "\n```\n\nAnything else?",
    "json lines": "\n".join(map(json.dumps, ORDERS)) + "\n",
    "python literal": repr(ORDERS),
    "csv": "order,town,crates\n" + "".join(f"{o['order']},{o['town']},{o['crates']}\n" for o in ORDERS),
    "tsv": "order\ttown\tcrates\n" + "".join(f"{o['order']}\t{o['town']}\t{o['crates']}\n" for o in ORDERS),
    "markdown": "## Orders\n\n| order | town |\n|---|---|\n"
    + "".join(f"| {o['order']} | {o['town']} |\n" for o in ORDERS),
    "psql": " order | town \n-------+------\n" + "".join(f" {o['order']:<5} | {o['town']}\n" for o in ORDERS),
    "aligned": "ORDER     TOWN      CRATES\n"
    + "".join(f"{o['order']:<10}{o['town']:<10}{o['crates']}\n" for o in ORDERS),
    "log": "".join(f"2026-03-01 08:{n:02}:00 INFO  depot: order {o['order']} packed\n" for n, o in enumerate(ORDERS)),
    "hits": "".join(f"src/depot/line_{n % 7}.py:{n}:    pack('{o['order']}')\n" for n, o in enumerate(ORDERS)),
    "html": "<!doctype html><html><body><ul>\n"
    + "".join(f"  <li>Order {o['order']}</li>\n" for o in ORDERS)
    + "</ul></body></html>",
    "diff": "".join(
        f"diff --git a/f{n}.py b/f{n}.py\n--- a/f{n}.py\n+++ b/f{n}.py\n"
        f"@@ -1,2 +1,2 @@\n a\n-old = '{o['town']}'\n+new = {n}\n"
        for n, o in enumerate(ORDERS[:30])
    ),
}
PLAIN = {
    "prose": "The depot opens at six, and closes at noon. Nobody works there on Sundays, except for the cat.\n" * 8,
    "list": "- apples, pears\n- plums, cherries\n- nuts, bread\n- milk, honey\n- salt, pepper\n- eggs, flour\n",
    "numbered file": "".join(f"{n:6}\tvalue_{n} = compute({n})\n" for n in range(40)),
    "source": "import os\n\n\ndef pack(order):\n    if order is None:\n        return {}\n    return [order]\n",
    "yaml": "interactions:\n- request:\n    method: GET\n    headers:\n    - accept\n  status:\n    code: 200\n" * 5,
    "citations": "[1] A book about boats\n[2] A book about goats\n[3] Boats and goats, a history\n",
    "c": "int main(void)\n{\n    return 0;\n}\n",
    "markdown with tags": '<p align="left">\n <img src="a.png">\n</p>\n<p><em>Tools.</em></p>\n<p>x</p>\n\n# A\n\nB.\n',
    "hmm": "hmm... ok\nfine\nso be it\nat last\nwe go (all of us)\n",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_known_format_shrinks_to_the_rate_asked(name: str) -> None:
    text = SAMPLES[name]
    lossless = size(shorten(text, Rate(1))) / size(text)
    for rate in (0.75, 0.5, 0.25):
        kept = size(shorten(text, Rate(rate))) / size(text)
        assert min(lossless, rate - 0.12) <= kept <= rate + 0.04, (rate, kept)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_row_asked_for_outlasts_the_others(name: str) -> None:
    mark = "f17.py" if name == "diff" else "N-41"
    assert mark in shorten(SAMPLES[name], Rate(0.15), f"Where did {mark} go?")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_token_target_is_met(name: str) -> None:
    assert size(shorten(SAMPLES[name], Tokens(200))) <= 206


@pytest.mark.parametrize("name", [n for n in SAMPLES if n not in ("diff", "hits")])
def test_a_threshold_keeps_what_matches_and_no_more(name: str) -> None:
    kept = shorten(SAMPLES[name], Threshold(0.9), "N-41")
    assert "N-41" in kept
    assert "N-25" not in kept


@pytest.mark.parametrize("name", SAMPLES)
def test_a_threshold_without_a_question_drops_no_row(name: str) -> None:
    kept = shorten(SAMPLES[name], Threshold(0.9))
    assert kept.count("N-") == SAMPLES[name].count("N-")


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_known_format_keeps_every_word(name: str) -> None:
    text = PLAIN[name]
    assert not layout(text).units
    assert shorten(text, Rate(0.2), "cat").split() == text.split()


@pytest.mark.parametrize("name", SAMPLES)
def test_protected_spans_stay_at_any_budget(name: str) -> None:
    text = SAMPLES[name]
    protected = tuple((at, at + 9) for at in range(40, len(text) - 20, len(text) // 5))
    for budget in (Rate(1), Rate(0.2), Tokens(1), Threshold(0.9)):
        spans = Structured().compress([Task(text, budget, "N-41", protected)])[0].spans
        assert not intersect(complement(spans, len(text)), protected)


def test_a_protected_stretch_does_not_break_json() -> None:
    text = SAMPLES["json"]
    for at in range(0, len(text), 37):
        task = Task(text, Rate(0.2), protected=((at, min(at + 5, len(text))),))
        json.loads(join(text, Structured().compress([task])[0].spans))


def test_numbered_rows_keep_their_number_when_the_question_counts() -> None:
    rows = json.loads(shorten(SAMPLES["json"], Rate(0.3), "How many crates has entry number 9?"))
    assert rows[8] == ORDERS[8]


HOSTILE = {
    "open lists": "[" * 100_000,
    "deep lists": "[" * 10_000 + "]" * 10_000,
    "deep objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "deep html": "<html>" + "<div>" * 10_000 + "x" + "</div>" * 10_000,
    "crossed tags": "<html></p></p></p>" + "<b><p>" * 5_000 + "</b></p>" * 5_000,
    "open comments": "<html></p></p></p>" + "<!--" * 30_000,
    "open scripts": "<html></p></p></p>" + "<script>" * 30_000,
    "odd quotes": "<html></a></a></a>" + "<a \"<b '" * 20_000,
    "quotes": '{"a":"' + '\\"' * 50_000,
    "rules": "|-|\n" * 50_000,
    "pipes": "|" * 100_000,
    "hunks": "--- a\n+++ b\n" + "@@ -1,3 +1,3 @@\n" * 10_000,
    "huge hunk": "--- a\n+++ b\n@@ -1,999999999 +1,999999999 @@\n x\n",
    "fences": "```\n" * 50_000,
    "growing fences": "".join("`" * (3 + n % 300) + "\n" for n in range(1_000)),
    "frames": "    at x(y)\n" * 20_000,
    "one log line": "2026-01-01 10:00:00 ERROR " + "x" * 200_000,
    "blanks": "2026-01-01 10:00:00 ERROR x" + " " * 200_000 + "\n",
    "line breaks": "\n" * 300_000,
    "surrogates": '[{"a": "\ud800"}, {"b": "\udfff"}]' * 50,
    "csv with an open quote": "a,b\n" + '1,"x\n' * 20_000,
    "nul": "a,b,c\n" + "1,\x00,2\n" * 10,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_come_back_as_an_extract(name: str) -> None:
    text = HOSTILE[name]
    for budget in (Rate(1), Rate(0.3)):
        assert size(shorten(text, budget, "x at entry 99999999")) <= size(text)
