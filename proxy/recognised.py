"""What was seen of the texts of a request before: how each first left, and whether other questions bring it too.

Three kinds of entries in a `Sketch`, none of which holds text. A *form*: this text behind this beginning of a
conversation, for this question, left short or whole; it holds for every later turn. A *text*: this text behind this
beginning was asked something lately. An *application*: of the texts that came with this system prompt, so many were
new, so many came again for another question, and so many in later turns; from its habits follows what is done with a
text that is new.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from policies.base import Kind, Plan, Segment, Step
from policies.budget import lossy
from policies.cachesafe import Form, Market, Sight, settle
from proxy.pace import Pace
from proxy.shorten import Examined
from proxy.sketch import Entry, Sketch

WARM = 15 * 60
"""Seconds for which providers keep a prefix that nobody uses, roughly: 5 to 10 minutes by default, up to hours."""
LARGE, DOUBT, SOME_DOUBT = 3000, 5.0, 0.2
"""Of an application of which nothing is known, so many texts are taken to have come again. With some doubt its first
text is shortened all the same. Texts of so many tokens are more often a document that will be asked again than passages
that were found for one question: these are watched until about nine came that were new."""
TOOLS = 1024
"""Tokens that tools are taken to have: they stand before all messages, and nobody counts them here."""
_APP = 256  # characters of the first instruction that tell one application from another
_MOST = 64  # texts of an application, then its counts are halved: what it does may change


_GROWING = (Kind.TOOL_OUTPUT, Kind.HISTORY)
_BEFORE_TURNS = ("system", "developer")
_NOTHING = Entry(0, 0)


@dataclass(frozen=True, slots=True)
class Looked:
    """A step, what is remembered of it, and where. `shareable`: its question does not stand before it, so that another
    one may come behind the same words."""

    step: Step
    sight: Sight
    form: bytes
    text: bytes
    app: bytes
    shareable: bool


class Recognised:
    """Looks steps up, and is told how their texts left. `pace`: of compressors, for what a step is expected to take."""

    def __init__(self, sketch: Sketch, pace: Pace) -> None:
        self._sketch = sketch
        self._pace = pace

    def look(self, examined: Examined, plan: Plan, whose: bytes) -> tuple[Looked, ...]:
        """The steps of a plan. `whose`: the tenant; requests of others are others' business."""
        steps = (*plan.steps, *plan.pinned)
        if not steps:
            return ()
        request = examined.request
        before = _Prefixes(examined)
        instruction = next((s.text[:_APP] for s in examined.segments if s.kind is Kind.INSTRUCTION), "")
        looked = []
        for step in sorted(steps, key=lambda s: (s.field, s.start)):
            first = examined.segments[step.segments[0]]
            prefix = before.upto(step)
            cache = (request.model, request.cache_key)
            form = self._digest(b"form", whose, *cache, prefix, step.question)
            text = self._digest(b"text", whose, *cache, prefix)
            app = self._digest(b"app", whose, *cache, first.role, first.kind, instruction)
            shareable = step.recognise and not _asked_before(step, examined)
            sight = self._sight(step, examined, (form, text, app), shareable)
            looked.append(Looked(step, sight, form, text, app, shareable))
        return tuple(looked)

    def left(self, one: Looked, form: Form) -> None:
        if lossy(one.step.budget) or form is not Form.SHORT or one.sight.form:  # a lossless step is taken anyway
            self._sketch.put(one.form, form)
        if one.shareable:
            self._sketch.put(one.text, 0)

    def _sight(self, step: Step, examined: Examined, keys: tuple[bytes, bytes, bytes], shareable: bool) -> Sight:
        form, text, app = (self._sketch.get(key) for key in keys)
        request, first = examined.request, examined.segments[step.segments[0]]
        size = sum(s.tokens for s in examined.segments if s.field == step.field)
        habits = _habits(app, self._sketch.get(_turns(keys[2])), DOUBT if size > LARGE else SOME_DOUBT)
        others, later, at_most = habits if shareable else (0.0, 0.0, 0.0)
        just_now = shareable and form is None and text is not None and self._sketch.age(text) < WARM
        return Sight(
            form=Form(form.one) if form else None,
            answered=any(message.role == "assistant" for message in request.messages[first.message + 1 :]),
            cached=just_now or (shareable and first.message < request.marked),
            others=others,
            later=later,
            at_most=at_most,
            before=_before(step, examined),
            growing=first.kind in _GROWING,
            seconds=self._pace.seconds(step.compressor, step.end - step.start),
        )

    def count(self, one: Looked, first: Segment) -> None:
        """An application's text came for the first time, came for another question, or came again in a later turn.
        `first`: the first segment of the step."""
        leaning = first.role in _BEFORE_TURNS and first.questions > 1
        fresh = one.sight.form is None
        again = leaning or (fresh and one.sight.cached)
        entry, turns = self._sketch.get(one.app) or _NOTHING, self._sketch.get(_turns(one.app)) or _NOTHING
        new, others = entry.one + (fresh and not again), entry.two + again
        later = min(turns.two + one.sight.answered, _MOST * _MOST)
        if new + others > _MOST:
            new, others, later = new // 2, others // 2, later // 2
        if fresh or again:
            self._sketch.put(one.app, new, others)
        if fresh or one.sight.answered:
            self._sketch.put(_turns(one.app), 0, later)

    def _digest(self, kind: bytes, whose: bytes, *parts: str | bytes) -> bytes:
        return self._sketch.digest(kind, whose, *(p if isinstance(p, bytes) else _bytes(p) for p in parts))


