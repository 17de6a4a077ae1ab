"""What was seen of the texts of a request before: how each first left, and whether other questions bring it too.

Four kinds of entries in a `Sketch`, none of which holds text. A *form*: this text behind this beginning of a
conversation, for this question, left short or whole; it holds for every later turn. A *message* that left whole since
nobody had time to look into it; so does what is in it later. A *text*: this text behind this
beginning was asked something lately. An *application*: of the texts that came with this system prompt, so many were
new, so many came again for another question, and so many in later turns; from its habits follows what is done with a
text that is new.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from policies.base import Kind, Plan, Segment, Step
from policies.budget import lossy
from policies.cachesafe import Form, Market, Sight, settle
from proxy.pace import Pace
from proxy.pricing import name
from proxy.shorten import Examined
from proxy.sketch import Entry, Sketch
from proxy.wire import ChatRequest, Field, UnknownShape, parse

WARM = 15 * 60
"""Seconds for which providers keep a prefix that nobody uses, roughly: 5 to 10 minutes by default, up to hours."""
LARGE, DOUBT, SOME_DOUBT = 3000, 5.0, 0.2
"""Of an application of which nothing is known, so many texts are taken to have come again. With some doubt its first
text is shortened all the same. Texts of so many tokens are more often a document that will be asked again than passages
that were found for one question: these are watched until about nine came that were new."""
TOOLS = 1024
"""Tokens that tools are taken to have: they stand before all messages, and nobody counts them here."""
UNREAD, UNREAD_OBJECTS = 256 * 1024, 500
"""Bytes and objects of a body that is read on the event loop, in a few milliseconds, where nobody else had time to."""
_APP = 256  # characters of the first instruction that tell one application from another
_MOST = 64  # texts of an application, then its counts are halved: what it does may change


_GROWING = (Kind.TOOL_OUTPUT, Kind.HISTORY)
_BEFORE_TURNS = ("system", "developer")
_NOTHING = Entry(0, 0)
_FORMS = frozenset(Form)  # what else stands in a slot two processes have written at once


@dataclass(frozen=True, slots=True)
class Looked:
    """A step, what is remembered of it, and where. `apps`: its application, and all of the tenant with such texts;
    `shareable`: its question does not stand before it, so that another one may come behind the same words."""

    step: Step
    sight: Sight
    form: bytes
    text: bytes
    apps: tuple[bytes, bytes]
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
        reading = _Reading(examined)
        instruction = next((s.text[:_APP] for s in examined.segments if s.kind is Kind.INSTRUCTION), "")
        model = name(request.model, ()) or request.model
        looked = []
        for step in sorted(steps, key=lambda s: (s.field, s.start)):
            first = examined.segments[step.segments[0]]
            prefix = reading.prefix(step)
            form = self._digest(b"form", whose, model, prefix, step.question)
            text = self._digest(b"text", whose, model, request.cache_key, prefix)
            unread = self._digest(b"unread", whose, reading.through(step))
            kind = self._digest(b"kind", whose, model, request.cache_key, first.role, first.kind)
            app = self._sketch.digest(kind, _bytes(instruction))
            shareable = step.recognise and not reading.asked_before(step)
            sight = self._sight(step, reading, (form, unread, text, app, kind), shareable)
            looked.append(Looked(step, sight, form, text, (app, kind), shareable))
        return tuple(looked)

    def unread(self, request: ChatRequest, whose: bytes) -> None:
        """All of it left whole, unexamined. What was decided in earlier turns still holds."""
        total = blake2b(digest_size=16)
        for field in request.fields:
            total.update(_said(field))
            self._sketch.put(self._digest(b"unread", whose, total.digest()), Form.MISSED)

    def left(self, one: Looked, form: Form) -> None:
        if lossy(one.step.budget) or form is not Form.SHORT or one.sight.form:  # a lossless step is taken anyway
            self._sketch.put(one.form, form)
        if one.shareable:
            self._sketch.put(one.text, 0)

    def count(self, one: Looked, first: Segment) -> None:
        """An application's text came for the first time, came for another question, or came again in a later turn.
        `first`: the first segment of the step."""
        leaning = first.role in _BEFORE_TURNS and first.questions > 1
        fresh = one.sight.form is None
        again = leaning or (fresh and one.sight.cached)
        for app in one.apps:
            entry, turns = self._sketch.get(app) or _NOTHING, self._sketch.get(_turns(app)) or _NOTHING
            new, others = entry.one + (fresh and not again), entry.two + again
            later = min(turns.two + one.sight.answered, _MOST * _MOST)
            if new + others > _MOST:
                new, others, later = new // 2, others // 2, later // 2
            if fresh or again:
                self._sketch.put(app, new, others)
            if fresh or one.sight.answered:
                self._sketch.put(_turns(app), 0, later)

    def _sight(self, step: Step, reading: "_Reading", keys: tuple[bytes, ...], shareable: bool) -> Sight:
        form, unread, text = (self._sketch.get(key) for key in keys[:3])
        form = form or unread
        first = reading.examined.segments[step.segments[0]]
        others, later, at_most = self._habits(keys[3:], reading.size(step)) if shareable else (0.0, 0.0, 0.0)
        answered = first.message < reading.answered
        just_now = shareable and not (form or answered) and text is not None and self._sketch.age(text) < WARM
        return Sight(
            form=Form(form.one) if form and form.one in _FORMS else None,
            answered=answered,
            cached=just_now or (step.recognise and first.message < reading.examined.request.marked),
            others=others,
            later=later,
            at_most=at_most,
            before=reading.before(step),
            rest=reading.rest(step),
            growing=first.kind in _GROWING,
            seconds=self._pace.seconds(step.compressor, step.end - step.start),
        )

    def _habits(self, apps: tuple[bytes, ...], size: int) -> tuple[float, float, float]:
        """For a new text: in how many requests it will come for another question, at most; in how many later turns, as
        it was so far and at most. By what is known of the application; of an unknown one, as where each request has
        other instructions, by what is known of all with such texts."""
        app = next((app for app in apps if self._sketch.get(app)), apps[0])
        entry, turns = self._sketch.get(app) or _NOTHING, self._sketch.get(_turns(app)) or _NOTHING
        doubt = DOUBT if size > LARGE else SOME_DOUBT
        texts = max(1, entry.one + entry.two)
        return (entry.two + doubt) / max(1, entry.one), turns.two / texts, (turns.two + doubt) / texts

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
        self._settled = False

    def settle(self, examined: Examined, plan: Plan) -> Plan:
        looked = self._recognised.look(examined, plan, self._whose)
        sights = {one.step: one.sight for one in looked}
        settled = settle(plan, examined.segments, sights, self._market(examined.request.model))
        self._segments, self._taken = examined.segments, frozenset(settled.steps)
        self._looked = looked
        self._settled = True  # last: when the deadline passes, the event loop reads all of it
        return settled

    def left(self, sent: bool) -> None:
        """`sent`: what the steps left goes upstream."""
        for one in self._looked:
            short = Form.SHORT if sent else one.sight.form or Form.MISSED
            self._recognised.left(one, short if one.step in self._taken else Form.WHOLE)
        for one in {one.apps: one for one in reversed(self._looked) if one.shareable}.values():  # the first of each
            self._recognised.count(one, self._segments[one.step.segments[0]])

    def failed(self, body: bytes) -> None:
        """It goes as it came, looked at or not. Quick: it is the event loop that waits."""
        if self._settled:
            self.left(False)
        elif len(body) <= UNREAD and body.count(b"{") <= UNREAD_OBJECTS:
            with suppress(UnknownShape):
                self._recognised.unread(parse(body), self._whose)


class _Reading:
    """What is asked of a request for each of its steps, each text read once. Steps come in the order of the text.
    `answered`: what stands before this message was sent before."""

    def __init__(self, examined: Examined) -> None:
        self.examined = examined
        self._fields = examined.request.fields
        roles = [message.role for message in examined.request.messages]
        self.answered = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else 0
        self._starts = [(s.field, s.start) for s in examined.segments]
        self._questions = [(s.field, s.start) for s in examined.segments if s.kind is Kind.QUESTION]
        self._tokens = [0, *accumulate(s.tokens for s in examined.segments)]
        self._total = blake2b(digest_size=16)
        self._field = 0
        self._asked: dict[str, int] = {}  # the first field in which a question stands

    def prefix(self, step: Step) -> bytes:
        """A digest of all texts up to the end of the step."""
        for field in self._fields[self._field : step.field]:
            self._total.update(_said(field))
        self._field = max(self._field, step.field)
        here = self._total.copy()
        here.update(_bytes(self._fields[step.field].role + self._fields[step.field].text[: step.end]))
        return here.digest()

    def through(self, step: Step) -> bytes:
        """A digest of all texts up to the end of the one that the step is in. After `prefix`."""
        here = self._total.copy()
        here.update(_said(self._fields[step.field]))
        return here.digest()

    def before(self, step: Step) -> int:
        """The tokens that stand before the step."""
        text = self._tokens[bisect_left(self._starts, (step.field, step.start))]
        return text + (TOOLS if self.examined.request.tools else 0)

    def rest(self, step: Step) -> int:
        """The tokens from the step on to the question of its text, or to its end."""
        following = self._questions[bisect_left(self._questions, (step.field, step.start)) :][:1]
        last = self._tokens[bisect_left(self._starts, min([*following, (step.field + 1, 0)]))]
        return last - self._tokens[bisect_left(self._starts, (step.field, step.start))]

    def size(self, step: Step) -> int:
        """The tokens of the step's whole text."""
        ends = (bisect_left(self._starts, (field, 0)) for field in (step.field, step.field + 1))
        first, last = (self._tokens[end] for end in ends)
        return last - first

    def asked_before(self, step: Step) -> bool:
        question = step.question
        if not question:
            return False
        if question not in self._asked:
            found = (n for n, field in enumerate(self._fields) if question in field.text)
            self._asked[question] = next(found, len(self._fields))
        first = self._asked[question]
        return first < step.field or (first == step.field and question in self._fields[first].text[: step.start])


def _said(field: Field) -> bytes:
    return b"%d:" % len(field.text) + _bytes(field.role + field.text)


def _turns(app: bytes) -> bytes:
    """The key of how often an application's texts came in later turns."""
    return bytes(byte ^ 0xFF for byte in app)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
