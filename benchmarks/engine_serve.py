"""What both sides of `engine.py` share: one process an engine, told what to do in lines of JSON. Standard library only,
since the published package runs in an environment of its own."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Case = dict[str, Any]
"""`kind` (classifier, concurrent, perplexity, question), `texts`, `question`, `rate`."""


class Timer:
    """Seconds spent in what it wraps: the model, told from all that is around it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def serve(run: Callable[[Case], None], timer: Timer) -> None:
    """Runs each case that comes in, and answers with what it took."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # packages print what they like
    for line in sys.stdin:
        case = json.loads(line)
        timer.seconds = 0.0
        start = time.perf_counter()
        run(case)
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "model": timer.seconds, **memory()}
        print(json.dumps(answer), file=answers, flush=True)


def memory() -> dict[str, float]:
    """In MB: the most that was resident, and what is the process's own now: mapped files can be dropped."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kb = {line[0]: int(line[1]) for line in lines if line[0] in ("VmHWM:", "RssAnon:")}
    return {"peak": kb["VmHWM:"] / 1024, "own": kb["RssAnon:"] / 1024}
