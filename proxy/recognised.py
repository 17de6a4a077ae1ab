"""What was seen of the texts of a request before: how each first left, and whether other questions bring it too.

Three kinds of entries in a `Sketch`, none of which holds text. A *form*: this text behind this beginning of a
conversation, for this question, left short or whole; it holds for every later turn. A *text*: this text behind this
beginning was asked something lately. An *application*: of the texts that came with this system prompt, so many were new
and so many had come before; from its share follows what is done with a text that is new.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from policies.base import Plan, Segment, Step
from policies.budget import lossy
from policies.cachesafe import Form, Market, Sight, settle
from proxy.pace import Pace
from proxy.shorten import Examined
from proxy.sketch import Entry, Sketch

WARM = 15 * 60
"""Seconds for which providers keep a prefix that nobody uses, roughly: 5 to 10 minutes by default, up to hours."""
SMALLEST = 1000
"""Tokens of text below which no prefix is kept: providers say 1,024, their markup included."""
_APP = 256  # characters of the first message that tell one application from another
_MOST = 64  # observations of an application, then both counts are halved: what it does may change


@dataclass(frozen=True, slots=True)
class Looked:
    """A step and what is remembered of it. `fresh`: nothing was decided for it before."""

    step: Step
    sight: Sight
    form: bytes
    text: bytes
    app: bytes
    fresh: bool


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
        looked = []
        for step in sorted(steps, key=lambda s: (s.field, s.start)):
            prefix = before.upto(step)
            first = examined.segments[step.segments[0]]
            form = self._digest(b"form", whose, request.model, prefix, step.question)
            text = self._digest(b"text", whose, request.model, request.cache_key, prefix)
            where = (first.role, first.kind, _beginning(examined, step))
            app = self._digest(b"app", whose, request.model, request.cache_key, *where)
            looked.append(self._looked(step, examined, (form, text, app)))
        return tuple(looked)

    def left(self, one: Looked, form: Form, first: Segment) -> None:
        """`first`: the first segment of the step."""
        if lossy(one.step.budget) or form is Form.MISSED or not one.fresh:  # a lossless step is taken unless it was not
            self._sketch.put(one.form, form)
        if one.step.recognise:
            self._sketch.put(one.text, 0)
            self._count(one, first)

    def _looked(self, step: Step, examined: Examined, keys: tuple[bytes, bytes, bytes]) -> Looked:
        form, text, app = (self._sketch.get(key) for key in keys)
        segment = examined.segments[step.segments[0]]
        again = 0.0
        if step.recognise and segment.message < examined.request.marked:
            again = 1.0  # the caller says that it will come again
        elif step.recognise and _long_enough(step, examined):
            other = form is None and text is not None and self._sketch.age(text) < WARM
            again = 1.0 if other else _share(app)
        seconds = self._pace.seconds(step.compressor, step.end - step.start)
        answered = any(message.role == "assistant" for message in examined.request.messages[segment.message + 1 :])
        sight = Sight(Form(form.one) if form else None, answered, again, seconds)
        return Looked(step, sight, *keys, fresh=form is None)

    def _count(self, one: Looked, first: Segment) -> None:
        """An application's text came for the first time, came for another question, or is leaned on by later turns."""
        leaning = first.role in ("system", "developer") and first.questions > 1
        if not one.fresh and not leaning:
            return
        entry = self._sketch.get(one.app) or Entry(0, 0)
        again = leaning or one.sight.again == 1.0
        new, old = entry.one + (not again), entry.two + again
        if new + old > _MOST:
            new, old = new // 2, old // 2
        self._sketch.put(one.app, new, old)

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
            form = short if one.step in self._taken else Form.WHOLE
            self._recognised.left(one, form, self._segments[one.step.segments[0]])


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


def _beginning(examined: Examined, step: Step) -> str:
    """The first words of a request, as far as they are not the step's own."""
    first = examined.request.fields[0]
    return first.role + first.text[: min(_APP, step.start if step.field == 0 else _APP)]


def _share(app: Entry | None) -> float:
    return app.two / (app.one + app.two) if app and app.one + app.two > 1 else 0.0


def _long_enough(step: Step, examined: Examined) -> bool:
    """Whether a provider would keep what ends with this step at all; tools stand before the messages, uncounted."""
    tokens = sum(s.tokens for s in examined.segments if (s.field, s.start) < (step.field, step.end))
    return tokens >= SMALLEST or bool(examined.request.tools)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
