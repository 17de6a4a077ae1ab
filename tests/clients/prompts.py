"""What the tests of all clients share: a long prompt of ours, and what a policy may make of it."""

from provider import Request

from proxy.demo.cases import cases

POLICIES = ("off", "balanced")
LONG: str = next(case for case in cases() if case.name == "manual, labelled").messages[0]["content"]
"""Retrieved passages and a question in one user message, of which `balanced` shortens the passages."""


def prompt(request: Request) -> str:
    """The text of the last message that the provider got."""
    content: str | list[dict[str, str]] = request.json()["messages"][-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


def is_shortened(text: str) -> bool:
    """Whether `text` is a real part of `LONG`, in its order, with the question at its end."""
    rest = iter("".join(LONG.split()))
    question = LONG.rstrip().splitlines()[-2:]
    in_order = all(character in rest for character in "".join(text.split()))
    return in_order and len(text) < 0.8 * len(LONG) and text.rstrip().splitlines()[-2:] == question
