"""The demo on the screen: a table, what was left alone and why, one text before and after."""

import json
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.demo.cases import MODEL
from proxy.demo.session import ROUTES, Result
from proxy.pricing import Price

HEADS = ("request", "route", "before", "after", "saved", "$/1000*", "+ms", "answer")
REQUESTS = 1000
_SENTENCES = re.compile(r".+?(?:(?<=[.!?:])(?=\s)|(?<=。)|(?=\n)|\Z)\s*", re.DOTALL)


def table(results: Sequence[Result], price: Price | None) -> Table:
    """A row a request. Fits into 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_footer=True)
    for head, foot in zip(HEADS, _footer(results, price), strict=True):
        shown.add_column(head, foot, justify="left" if head in ("request", "route", "answer") else "right")
    for r in results:
        name = r.case.name + (" ~" if r.case.stream else "")
        kept = Text("kept", "green") if r.kept else Text("LOST", "bold red")
        shown.add_row(name, r.route, *_figures(r, price), f"{r.ms:.1f}", kept)
    return shown


def _figures(r: Result, price: Price | None) -> tuple[str, str, str, str]:
    if r.before is None or r.after is None:
        return ("-", "-", "-", "-")
    if r.received == r.sent:
        return (f"{r.before:,}", f"{r.before:,}", "-", "-")
    return (f"{r.before:,}", f"{r.after:,}", f"{1 - r.after / r.before:.0%}", _usd(r.before - r.after, price))


def _footer(results: Sequence[Result], price: Price | None) -> tuple[str, ...]:
    counted = [(r.before, r.after) for r in results if r.before is not None and r.after is not None]
    before, after = sum(b for b, _ in counted), sum(a for _, a in counted)
    share = f"{1 - after / before:.0%}" if before else "-"
    kept = f"{sum(r.kept for r in results)}/{len(results)}"
    money = _usd((before - after) / len(results), price)
    return ("all", "", f"{before:,}", f"{after:,}", share, money, "", kept)


def legend(results: Sequence[Result], price: Price | None) -> Iterator[str]:
    """What the columns mean, and why some requests were left alone."""
    rate = f"${price.input:.2f} per million ({price.source}, {price.date})" if price else "unknown"
    yield f"* saved on {REQUESTS:,} such requests, estimated at the list price of {MODEL} for"
    yield f"  uncached input: {rate}"
    yield "~ streamed. before, after: tokens of the texts. +ms: time taken to shorten them."
    yield f"  The provider counted {sum(r.prompt_tokens for r in results):,} prompt tokens, message frames included."
    yield "answer: does it still hold the fact asked for? It is read from what arrived."
    yield "Policies: " + ", ".join(f"{route.name} {route.policy}" for route in ROUTES)
    yield ""
    yield "Left alone, byte for byte:"
    for r in results:
        if r.received == r.sent:
            yield f"  {r.case.name}: {r.reason or r.outcome}"


def diff(result: Result, console: Console, limit: int) -> Text:
    """The first `limit` characters, about, of the text that lost most. What went is red and struck out, or between
    [- and -] where there are no colours."""
    before, after = max(_texts(result), key=lambda pair: len(pair[0]) - len(pair[1]))
    colours = console.is_terminal and not console.no_color
    text, length = Text(), 0
    for sentence, gone in _sentences(before, after):
        if length >= limit:
            break
        length += len(sentence)
        body = sentence.rstrip()
        shown = body if colours or not gone else f"[-{body}-]"
        text.append(shown, "red strike" if gone else "").append(sentence[len(body) :])
    return text


def _sentences(before: str, after: str) -> Iterator[tuple[str, bool]]:
    """The sentences of `before`, each with whether it is missing in `after`."""
    old, new = _SENTENCES.findall(before), _SENTENCES.findall(after)
    matcher = SequenceMatcher(None, [s.strip() for s in old], [s.strip() for s in new], autojunk=False)
    for operation, a, b, _, _ in matcher.get_opcodes():
        yield from ((sentence, operation in ("delete", "replace")) for sentence in old[a:b])


def _texts(result: Result) -> Iterator[tuple[str, str]]:
    messages = zip(json.loads(result.sent)["messages"], json.loads(result.received)["messages"], strict=True)
    for old, new in messages:
        if isinstance(old["content"], str):
            yield old["content"], new["content"]


def _usd(tokens: float, price: Price | None) -> str:
    return "unpriced" if price is None else f"{price.saved(1) * tokens * REQUESTS:.2f}"
