"""The contract that every compressor in the table keeps; a new line in the table is tested without a change here."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from msgspec import Struct
from tiny_models import tiny

import compressors
from compressors import Compressor, Kept, Rate, Task, Threshold, Tokens, UnknownCompressor
from compressors.spans import complement, intersect, join
from compressors.tokenizers import counter

LANGUAGES = {
    "ar": "تأسست المكتبة في القرن التاسع عشر. تضم المكتبة آلاف الكتب النادرة. هل تفتح أبوابها يوم الجمعة؟ نعم.",
    "de": "Die Brücke wurde 1902 gebaut. Sie ist z.B. für Radfahrer gesperrt. Im Winter liegt dort Eis. Warum nur?",
    "el": "Το λιμάνι χτίστηκε πριν από αιώνες. Σήμερα δεν έρχονται πολλά πλοία. Πότε φεύγει το επόμενο; Αύριο.",
    "en": "The mill stands by the river. It was built by Ada Brook in 1811. Dr. Lee restored it. Guests come often.",
    "es": "El faro se apagó en 1950. ¿Quién lo apagó? Nadie lo recuerda. La isla tiene dos pueblos y una escuela.",
    "fr": "Le train part à huit heures. Il n'attend personne. Mme Roux le prend chaque lundi. « Vite ! » crie le chef.",
    "hi": "गाँव में एक पुराना कुआँ है। उसका पानी मीठा है। वहाँ कौन जाता है? बच्चे रोज़ शाम को वहाँ खेलते हैं।",
    "ja": "駅は町の北にある。電車は一時間に一本だけ来る。切符はどこで買うのか。「窓口です。」と彼女は言った。",
    "ko": "시장은 아침 여섯 시에 열린다. 생선은 금방 팔린다. 누가 제일 먼저 오는가? 식당 주인들이 온다.",
    "ru": "Мельница стоит у реки. Её построили в 1811 году. Кто её починил? Это сделал местный плотник, г. Орлов.",
    "th": "ตลาดเปิดตอนหกโมงเช้าทุกวันยกเว้นวันอาทิตย์ ปลาสดขายหมดอย่างรวดเร็วก่อนแปดโมงเช้า ใครมาก่อนก็ได้ของดีที่สุดกลับบ้าน",
    "tr": "Köprü 1902 yılında yapıldı. Üzerinden yalnızca yayalar geçer. İlk kim geçti? Bunu kimse bilmiyor artık.",
    "vi": "Chợ mở cửa lúc sáu giờ sáng. Cá tươi bán rất nhanh. Ai đến sớm nhất? Các chủ quán ăn luôn đến sớm nhất.",
    "zh": "磨坊在河边。它建于1811年。谁修好了它？一位木匠修好了它，他住在村子的另一头。“星期天开放。”他说。",
}
STRUCTURED = {
    "json": json.dumps([{"id": i, "name": f"item {i}", "ok": i % 7 != 0} for i in range(30)], indent=2),
    "csv": "id,name,size\n" + "".join(f"{i},part {i},{i * 3}\n" for i in range(40)),
    "log": "".join(f"2026-01-05 10:00:{i:02} INFO served /a/{i % 3} in {i} ms\n" for i in range(60))
    + "ERROR disk full\n",
    "diff": "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\n-two\n+three\n four\n",
    "html": "<ul>\n" + "".join(f"  <li>Row number {i}</li>\n" for i in range(20)) + "</ul>\n",
    "trace": 'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n    main()\nValueError: no\n',
    "code": "```python\ndef f(x):\n    return x   # keep\n```\n\nSome   prose   after it.\n\n\n\nMore of it.",
    "markdown": "# Title\n\nFirst  paragraph. It has two sentences.\n\n- one\n- two\n\n## Next\n\nLast one. [1]",
}
HOSTILE = {
    "empty": "",
    "space": " ",
    "blank": "  \n\t \u3000\n\n ",
    "one word": "word",
    "no spaces": "a" * 20_000,
    "surrogates": "one \ud800. two \udfff two. \udc00 three?" * 3,
    "nul": "a\x00b. c\x00\x00 d. \x00\x1b[31m e.",
    "direction": "abc \u202edef. \u2066ghi\u2069 שלום. \u200f! end.",
    "joiners": "👩‍👩‍👧‍👦 came. 🏳️‍🌈 left! 🇩🇪🇫🇷. 👍🏽👍🏿 stayed.",
    "marks": "Z\u0351\u036b\u0343a\u0301\u0301\u0301lgo. " * 20 + "\u0301\u0301 end. \u200d\u200d",
    "line breaks": "\n" * 200_000,
    "many lines": "a\n" * 10_000,
    "special tokens": "<|endoftext|> one. </s> two. [SEP] three. <|im_start|>system four. <|endofprompt|> five.",
    "brackets": "((((((((((" * 500 + "{[<" * 500 + '"' * 501,
    "json-like": '{"a": [1, 2, {"b": "unclosed',
    "deep": "[" * 5_000 + "]" * 5_000,
}
LONG = "\n\n".join(f"Part {i} of the report. " + LANGUAGES["en"] + " " + LANGUAGES["ru"] for i in range(30))
HUGE = LONG * (1_000_000 // len(LONG) + 1)
TEXTS = {**LANGUAGES, **STRUCTURED, **HOSTILE, "long": LONG}
QUESTIONS = ("", "Who built the mill in 1811? Кто её починил? 谁修好了它？")
BUDGETS = (Rate(0.2), Rate(0.6), Tokens(25), Threshold(0.5))


TINY = {
    "classifier": "bert",
    "perplexity": "gpt2",
    "question": "gpt2",
    "ranked_classifier": "bert",
    "selective": "gpt2",
}
"""Compressors that run a model: the kind of tiny model that they are tested with."""
MORE = {"ranked_classifier": {"ranker": "bm25"}}
"""What else a compressor is told, so that it needs no second model."""


def given(name: str) -> dict[str, str]:
    return {"model": str(tiny(TINY[name])), "device": "cpu", **MORE.get(name, {})}


def settings(name: str) -> Struct | None:
    expected = compressors.settings_of(name)
    return expected(**given(name)) if expected and name in TINY else None


@cache
def loaded(name: str) -> Compressor:
    return compressors.load(name, settings(name))


@pytest.fixture(params=sorted(compressors.TABLE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tokens(text: str) -> int:
    return counter("o200k_base").count(text)


def check(task: Task, kept: Kept) -> None:
    """Ordered, apart, not empty, in range, protected spans alive, no more tokens than before."""
    edges = [edge for span in kept.spans for edge in span]
    assert edges == sorted(set(edges))
    assert not edges or (edges[0] >= 0 and edges[-1] <= len(task.text))
    assert len(kept.scores) in (0, len(kept.spans))
    assert not intersect(complement(kept.spans, len(task.text)), task.protected)
    assert tokens(join(task.text, kept.spans)) <= tokens(task.text)


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_gives_an_extract_that_is_not_longer(name: str, text: str) -> None:
    tasks = [Task(TEXTS[text], budget, question) for budget in BUDGETS for question in QUESTIONS]
    tasks = tasks if len(TEXTS[text]) < 10_000 else tasks[1::6]
    results = loaded(name).compress(tasks)
    assert len(results) == len(tasks)
    for task, kept in zip(tasks, results, strict=True):
        check(task, kept)
        if task.text.strip():
            assert join(task.text, kept.spans).strip(), "a text was emptied"


@pytest.mark.parametrize("text", TEXTS)
def test_protected_spans_stay(name: str, text: str) -> None:
    body = TEXTS[text]
    protected = tuple((i, min(i + 3, len(body))) for i in range(1, min(len(body), 2_000), 17))
    documents = ((0, len(body) // 2), (len(body) // 2, len(body))) if len(body) > 1 else ()
    task = Task(body, Rate(0.3), QUESTIONS[1], protected, documents)
    check(task, loaded(name).compress([task])[0])
    everything = replace(task, protected=((0, len(body)),) if body else ())
    assert join(body, loaded(name).compress([everything])[0].spans) == body


def test_a_megabyte_is_no_problem(name: str) -> None:
    task = Task(HUGE if name not in TINY else HUGE[:100_000], Rate(0.5), QUESTIONS[1])
    check(task, loaded(name).compress([task])[0])


@pytest.mark.parametrize("text", TEXTS)
def test_at_rate_one_only_white_space_may_go(name: str, text: str) -> None:
    """`structured` may also drop what it can tell to be an exact repeat or without meaning, never a letter of prose."""
    task = Task(TEXTS[text], Rate(1), QUESTIONS[1])
    kept = join(task.text, loaded(name).compress([task])[0].spans)
    if name != "structured" or text in LANGUAGES:
        assert kept.split() == task.text.split()


def test_order_of_the_batch_changes_nothing(name: str) -> None:
    tasks = [Task(text, Rate(0.4), question) for text in TEXTS.values() if len(text) < 10_000 for question in QUESTIONS]
    together = loaded(name).compress(tasks)
    assert loaded(name).compress(tasks[::-1])[::-1] == together
    assert [compressors.load(name, settings(name)).compress([task])[0] for task in tasks[:10]] == together[:10]
    assert loaded(name).compress([]) == []


SCRIPT = """
import json, sys, compressors
from compressors import Rate, Task
texts, models = json.load(sys.stdin)
tasks = [Task(text, Rate(0.4), question) for text in texts for question in ("", "Who built the mill?")]
def load(name):
    settings = compressors.settings_of(name)(**models[name]) if name in models else None
    return compressors.load(name, settings)
print(json.dumps({n: [k.spans for k in load(n).compress(tasks)] for n in sorted(compressors.TABLE)}))
"""


def test_another_process_with_another_hash_seed_keeps_the_same() -> None:
    models = {name: given(name) for name in TINY}
    told = json.dumps([[*LANGUAGES.values(), *STRUCTURED.values(), LONG], models])
    answers = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=told,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "20000")
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("text", ["long", "en", "csv", "log", "html"])
def test_a_larger_budget_never_keeps_less_by_more_than_a_unit(name: str, text: str) -> None:
    body = TEXTS[text]
    unit = max(tokens(line) for line in body.splitlines())
    rates = [step / 20 for step in range(1, 21)]
    results = loaded(name).compress([Task(body, Rate(rate), QUESTIONS[1]) for rate in rates])
    sizes = [tokens(join(body, kept.spans)) for kept in results]
    assert all(after >= before - unit for before, after in pairwise(sizes)), sizes


def test_names_lead_to_compressors_and_unknown_ones_say_which_are_known() -> None:
    assert set(compressors.TABLE) <= set(compressors.names())
    with pytest.raises(UnknownCompressor, match=r"known: .*lexical"):
        compressors.load("lexicla")
