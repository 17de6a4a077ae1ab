"""Every ranker keeps the protocol; each sees what it is meant to see."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny

from compressors import Cancelled, Unavailable, cancel
from compressors.causal import Row, causal
from compressors.rankers import TABLE, Options, Ranker, ranker
from compressors.rankers.perplexity import GUIDE, Perplexity

NOTES = (
    "The harbour of Alder was closed in 1950 after a storm.",
    "The bell tower of Birch was designed by Ida Frost.",
    "Cedar has two schools and a market.",
    "Elm was founded by miners; the pits are flooded now.",
)
ASKED = ("Who designed the bell tower?", "", "Which town has a harbour?")
MODELS = {"bm25": "", "perplexity": "gpt2", "biencoder": "minilm-bi-encoder", "crossencoder": "cross-encoder"}


def options(name: str, mode: str = "after") -> Options:
    model = MODELS[name]
    return Options(str(tiny(model)) if model else "", "cpu", "fp32", mode)


@pytest.fixture(params=TABLE)
def made(request: pytest.FixtureRequest) -> Ranker:
    if request.param.endswith("encoder"):
        pytest.importorskip("sentence_transformers")
    return ranker(request.param, options(request.param))


def test_one_finite_number_a_document(made: Ranker) -> None:
    groups = [NOTES, NOTES[:1], ["", "x", "\ud800", "word " * 3_000]]
    scores = made.score(ASKED, groups)
    assert [len(one) for one in scores] == [4, 1, 4]
    assert all(np.isfinite(one).all() for one in scores)
    assert made.score([], []) == []
    assert made.version == ranker(made.version.partition("-")[0], options(made.version.partition("-")[0])).version


def test_the_batch_changes_nothing(made: Ranker) -> None:
    together = made.score(ASKED, [NOTES, NOTES[::-1], NOTES])
    for query, group, found in zip(ASKED, [NOTES, NOTES[::-1], NOTES], together, strict=True):
        np.testing.assert_allclose(made.score([query], [group])[0], found, atol=1e-4)
    np.testing.assert_allclose(made.score(ASKED[:1], [NOTES[::-1]])[0][::-1], together[0], atol=1e-4)


def test_another_question_gives_other_scores(made: Ranker) -> None:
    one, _, other = made.score(ASKED, [NOTES] * 3)
    assert not np.allclose(one, other, atol=1e-4)


def test_it_stops_when_nobody_waits(made: Ranker) -> None:
    if made.version.startswith("bm25"):
        pytest.skip("too quick to ask")
    made.warm_up()
    with cancel.watched(lambda: False), pytest.raises(Cancelled):
        made.score(ASKED[:1], [NOTES])


def test_words_in_common_rank_for_bm25() -> None:
    scores = ranker("bm25", Options()).score(ASKED, [NOTES] * 3)
    assert [int(scores[0].argmax()), int(scores[2].argmax())] == [1, 0]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_perplexity_is_the_mean_surprise_of_the_question_after_the_document(kind: str) -> None:
    model = causal(str(tiny(kind)), "cpu", "fp32")
    opening = tuple(model.checkpoint.tokenizer.encode("").ids)
    own, joined = (opening + model.encode(text).ids for text in (NOTES[0], NOTES[0] + ASKED[0] + GUIDE))
    want = -model.surprises([Row(joined, len(own))])[0].mean()
    found = Perplexity(Options(str(tiny(kind)), "cpu", "fp32")).score(ASKED[:1], [NOTES])[0]
    assert found[0] == pytest.approx(want, abs=1e-5)


def test_modes_differ_and_a_blank_question_means_none() -> None:
    found = {mode: ranker("perplexity", options("perplexity", mode)) for mode in ("after", "before", "none")}
    scores = {mode: one.score(ASKED[:1], [NOTES])[0].round(4).tolist() for mode, one in found.items()}
    assert len({tuple(one) for one in scores.values()}) == 3
    assert found["after"].score([" "], [NOTES])[0].round(4).tolist() == scores["none"]


@pytest.mark.parametrize("mode", ["after", "before", "none"])
def test_a_document_too_long_for_the_model_is_read_in_parts(mode: str) -> None:
    made = Perplexity(Options(str(tiny("gpt2-512")), "cpu", "fp32", mode))
    part = " ".join(NOTES * 5)
    rest = "Nothing was said about that on this day. " * 100
    assert len(made.model.encode(part + rest).ids) > 2 * made.model.longest
    scores = made.score(ASKED[:1], [[f"{part} {rest}", rest, part]])[0]
    assert np.isfinite(scores).all()
    assert len(set(scores.round(4).tolist())) == 3


def test_unknown_names_and_modes_say_what_is_known() -> None:
    with pytest.raises(ValueError, match="known: bm25, perplexity"):
        ranker("bert", Options())
    with pytest.raises(ValueError, match="after, before, none"):
        ranker("perplexity", Options(mode="both"))


@pytest.mark.parametrize("name", sorted({*TABLE} - {"bm25"}))
def test_a_model_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(Unavailable, match="no/such"):
        ranker(name, Options("no/such")).score(ASKED[:1], [NOTES])


@pytest.mark.parametrize("name", ["biencoder", "crossencoder"])
def test_a_missing_package_is_named_with_what_to_install(name: str) -> None:
    program = f"""
import sys
sys.modules["sentence_transformers"] = None
from compressors import Unavailable
from compressors.rankers import Options, ranker
try:
    ranker({name!r}, Options({str(tiny(MODELS[name]))!r})).score(["who?"], [["a", "b"]])
except Unavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'laconic[rankers]'" in done.stdout


def test_code_and_pickles_of_a_checkpoint_are_never_loaded(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    folder = tmp_path / "model"
    shutil.copytree(tiny("minilm-bi-encoder"), folder)
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "1_Pooling" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(Unavailable, match="pickled"):
        ranker("biencoder", Options(str(folder), "cpu")).warm_up()
    modules[1]["type"] = "os.system"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(Unavailable, match="code of its own"):
        ranker("biencoder", Options(str(folder), "cpu")).warm_up()


def test_a_model_of_another_kind_is_refused() -> None:
    """The library would make up the weights that a bi-encoder lacks."""
    pytest.importorskip("sentence_transformers")
    with pytest.raises(Unavailable, match="not a cross-encoder"):
        ranker("crossencoder", Options(str(tiny("minilm-bi-encoder")), "cpu")).warm_up()


def test_a_precision_it_cannot_do_is_named() -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(Unavailable, match="not in int8"):
        ranker("biencoder", Options(str(tiny("minilm-bi-encoder")), "cpu", "int8")).warm_up()
