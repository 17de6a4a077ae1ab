"""Quality control: the worst examples go, those without a flaw never do, and what went can be seen."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.annotate import annotate
from training.plots import Histogram, draw
from training.quality import Rates, choose, main


def test_the_worst_of_each_go_variation_first() -> None:
    rates = [Rates(i / 100, (99 - i) / 100, 0.5) for i in range(100)]
    choice = choose(rates)
    assert choice.varied == (95, 96, 97, 98, 99)
    assert choice.gapped == tuple(range(9))  # a tenth of the 95 that are left
    assert choice.stay == tuple(range(9, 95))


def test_an_example_without_a_flaw_never_goes() -> None:
    """Where nearly all are clean, the package that came with the paper drops everything at the percentile."""
    rates = [Rates(0, 0, 0.5)] * 99 + [Rates(0.2, 0.1, 0.5)]
    assert choose(rates).varied == (99,)
    assert choose(rates).gapped == ()
    assert len(choose([Rates(0, -0.1, 0.5)] * 50).stay) == 50


def test_equals_are_told_apart_by_the_other_rate() -> None:
    rates = [Rates(0.1, gap, 0.5) for gap in (0.3, 0.1, 0.2, 0.1)]
    assert choose(rates, variation=0.5, gap=0).varied == (0, 2)


def test_shares_are_rounded_down_and_may_be_none() -> None:
    rates = [Rates(0.1, 0.1, 0.5)] * 19
    assert len(choose(rates, gap=0).stay) == 19
    assert choose([]).stay == ()


TEXTS = [f"On day {i} the crew of the ship went ashore and came back with {i} barrels." for i in range(20)]


def lines(path: Path) -> Path:
    """Twenty examples: one with made-up words, two turned about so far that a word has no place, the rest clean."""
    forms = [f"day {i} crew went ashore came back {i} barrels." for i in range(20)]
    forms[7] = "sorry cannot help"
    forms[3] = forms[4] = "ship ship ship crew crew"
    with path.open("w") as out:
        for i, (text, form) in enumerate(zip(TEXTS, forms, strict=True)):
            found = annotate(text, form)
            rates = {"variation_rate": found.variation_rate, "alignment_gap": found.alignment_gap, "rate": 0.5}
            out.write(json.dumps({"id": f"d#{i}", "text": text, "keep_spans": found.keep_spans, **rates}) + "\n")
    return path


def test_the_command_writes_what_stays_and_draws_what_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "in.jsonl")
    assert main([str(source), str(tmp_path / "out.jsonl"), "--gap", "0.11", "--plots", str(tmp_path / "plots")]) == 0
    stay = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert stay == [f"d#{i}" for i in range(20) if i not in (3, 4, 7)]
    assert "17 of 20 examples" in capsys.readouterr().err
    drawn = {path.name: Image.open(path) for path in (tmp_path / "plots").iterdir()}
    assert set(drawn) == {"variation_rate.png", "alignment_gap.png", "rate.png"}
    assert reds(drawn["alignment_gap.png"]) > 100
    assert reds(drawn["rate.png"]) == 0


def test_the_output_may_take_the_place_of_the_input(tmp_path: Path) -> None:
    source = lines(tmp_path / "in.jsonl")
    assert main([str(source), str(source)]) == 0
    assert len(source.read_text().splitlines()) == 18


def test_lines_without_rates_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "x", "compressed": "x"}\n')
    assert main([str(source), str(tmp_path / "out.jsonl")]) == 1
    assert 'in.jsonl:1: "variation_rate" must be' in capsys.readouterr().err


def test_a_share_is_from_0_to_1(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["in", "out", "--gap", "5"])


@pytest.mark.parametrize("values", [[], [0.0], [0.0] * 500 + [0.02], [-0.3, 0.1]])
def test_whatever_the_values_are_they_can_be_drawn(tmp_path: Path, values: list[float]) -> None:
    for dropped in ([], [0.9, 1.0]):
        draw(Histogram("A rate", values, dropped), tmp_path / "plot.png")
        assert (reds(Image.open(tmp_path / "plot.png")) > 0) == bool(dropped)


def reds(image: Image.Image) -> int:
    """How many pixels have the colour of what was dropped."""
    pixels = np.asarray(image.convert("RGB"))
    return int((pixels == (0xC8, 0x55, 0x3D)).all(axis=-1).sum())
