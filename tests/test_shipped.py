"""The models that come with Laconic: whole, small, and enough by themselves."""

import subprocess
import sys
from math import inf
from time import monotonic

import pytest

from compressors import Rate, Task, Unavailable, cancel, load, shipped
from compressors.base import Cancelled
from compressors.checkpoint import find, open_checkpoint
from compressors.models import models, verify
from compressors.spans import join

NAMES = ["laconic/classifier", "laconic/pruner"]


def test_there_are_two_and_each_has_a_name() -> None:
    assert shipped.names() == NAMES
    assert [model.name for model in models()][:2] == NAMES
    with pytest.raises(Unavailable, match=r"these do: laconic/classifier, laconic/pruner"):
        find("laconic/chess")


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_that_were_exported(name: str) -> None:
    folder = find(name)
    assert verify(folder) == []
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25_000_000
    card = (folder / "README.md").read_text("utf-8")
    assert all(word in card for word in ("Licence", "Trained on", "sha256", "rank correlation"))


@pytest.mark.parametrize("name", NAMES)
def test_they_say_which_languages_they_read(name: str) -> None:
    assert open_checkpoint(name).languages == ("en",)


PROGRAM = """
import sys
from math import inf
from time import monotonic
for absent in ("torch", "transformers", "onnx", "safetensors"):
    sys.modules[absent] = None  # as if they were not installed
from compressors import Rate, Task, load
text = "The ferry to the island leaves at nine from that pier. Dogs travel free with their owners. " * 6
for name in ("pruner", "classifier"):
    made = load(name)
    made.warm_up()
    (kept,) = made.compress([Task(text, Rate(0.5), "When does the ferry leave?")])
    assert not made.lacks and 0 < len(kept.spans) and kept.spans != ((0, len(text)),), name
"""


def test_they_run_with_what_the_base_install_has() -> None:
    """Neither torch nor onnx, nor a place to write to."""
    nowhere = dict.fromkeys(("HOME", "LACONIC_CACHE", "LACONIC_MODELS"), "/proc/none")
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={"PATH": "/usr/bin", **nowhere})


def test_the_classifier_takes_out_words_of_english_and_white_space_of_others() -> None:
    english = "It was, as far as anybody could tell, not a very good idea to leave the 14 boxes in the rain. " * 3
    german = "Das war, soweit man das sagen konnte, keine gute Idee:  14 Kisten standen  im Regen.\n" * 3
    tasks = [Task(english, Rate(0.6)), Task(german, Rate(0.6))]
    found = load("classifier").compress(tasks)
    one, other = (join(task.text, kept.spans) for task, kept in zip(tasks, found, strict=True))
    assert len(one) < 0.8 * len(english)
    assert one.count("not") == one.count("14") == 3
    assert other.split() == german.split()


def test_a_negation_stays_where_what_it_negates_does() -> None:
    """At any rate: what is left must not say the opposite."""
    text = "The driver could not deliver the parcel, so nobody has signed for it. Customs never opened the boxes. " * 3
    pairs = [("not", "deliver"), ("nobody", "signed"), ("never", "opened")]
    tasks = [Task(text, Rate(rate / 20)) for rate in range(4, 20)]
    for task, kept in zip(tasks, load("classifier").compress(tasks), strict=True):
        shown = join(task.text, kept.spans)
        assert all(shown.count(negation) >= shown.count(verb) for negation, verb in pairs), shown


SAID = ['"never keep logs for longer than is needed"', "`config.yaml`", "| alpha | 3 |", "“a hut, they say”"]


@pytest.mark.parametrize("said", SAID)
def test_quotes_code_and_rows_stay_whole(said: str) -> None:
    around = "It really was, as far as anybody could tell, a rather good idea to go there early in the year. " * 3
    text = f"{around}\n{said}\n{around}"
    (kept,) = load("classifier").compress([Task(text, Rate(0.5))])
    assert said in join(text, kept.spans)
    assert len(join(text, kept.spans)) < 0.7 * len(text)


def test_without_time_for_its_model_the_classifier_takes_out_white_space() -> None:
    text = "It was, as far as anybody could tell,  a rather good idea to go there early in the year. " * 3
    made = load("classifier")
    with cancel.watched(lambda: True, monotonic() - 1):
        (kept,) = made.compress([Task(text, Rate(0.5))])
    assert join(text, kept.spans) == text.replace("  ", " ").rstrip()
    with cancel.watched(lambda: False, monotonic() + 9), pytest.raises(Cancelled):
        made.compress([Task(text, Rate(0.5))])


def test_a_compressor_may_be_told_of_a_share_of_the_time_only() -> None:
    with cancel.watched(lambda: True, monotonic() + 100):
        with cancel.within(0.25):
            assert 24 < cancel.remaining() <= 25
        assert 99 < cancel.remaining() <= 100
    with cancel.within(0.5):
        assert cancel.remaining() == inf
