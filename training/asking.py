"""One question to an OpenAI-compatible server: what it answered and billed, or why not, and whether to try again."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from proxy.savings import Usage

_LONGEST_WAIT = 60.0  # seconds
_NEVER_AGAIN = ("insufficient_quota", "billing_hard_limit_reached")  # come with 429, and stay


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` None where the server gave none that can be used; `problem` then says why. `usage` None: not said."""

    text: str | None
    usage: Usage | None
    problem: str = ""


class Failed(Exception):
    """No answer: the request is wrong, or the key, or the address. It would fail again."""


class Passing(Exception):
    """No answer this time. `billed`: the server may have done the work. `wait`: seconds that it asked for."""

    def __init__(self, message: str, billed: bool = False, wait: float | None = None) -> None:
        super().__init__(message)
        self.billed = billed
        self.wait = wait


async def ask(client: httpx.AsyncClient, url: str, body: Mapping[str, Any]) -> Answer:
    """Sends a chat completion. Raises `Passing` for what a later try may mend, else `Failed`."""
    try:
        response = await client.post(url, json=dict(body))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Passing(f"cannot connect to {url}: {_told(error)}") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise Failed(f"cannot ask {url}: {error}") from None
    except httpx.RequestError as error:
        raise Passing(f"no answer from {url}: {_told(error)}", billed=True) from None
    if response.status_code == 200:
        return _read(response)
    return _refused(response, url)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def pause(attempt: int, first: float, asked: float | None) -> float:
    """Seconds before the next try: what the server asked for, else twice as long each time, and never in step with
    other workers. At most a minute."""
    if asked is not None:
        return min(asked, _LONGEST_WAIT)
    longest: float = min(first * 2**attempt, _LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)


def _refused(response: httpx.Response, url: str) -> Answer:
    error = _error(response)
    said = (
        f"{response.status_code} from {url}: {error.get('message') or response.text[:200].strip() or 'no reason given'}"
    )
    code = error.get("code")
    if code == "content_filter":
        return Answer(None, Usage(0, 0), "refused by the server's content filter")
    if response.status_code in (408, 409, 429) and code not in _NEVER_AGAIN:
        raise Passing(said, wait=_seconds(response.headers.get("retry-after", "")))
    if response.status_code >= 500:
        raise Passing(said, wait=_seconds(response.headers.get("retry-after", "")))
    raise Failed(said)


def _seconds(value: str) -> float | None:
    return float(value) if value.replace(".", "", 1).isdecimal() else None


def _error(response: httpx.Response) -> dict[str, Any]:
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {"message": str(error)}


def _read(response: httpx.Response) -> Answer:
    try:
        body = response.json()
        choice = body["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise Passing(f"not a chat completion: {response.text[:200]!r}", billed=True) from None
    usage = _usage(body.get("usage"))
    if reason == "length":
        return Answer(None, usage, "the answer was cut off at the limit of output tokens")
    if reason == "content_filter" or not isinstance(text, str):
        return Answer(None, usage, f"no text in the answer ({reason})")
    return Answer(text.strip(), usage)


def _usage(told: object) -> Usage | None:
    if not isinstance(told, dict):
        return None
    sent, got = told.get("prompt_tokens"), told.get("completion_tokens")
    if not isinstance(sent, int) or not isinstance(got, int):
        return None
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Usage(sent, got, cached if isinstance(cached, int) else 0, 0)
