"""`laconic tune` from end to end."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from proxy.pricing import parse_overrides
from proxy.settings import Settings
from proxy.tune import TuneError
from proxy.tune.asked import Answered, by_answers
from proxy.tune.asking import asking
from proxy.tune.frontier import choose, frontier
from proxy.tune.money import rates
from proxy.tune.options import Options
from proxy.tune.search import Search, Step
from proxy.tune.shown import check_files, plot, policy, show
from proxy.tune.sweep import Sweep, Tried
from proxy.tune.traffic import Traffic, read

EVIDENCE, ANSWERS = "evidence kept", "agreement of answers"
_ALWAYS = ("off", "safe", "balanced", "aggressive", "lexical")
"""Candidates whose answers are asked for wherever they lie."""


def tune(options: Options, settings: Settings) -> None:
    """Prints the table, draws the picture, writes the policy. Raises `TuneError`, with nothing written."""
    check_files(options)
    key = _key(options)
    prices = parse_overrides(settings.prices, [])
    traffic = read(options.traffic, options.requests, options.model)
    cost = rates(traffic.requests, prices, settings.compression.usd_per_second)
    deadline = settings.compression.deadline_ms / 1000
    sweep = Sweep(traffic.requests, cost, deadline, time.monotonic() + options.seconds)
    with ExitStack() as stack:
        progress = stack.enter_context(_progress())
        asker = None
        if options.upstream is not None:
            bought = asking(options.upstream, key, options.budget_usd, prices, options.answers)
            asker = stack.enter_context(bought)
        bar = progress.add_task("", total=len(traffic.requests))
        search = Search(sweep, options.models, lambda name: _begin(progress, bar, name))
        search.run(options.quality)
        if not any(one.saved.tokens for one in search.tried) and search.late:
            raise TuneError("there was no time for a single policy: give more --seconds or fewer --requests")
        answered = None
        if asker is not None:
            answered = by_answers(sweep, _worth(search.tried), asker, _begin(progress, bar, "answers"))
    tried = answered.tried if answered else search.tried
    measure = ANSWERS if answered else EVIDENCE
    chosen = choose(tried, options.quality)
    show(tried, chosen, measure, Console())
    block = policy(chosen, answered.requests if answered else len(traffic.requests), measure)
    for note in (*_notes(traffic, cost.guessed, search), *_quality(options, answered, chosen)):
        print(f"* {note}")
    options.out.write_text(block, "utf-8")
    if options.plot is not None:
        plot(tried, chosen, measure, options.plot)
    print(f'\n{options.out}: to be used with policy = "tuned" in a [[route]]\n\n{block}', end="")


def _worth(tried: Sequence[Tried]) -> list[Tried]:
    """Those whose answers are worth their money."""
    best = frontier(tried)
    return [one for one in tried if one in best or one.candidate.name in _ALWAYS]


def _key(options: Options) -> str | None:
    if options.key_env is None:
        return None
    key = os.environ.get(options.key_env, "").strip()
    if not key:
        raise TuneError(f"--key-env: the environment variable {options.key_env} is empty")
    if not (key.isascii() and key.isprintable()):
        raise TuneError(
            f"--key-env: {options.key_env} holds characters that no key has: only printable ASCII can be sent"
        )
    return key


@contextmanager
def _progress() -> Iterator[Progress]:
    console = Console(file=sys.stderr)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress


def _begin(progress: Progress, bar: TaskID, name: str) -> Step:
    progress.reset(bar, description=name)
    return lambda: progress.advance(bar)


def _notes(traffic: Traffic, guessed: int, search: Search) -> Iterator[str]:
    used = len(traffic.requests)
    yield f"$ are for 1,000 requests; {used:,} of {traffic.found:,} recorded ones were used"
    if traffic.unreadable:
        yield f"{traffic.unreadable:,} were left out: no chat requests that are understood"
    if guessed:
        yield f"{guessed:,} have no usage that says what was cached: their tokens count at the price of uncached input"
    if estimated := sum(request.examined.estimated for request in traffic.requests):
        yield f"{estimated:,} were counted by another model's tokenizer: their tokens are estimates"
    if used + traffic.unreadable < traffic.found:
        yield "texts that come again outside of the drawn stretches were not seen, and serving leaves such whole"
    if late := [f"{one.candidate.name} {one.late:,}" for one in search.tried if one.late]:
        yield f"past the deadline of [compression], so counted as sent whole, were of {used:,}: {'; '.join(late)}"
    if search.late:
        yield "the time was over before all policies were tried: give more --seconds or fewer --requests"
    yield from (f"not tried: {why}" for why in search.missing)


def _quality(options: Options, answered: Answered | None, chosen: Tried) -> Iterator[str]:
    if answered is None:
        yield (
            f'"{EVIDENCE}" is no quality of answers: without asking a model it says how much of what bears on the '
            "question, and of rare words, is still there; --upstream measures answers"
        )
        return
    if answered.baseline is None:
        yield f'"{ANSWERS}": nobody was asked, since no policy changes any of the {answered.requests:,} requests'
    else:
        yield (
            f'"{ANSWERS}": 1 less what answers lose over {answered.requests:,} requests; no policy changes '
            f"{answered.requests - answered.asked:,} of them, and of the other {answered.asked:,} two answers to the "
            f"same original agree by {answered.baseline:.3f}"
        )
    if answered.silent:
        yield f"{answered.silent:,} answers were empty or refusals, which agree with nothing"
    if answered.failed:
        yield f"{answered.failed:,} answers did not come: their requests are left out"
    yield f"answers, which cost money, are kept in {options.answers}: delete it when you are done"
    if chosen.spread is not None and chosen.quality - chosen.spread < options.quality:
        yield f"the interval of the chosen one reaches below {options.quality:g}: more requests would tell"
    if not answered.complete:
        yield "the budget was spent before all requests were answered: run again to go on, answers are kept"
