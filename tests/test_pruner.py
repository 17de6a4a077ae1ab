"""`pruner`: what it finds by meaning, what it leaves to words alone; callers, their time and memory kept apart."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic

import pytest
from test_lexical import TOWNS, context

from compressors import Cancelled, Kept, Rate, Task, Tokens, cancel, load
from compressors.embedding import Embedder, Text
from compressors.encoders import engine
from compressors.encoders.torch import TorchEncoder
from compressors.lexical import Lexical, passages
from compressors.pruner import Pruner, PrunerSettings
from compressors.selection import layout
from compressors.spans import join
from compressors.tokenizers import counter
from policies.presets import PRESETS
from policies.routes import Route
from proxy.check import check
from proxy.demo.cases import passages as sample
from proxy.pipeline import Pipeline
from proxy.settings import Settings, Upstream
from proxy.span_cache import Remembering, SpanCache

QUESTION = "How much does the company pay towards a desk chair at home?"


def handbook(rate: float = 0.25, question: str = QUESTION) -> Task:
    return Task("\n\n".join(f"## {title}\n{body}" for title, body in sample("handbook")), Rate(rate), question)


def towns(question: str, rate: float = 0.4) -> Task:
    text, titles, documents = context(TOWNS)
    return Task(text, Rate(rate), question, titles, documents)


def fresh(**settings: object) -> Pruner:
    """With nothing read yet: settings that no other test has make an embedder of its own."""
    return Pruner(PrunerSettings(**{"device": "cpu", **settings}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pruner() -> Pruner:
    made = fresh()
    made.warm_up()
    return made


def kept(compressor: Pruner | Lexical, task: Task) -> str:
    return join(task.text, compressor.compress([task])[0].spans)


def test_the_sentence_that_answers_stays_and_so_does_every_title(pruner: Pruner) -> None:
    found = kept(pruner, towns("When was the harbour of Alder closed?"))
    assert "closed in 1950" in found
    assert all(f"] {title}\n" in found for title in TOWNS)
    assert "320 euros" in kept(pruner, handbook())


def test_what_is_said_in_other_words_is_found(pruner: Pruner) -> None:
    task = Task(
        "The firm was founded by two brothers.\nThe vessel departs at dawn from pier four.\nLunch is in the hall.\n"
        "Visitors sign the book at the gate.\nThe archive is in the cellar.",
        Rate(0.3),
        "When does the ship leave?",
    )
    assert "departs at dawn" in kept(pruner, task)


@pytest.mark.parametrize("budget", [Rate(0.5), Rate(0.25), Tokens(120)])
def test_the_size_is_met_as_nearly_as_by_words_alone(pruner: Pruner, budget: Rate | Tokens) -> None:
    task = replace(handbook(), budget=budget)
    count = counter(task.encoding).count
    target = budget.value * count(task.text) if isinstance(budget, Rate) else budget.value
    assert abs(count(kept(pruner, task)) - target) <= 60


OTHER = {
    "German": "\n\n".join(f"## {title}\n{body}" for title, body in sample("stadtwerke")),
    "Japanese": "\n\n".join(f"## {title}\n{body}" for title, body in sample("ryokan")),
}


@pytest.mark.parametrize("language", OTHER)
def test_languages_that_the_model_does_not_read_are_left_to_words(pruner: Pruner, language: str) -> None:
    task = Task(OTHER[language], Rate(0.4), "Wie hoch ist der Zuschuss?")
    assert pruner.compress([task]) == Lexical().compress([task])


def test_without_a_question_words_decide(pruner: Pruner) -> None:
    task = handbook(question=" ")
    assert pruner.compress([task]) == Lexical().compress([task])


def test_a_deadline_that_is_too_near_leaves_the_rest_to_words(pruner: Pruner) -> None:
    with cancel.watched(lambda: True, monotonic()):
        late = pruner.compress([handbook(question="Who approves special furniture?")])
    assert late == Lexical().compress([handbook(question="Who approves special furniture?")])


def test_a_device_that_is_busy_for_too_long_is_not_waited_for() -> None:
    """The request goes on with what words say, well before its own deadline."""
    compressor = fresh(cache_mb=28)
    embedder, task = compressor._embedder, handbook(question="Who pays for the lamps?")
    busy = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(embedder.device.run, lambda: busy.wait(30))
        try:
            with cancel.watched(lambda: True, monotonic() + 3.0):
                found = compressor.compress([task])
                assert cancel.remaining() > 0
        finally:
            busy.set()
            blocked.result()
    assert found == Lexical().compress([task])


def test_what_was_kept_for_want_of_time_stays_so_once_it_was_sent(pruner: Pruner) -> None:
    """A provider's cache would miss if a later request found time."""
    cache = SpanCache(1 << 20)
    remembering = Remembering(pruner, cache, b"")
    task = handbook(question="What does a kneeling chair need?")
    with cancel.watched(lambda: True, monotonic()):
        (first,) = remembering.compress([task])
    assert remembering.compress([task]) == [first] != pruner.compress([task])


