"""Step 1: has a large model shorten texts by dropping words, a chunk at a time, within a budget.

    python -m training.distil IN.jsonl OUT.jsonl --model gpt-4o-mini --budget-usd 5

IN holds {"id", "text"} a line (`.jsonl` or `.jsonl.gz`); OUT gets a line a chunk: {"id", "document", "start", "end",
"text", "compressed", "model", "usd"}, or "problem" in place of "compressed" where the model gave no short form. A line
is written as soon as its answer is there. The same command goes on after a stop, a kill or an error: what stands in OUT
is not asked for again, and what it cost counts. Only what a kill interrupts, at most a request a worker, is paid
without being counted.

The key comes from the environment: OPENAI_API_KEY, or the variable that --key-variable names. Any server with
`/chat/completions` will do; `--price 0 0` for one of your own.

Ends with 0 when all is done, 1 after an error, 2 where the command is wrong, 3 where the budget ended the run, 130
after Ctrl-C.
"""

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proxy import pricing
from proxy.pricing import Price
from training import jsonl
from training.chunks import TOKENS
from training.distillation import Ledger, Run, read_chunks
from training.purse import Purse
from training.teacher import Teacher


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    price = Price(given.price[0], output=given.price[1]) if given.price else pricing.price(given.model, {})
    if price is None or price.output is None:
        parser.error(
            f"no price is known for {given.model!r}: give --price INPUT OUTPUT in USD per million tokens, 0 0 for a "
            "server of your own"
        )
    key = os.environ.get(given.key_variable, "").strip()
    how = (given.extra, given.workers, given.tries, given.pause, given.timeout)
    teacher = Teacher(given.model, price, given.base_url, key, *how)
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False)
    try:
        return _distil(teacher, given, console)
    except (jsonl.BadFile, OSError) as error:
        console.print(f"distil: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("distil: stopped; the same command goes on from here")
        return 130


def _distil(teacher: Teacher, given: argparse.Namespace, console: Console) -> int:
    if cut := jsonl.repair(given.target):
        console.print(f"{given.target}: cut off a last line that was half written ({cut} bytes)")
    ledger = Ledger.of(given.target)
    found = list(read_chunks(given.source, teacher.model, given.chunk_tokens))
    todo = [chunk for chunk in found if not ledger.has(chunk, given.target)]
    likely = sum(teacher.likely(chunk.text) for chunk in todo)
    console.print(
        f"{len(found)} chunks, {len(found) - len(todo)} done, {ledger.usd:.4f} USD spent; "
        f"the other {len(todo)} will cost about {likely:.4f} USD"
    )
    if given.estimate or not todo:
        return 0
    purse = Purse(given.budget_usd, ledger.usd)
    with given.target.open("ab") as out, _progress(console) as progress:
        bar = progress.add_task("", total=len(found), completed=len(found) - len(todo), spent="")

        def told(usd: float) -> None:
            progress.update(bar, advance=1, spent=f"{usd:.4f} of {given.budget_usd:g} USD")

        run = Run(teacher, purse, out, told)
        asyncio.run(run.all(todo))
    return _report(run, purse, given, console)


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[spent]}"), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _report(run: Run, purse: Purse, given: argparse.Namespace, console: Console) -> int:
    console.print(f"{len(Ledger.of(given.target).done)} chunks in {given.target}, {purse.spent:.4f} USD spent")
    if run.problems:
        console.print(f'{run.problems} of them got no short form: see "problem" in their lines')
    if run.error:
        console.print(f"distil: {run.error}\nThe same command goes on from here.")
        return 1
    if run.out_of_money:
        console.print(
            f"distil: stopped, since the next request might exceed the budget of {given.budget_usd:g} USD. "
            "The same command with a higher --budget-usd goes on from here."
        )
        return 3
    return 0


def _extra(text: str) -> dict[str, Any]:
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise argparse.ArgumentTypeError(f"not a JSON object: {text}")
    return extra


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of 0 or more: {text}")
    return amount


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a whole number of 1 or more: {text}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.distil", description=(__doc__ or "").partition("\n")[0])
    usual = Teacher("", Price(0.0))
    add = parser.add_argument
    add("source", type=Path, help='{"id", "text"} a line')
    add("target", type=Path, help="grows by a line a chunk")
    add("--model", required=True)
    add("--budget-usd", type=_amount, required=True, help="for this output in all, earlier runs included")
    add("--base-url", default=os.environ.get("OPENAI_BASE_URL", usual.base_url), help="up to and with /v1")
    add("--key-variable", default="OPENAI_API_KEY", help="environment variable with the key; default %(default)s")
    add("--price", type=_amount, nargs=2, metavar=("INPUT", "OUTPUT"), help="USD per million tokens, if not known")
    add("--chunk-tokens", type=_count, default=TOKENS, help="at most; default %(default)s")
    add("--workers", type=_count, default=usual.workers, help="requests at a time; default %(default)s")
    add("--tries", type=_count, default=usual.tries, help="a chunk; default %(default)s")
    add("--pause", type=_amount, default=usual.pause_seconds, help="seconds before the second try; then doubled")
    add("--timeout", type=_amount, default=usual.timeout_seconds, help="seconds; default %(default)s")
    add("--extra", type=_extra, default={}, metavar="JSON", help='more for each body; null removes: {"top_p": null}')
    add("--estimate", action="store_true", help="say what it would cost, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