class Seen:
    """The steps of one request: settled by what is remembered of them, then remembered as they left."""

    def __init__(self, recognised: Recognised, whose: bytes, market: Callable[[str], Market]) -> None:
        self._recognised = recognised
        self._whose = whose
        self._market = market
        self._looked: tuple[Looked, ...] = ()
        self._segments: Sequence[Segment] = ()
        self._taken: frozenset[Step] = frozenset()

    def settle(self, examined: Examined, plan: Plan) -> Plan:
        self._looked = self._recognised.look(examined, plan, self._whose)
        sights = {one.step: one.sight for one in self._looked}
        settled = settle(plan, examined.segments, sights, self._market(examined.request.model))
        self._segments, self._taken = examined.segments, frozenset(settled.steps)
        return settled

    def left(self, sent: bool) -> None:
        """`sent`: the shorter body goes upstream."""
        for one in self._looked:
            short = Form.SHORT if sent else one.sight.form or Form.MISSED
            self._recognised.left(one, short if one.step in self._taken else Form.WHOLE)
        for one in {one.app: one for one in reversed(self._looked) if one.shareable}.values():  # the first of each
            self._recognised.count(one, self._segments[one.step.segments[0]])


class _Prefixes:
    """Digests of all texts of a request up to a place, each text read once."""

    def __init__(self, examined: Examined) -> None:
        self._fields = examined.request.fields
        self._total = blake2b(digest_size=16)
        self._field = 0

    def upto(self, step: Step) -> bytes:
        """Steps come in the order of the text."""
        for field in self._fields[self._field : step.field]:
            self._total.update(b"%d:" % len(field.text) + _bytes(field.role + field.text))
        self._field = max(self._field, step.field)
        here = self._total.copy()
        here.update(_bytes(self._fields[step.field].role + self._fields[step.field].text[: step.end]))
        return here.digest()


def _habits(app: Entry | None, turns: Entry | None, doubt: float) -> tuple[float, float, float]:
    """For a new text: in how many requests it will come for another question, at most; in how many later turns, as it
    was so far and at most."""
    new, others = (app.one, app.two) if app else (0, 0)
    later = turns.two if turns else 0
    texts = max(1, new + others)
    return (others + doubt) / max(1, new), later / texts, (later + doubt) / texts


def _turns(app: bytes) -> bytes:
    """The key of how often an application's texts came in later turns."""
    return bytes(byte ^ 0xFF for byte in app)


def _before(step: Step, examined: Examined) -> int:
    tokens = sum(s.tokens for s in examined.segments if (s.field, s.start) < (step.field, step.start))
    return tokens + (TOOLS if examined.request.tools else 0)


def _asked_before(step: Step, examined: Examined) -> bool:
    fields = examined.request.fields
    texts = (fields[n].text if n < step.field else fields[n].text[: step.start] for n in range(step.field + 1))
    return bool(step.question) and any(step.question in text for text in texts)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