def test_work_that_nobody_waits_for_ends(pruner: Pruner) -> None:
    gone = threading.Event()
    gone.set()
    with cancel.watched(lambda: not gone.is_set()), pytest.raises(Cancelled):
        pruner.compress([handbook(question="Who signs?")])


def text_of(task: Task) -> Text:
    units = layout(task).units
    return Text(task.text, units, passages(task, units), task.question)


def costs(embedder: Embedder, task: Task, whose: bytes = b"") -> float:
    with cancel.watched(lambda: True, whose=whose):
        return embedder.read(text_of(task)).least


def test_a_passage_is_read_once_for_each_caller() -> None:
    compressor = fresh(cache_mb=31)
    embedder, task = compressor._embedder, handbook()
    first = costs(embedder, task, b"ann")
    with cancel.watched(lambda: True, whose=b"ann"):
        compressor.compress([task])
    assert costs(embedder, task, b"ann") == 0 < first == costs(embedder, task, b"bob")


def test_memory_for_passages_is_bounded() -> None:
    compressor = fresh(cache_mb=1)
    for n in range(4):
        compressor.compress([replace(handbook(), text=f"Edition {n}.\n{handbook().text}")])
    assert 0 < compressor._embedder._kept._bytes <= 1 << 20
    nothing = fresh(cache_mb=0)
    nothing.compress([handbook()])
    assert nothing._embedder._kept._bytes == 0


def test_known_passages_give_what_new_ones_give(pruner: Pruner) -> None:
    again = [pruner.compress([handbook()]) for _ in range(2)]
    assert again[0] == again[1] == fresh(cache_mb=30).compress([handbook()])


def test_callers_from_many_threads_get_what_each_would_get_alone(pruner: Pruner) -> None:
    tasks = [towns("Who designed the bell tower?"), handbook(), towns("What burnt down?"), handbook(0.5)]
    alone = [fresh(cache_mb=29).compress([task])[0] for task in tasks]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda task: pruner.compress([task])[0], tasks * 4))
    assert together == alone * 4


HOSTILE = {
    "nothing": "",
    "white space": " \n\n ",
    "one word": "x",
    "half a character": "\ud83d The vessel leaves at dawn.\nIt is \udc00 late.\nThe end of that and this.",
    "no space": "a" * 20_000,
    "special tokens": "[CLS] the [SEP] of [MASK] and that.\n[PAD] with this.\n[UNK] and from there.",
    "titles only": "\n\n".join(f"## The name of that {n}" for n in range(40)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_gives_an_extract(pruner: Pruner, name: str) -> None:
    text = HOSTILE[name]
    (found,) = pruner.compress([Task(text, Rate(0.5), "What is the \ud83d end of that?")])
    assert isinstance(found, Kept)
    assert len(join(text, found.spans)) <= len(text)


def test_without_an_engine_all_is_left_to_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    alone = load("pruner", PrunerSettings())
    assert isinstance(alone, Pruner)
    alone.warm_up()
    assert "onnxruntime is not installed" in alone.lacks
    assert alone.lacks in alone.version
    assert alone.compress([handbook()]) == Lexical().compress([handbook()])


def test_without_an_engine_check_and_readiness_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    settings = Settings({"up": Upstream("up", "http://127.0.0.1:1")}, (Route("all", "up", "balanced"),), PRESETS)
    checked = check(lambda: settings)
    assert checked.ok
    assert [line for line in checked.lines if "pruner: its model does not run" in line]
    pipeline = Pipeline(settings.compression)
    assert pipeline.settle(settings) == ()
    assert [why.partition(":")[0] for why in pipeline.troubles(settings)] == ["classifier", "pruner"]
    pipeline.close()


def test_torch_keeps_what_the_small_engine_keeps(pruner: Pruner) -> None:
    """The same int8 weights, in float32: nine of ten characters of what the one keeps, the other keeps too."""
    torch = fresh(precision="fp32")
    torch._embedder._model = TorchEncoder(torch._embedder.checkpoint, "cpu", "fp32", head=False)
    same = total = 0
    for question in (QUESTION, "When is the desk erased?", "Who may travel first class?", "What is settled in March?"):
        one, other = (set(places(c.compress([handbook(question=question)])[0])) for c in (pruner, torch))
        same, total = same + len(one & other), total + len(one)
    assert same / total > 0.9


def places(found: Kept) -> list[int]:
    return [i for start, end in found.spans for i in range(start, end)]
