"""What becomes of a request: through the pipeline where it is a chat completion, to its upstream, and back."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import httpx

from compressors.damage import Damage
from policies.base import Policy
from policies.routes import Route, hash_key, match, needs_key, needs_model
from proxy import access, override, recovering, sse, strict, upstream
from proxy.asgi import JSON, Header, Receive, Scope, Send
from proxy.errors import ClientLeft, LaconicError, NoRoute, UpstreamTimeout
from proxy.guard.originals import Request
from proxy.guard.state import State
from proxy.guard.watch import Guard
from proxy.headers import (
    bearer_token,
    content_coding,
    credentials,
    is_event_stream,
    is_form,
    is_json,
    known_coding,
    plain,
    printable,
)
from proxy.in_flight import InFlight
from proxy.intake import Client, check
from proxy.pipeline import Asked, Pipeline
from proxy.quota import Quota
from proxy.recording import Recorder
from proxy.savings import Measured, Meter, Money, Outcome, Savings, Usage
from proxy.settings import Key, Settings, Upstream
from proxy.wire import peek

CHAT = b"/v1/chat/completions"
PASSED = Measured(Outcome.PASSED, "not a chat completion")
UNREAD = Measured(Outcome.UNTOUCHED, "not read to its end")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway is made of. `price` says what a request cost and saved in USD."""

    current: Callable[[], Settings]
    pipeline: Pipeline
    transport: httpx.AsyncBaseTransport
    meters: Sequence[Meter] = ()
    price: Callable[[Measured, Usage | None], Money] | None = None
    guard: Guard | None = None
    recorder: Recorder | None = None
    quota: Quota = field(default_factory=Quota)
    under_way: InFlight = field(default_factory=InFlight)


