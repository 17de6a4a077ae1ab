"""`laconic demo`: a dozen requests through a real proxy to a provider on this machine. No key, no network, no GPU."""

import sys

import httpx
from rich.console import Console

from proxy.demo.cases import MODEL, cases
from proxy.demo.session import Result, session
from proxy.demo.show import diff, legend, table
from proxy.pricing import price
from proxy.savings import Outcome

DIFF_CHARACTERS = 2000


def run() -> int:
    """Exit status: 0, or 1 where a request got no answer or something failed open."""
    console = Console(highlight=False)
    try:
        results = _results(console)
    except httpx.HTTPError as error:
        print(f"laconic: the demo got no answer: {error}", file=sys.stderr)
        return 1
    found = price(MODEL, {})
    console.print(table(results, found))
    for line in legend(results, found):
        console.print(line, style="dim", soft_wrap=True)
    most = max(results, key=lambda r: (r.before or 0) - (r.after or 0) if r.route == "rag" else 0)
    console.print(f'\n[bold]The beginning of "{most.case.name}", before and after:[/bold]\n')
    console.print(diff(most, console, DIFF_CHARACTERS))
    console.print("\nNext: [bold]laconic serve[/bold], then in your application's shell")
    console.print("      [bold]export OPENAI_BASE_URL=http://127.0.0.1:8787/v1[/bold]")
    return int(any(r.outcome == Outcome.FAILED_OPEN for r in results))


def _results(console: Console) -> list[Result]:
    all_cases = cases()
    console.print("A provider that answers from a script, the proxy in front of it, over HTTP.")
    with session(all_cases) as through, console.status("sending") as status:
        results = []
        for case in all_cases:
            status.update(f"sending: {case.name}")
            results.append(through.send(case))
    return results
