"""Our compressors for `engine.py`: python engine_ours.py MODEL PRECISION."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import accumulate

from engine_serve import Case, Timer, serve

import compressors
from compressors import Compressor, Rate, Task
from compressors.device import Device

SEPARATOR = "\n\n"


def loaded(name: str, folder: str, precision: str) -> Compressor:
    made = compressors.settings_of(name)
    assert made is not None
    return compressors.load(name, made(model=folder, device="cpu", precision=precision))


def joined(case: Case) -> Task:
    """All texts as the documents of one task."""
    ends = list(accumulate(len(text) + len(SEPARATOR) for text in case["texts"]))
    documents = tuple(
        (end - len(SEPARATOR) - len(text), end - len(SEPARATOR)) for text, end in zip(case["texts"], ends, strict=True)
    )
    return Task(SEPARATOR.join(case["texts"]), Rate(case["rate"]), case["question"], documents=documents)


def main() -> None:
    folder, precision = sys.argv[1:]
    found = cache(lambda name: loaded(name, folder, precision))
    timer = Timer()
    for method in ("rows", "run"):
        setattr(Device, method, timer.around(getattr(Device, method)))
    callers = ThreadPoolExecutor(32)

    def run(case: Case) -> None:
        tasks = [Task(text, Rate(case["rate"])) for text in case["texts"]]
        if case["kind"] == "classifier":
            found("classifier").compress(tasks)
        elif case["kind"] == "concurrent":
            list(callers.map(lambda task: found("classifier").compress([task]), tasks))
        else:
            found(case["kind"]).compress([joined(case)])

    serve(run, timer)


main()