class Gateway:
    """Sends every request to its upstream and the answer back, chat completions through the pipeline."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Exchange(self._parts, scope, receive, send).run()


@dataclass(slots=True)
class Exchange:
    """One request: everything known about it while it lasts."""

    parts: Parts
    scope: Scope
    receive: Receive
    send: Send
    settings: Settings = field(init=False)
    client: Client = field(init=False)
    caller: Key | None = None  # None where no keys are configured
    route: Route | None = None
    policy: str = ""
    measured: Measured = PASSED
    damage: Damage | None = None  # what the answer is to be recovered by
    held: recovering.Stream | recovering.Whole | None = None
    answered: bool = False
    over: bool = False
    stream: bool = False
    status: int | None = None
    usage: Usage | None = None
    error: str = ""
    began: float = field(default_factory=time.perf_counter)
    first_byte_ms: float | None = None
    guarded: State | None = None  # what the quality guard knew when it let the policy compress
    recorded: bytes | None = None  # the body as it came, where it is to be recorded

    async def run(self) -> None:
        """Returning with the answer begun but not ended makes the server cut the connection: it looks broken."""
        self.settings = self.parts.current()
        self.client = Client(self.receive, self.settings.limits, self.parts.under_way)
        self.parts.under_way.total += 1
        try:
            error = await self._served()
            if error and not self.answered and not isinstance(error, ClientLeft):
                await self._refuse(error)
        except asyncio.CancelledError:
            self.error = ClientLeft.code if self.client.left else self.error or "cancelled"
            if not self.client.left:
                raise
        finally:
            self.client.stop()
            self._end()

    async def _served(self) -> LaconicError | None:
        """What went wrong, without the frames that it passed: they hold what has come of the body."""
        try:
            await self._forward(self._admit())
        except LaconicError as error:
            self.error = error.code
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        return None

    def _end(self) -> None:
        """Gives back its places, and is recorded. Once: a refusal ends before what it lets its client still send."""
        if self.over:
            return
        self.over = True
        self.parts.under_way.total -= 1
        self.parts.under_way.held -= self.client.held
        self._record()

    def _admit(self) -> int | None:
        """Before anything else is looked at, and before the body is read, of which this gives the declared length."""
        headers: list[Header] = self.scope["headers"]
        strict.check(self.scope)
        if self.settings.keys:
            self.caller, self.scope["headers"] = access.admit(self.settings.keys, headers)
        self.parts.under_way.check(self.settings.limits)
        if self.caller:
            self.parts.quota.take(self.caller)
        return check(headers, self.scope["raw_path"], self.settings.limits)

    async def _forward(self, length: int | None) -> None:
        headers: list[Header] = self.scope["headers"]
        path: bytes = self.scope["raw_path"]
        body = await self.client.start()
        model = ""
        fenced = access.needs_model(self.caller, self.settings.routes) and not is_form(headers)
        if fenced or (needs_model(self.settings.routes) and (is_json(headers) or path.endswith(CHAT))):
            body = await self._whole(body)
            model = peek(body).model
        self.route = self._route(path, model)
        if self.caller and not model and body != b"":
            access.may_hide_model(self.caller, self.settings.routes)
        destination = self.settings.upstreams[self.route.upstream]
        self.parts.under_way.check_upstream(destination)  # and again when it is sent: this saves the compressing
        path = path[len(self.route.path) :]
        if self.scope["method"] == "POST" and path == CHAT:
            body = await self._prepare(body)
        query: bytes = self.scope["query_string"]
        call = upstream.Call(
            self.scope["method"],
            path + b"?" + query if query else path or b"/",
            plain(headers) if self.damage else headers,
            self.client if body is None else body,
            length if body is None else len(body) if body or length is not None else None,
        )
        self.parts.under_way.enter(destination)
        try:
            async with asyncio.timeout(destination.timeouts.total):
                await self._relay(destination, call)
        except TimeoutError:
            if self.held:
                await self.held.broken()
            raise UpstreamTimeout(f"the answer took more than {destination.timeouts.total:g} s") from None
        finally:
            self.parts.under_way.leave(destination)

    def _route(self, path: bytes, model: str) -> Route:
        routes = self.settings.routes
        headers: list[Header] = self.scope["headers"]
        key = None
        if needs_key(routes):
            token = bearer_token(headers)
            key = self.caller.hash if self.caller and not token else hash_key(token)
        route = match(routes, path.decode("latin-1"), model, headers, key)
        if route is None or route.upstream not in self.settings.upstreams:
            raise NoRoute("no configured route takes this request")
        if self.caller:
            access.may_take(self.caller, route.name)
        return route

    async def _prepare(self, body: bytes | None) -> bytes | None:
        """The chat body to send; as it was (None: still to be read) where there is nothing to do."""
        assert self.route is not None
        headers: list[Header] = self.scope["headers"]
        self.policy = self.route.policy
        self.measured = UNREAD
        wish = override.asked(headers)
        if self.parts.recorder is not None and wish != b"off" and self.parts.recorder.wants():
            self.recorded = body = await self._whole(body)
        policy = override.choose(self.settings.policies.get(self.route.policy), wish)
        if self.parts.guard:
            policy, self.guarded = self.parts.guard.apply(self.settings, self.route, policy)
        if isinstance(policy, Measured):
            self.measured = policy
        elif coding := content_coding(headers):
            self.measured = Measured(Outcome.UNTOUCHED, f"content-encoding: {known_coding(coding)}")
        else:
            body = await self._compress(await self._whole(body), policy)
        return body

    async def _compress(self, body: bytes, policy: Policy) -> bytes:
        assert self.route is not None
        caller = [access.OWN + b":" + self.caller.name.encode()] if self.caller else []
        tenant = b"\0".join((self.route.name.encode(), *caller, *credentials(self.scope["headers"])))
        asked = Asked(tenant, self.settings.compressors, route=self.route.name)
        prepared = await self.parts.pipeline.prepare(body, policy, asked)
        self.measured, self.damage = prepared.measured, prepared.damage
        if self.parts.guard:
            sent = Request(self.settings, self.route, self.scope, body, self.measured)
            self.send = self.parts.guard.watch(self.send, sent, self.guarded)
        return prepared.body

    async def _whole(self, body: bytes | None) -> bytes:
        return await self.client.whole() if body is None else body

    async def _relay(self, destination: Upstream, call: upstream.Call) -> None:
        response = await upstream.send(self.parts.transport, destination, call)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        send: Send = self.send
        try:
            headers = upstream.response_headers(response)
            reader = sse.reader(headers)
            self.stream = is_event_stream(headers)
            self.status = response.status_code
            self.answered = True
            if self.damage and recovering.may_recover(self.status, headers):
                send = self.held = recovering.recovering(self.send, headers, self.damage)
            headers += self._told()
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            async for chunk in response.stream:
                if self.first_byte_ms is None:
                    self.first_byte_ms = self._elapsed()
                reader.feed(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self.client.stop()
            await send({"type": "http.response.body", "body": b""})
        except httpx.TransportError as error:
            if self.held:
                await self.held.broken()
            raise upstream.meaning(error) from error
        finally:
            self.usage = reader.usage()
            await response.stream.aclose()

    async def _refuse(self, error: LaconicError) -> None:
        """Closes the connection too, once the answer is out and no more of the body comes."""
        self.answered = True
        self.status = error.status
        self.parts.under_way.refused[error.code] += 1
        body = error.body()
        length = (b"content-length", b"%d" % len(body))
        headers = [length, *JSON, (b"connection", b"close"), *error.headers(), *self._told()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        self._end()
        await self.parts.under_way.linger(self.client.ignore_rest)
        await self.send({"type": "http.response.body", "body": b""})

    def _told(self) -> list[Header]:
        """What the caller is told of this request. Unknown values are left out."""
        if self.route is None:
            return []
        measured = self.measured
        told = [("outcome", measured.outcome.value), ("reason", measured.reason)]
        told += [("policy", self.policy), ("route", self.route.name)]
        if measured.tokens_before is not None:
            told.append(("tokens-before", str(measured.tokens_before)))
        if measured.tokens_after is not None:
            told.append(("tokens-after", str(measured.tokens_after)))
        if measured.stages:
            told.append(("ms", f"{measured.milliseconds:.3f}"))
        return [(b"x-laconic-" + name.encode(), printable(value)) for name, value in told if value]

    def _elapsed(self) -> float:
        return (time.perf_counter() - self.began) * 1000

    def _record(self) -> None:
        if self.route is None:
            return
        price = self.parts.price
        savings = Savings(
            id=uuid4().hex,
            at=time.time() - self._elapsed() / 1000,
            route=self.route.name,
            policy=self.policy,
            upstream=self.route.upstream,
            stream=self.stream,
            measured=self.measured,
            status=self.status,
            usage=self.usage,
            money=price(self.measured, self.usage) if price else Money(),
            first_byte_ms=self.first_byte_ms,
            total_ms=self._elapsed(),
            error=self.error,
            caller=self.caller.name if self.caller else "",
        )
        if self.caller and self.answered:
            self.parts.quota.charge(self.caller, savings)
        for meter in self.parts.meters:
            meter.record(savings)
        if self.recorded is not None and self.parts.recorder is not None:
            self.parts.recorder.record(self.recorded, savings)
