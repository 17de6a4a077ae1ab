"""Answers in which names, dates and numbers are put back to how the prompt had them: bytes in, bytes out, no I/O.

Only the texts of choices change: `message.content` of a whole answer, `delta.content` of a stream. Every other byte
stays. Of a stream, every event goes on at once; text is held back, inside of events that go on without it, only while
it may be part of a name that has not ended. It goes out, at the latest, before the event that ends its choice.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from compressors.damage import Damage
from compressors.recovery import Restorer
from proxy.choices import Choice, Choices, Text, spliced
from proxy.json_walk import literal

BOUND = 256 * 1024
"""Bytes of a whole answer, or of one event, that are read; larger ones go on as they come."""
_BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
_DATA = re.compile(rb"^data:([^\r\n]*)", re.MULTILINE)
_STOPPED = "stop"
_CUT_OFF = ("length", "content_filter")


def recovered(body: bytes, damage: Damage) -> bytes:
    """A whole answer with the texts of its choices recovered; the same bytes where there is nothing to do.

    Raises `ValueError` for what is no answer that we understand."""
    walk = Choices(body.decode(), "message")
    texts = [(c.text, _whole(c.text, c.finished, damage)) for c in walk.choices() if c.text and c.ours]
    changed = [(text, new) for text, new in texts if new != text.text]
    return spliced(walk.source, changed).encode() if changed else body


def _whole(text: Text, finished: str | None, damage: Damage) -> str:
    restorer = Restorer(damage)
    return restorer.feed(text.text) + _rest(restorer, finished)


def _rest(restorer: Restorer, finished: str | None) -> str:
    """What is held back at an end. Where the text was cut off, its last word may be half a word."""
    return restorer.finish() if finished and finished not in _CUT_OFF else restorer.held


@dataclass(slots=True)
class _Begun:
    """A choice whose text has begun. `event`: one of its events, cut where its text stands, to put more text into."""

    restorer: Restorer
    event: tuple[bytes, str, bytes] = (b"", '""', b"")

    def flush(self, finished: str | None) -> bytes:
        """An event with the text that is held back; nothing where none is."""
        return self.with_text(_rest(self.restorer, finished))

    def with_text(self, text: str) -> bytes:
        before, sample, after = self.event
        return before + literal(text, sample).encode() + after if text else b""


class Events:
    """A stream, in pieces of any size. Once it has given up, bytes come out as they go in."""

    def __init__(self, damage: Damage) -> None:
        self._damage = damage
        self._out: list[bytes] = []
        self._held: list[bytes] = []  # what must go out before the event that is being read, if that cannot be read
        self._buffer = b""
        self._begun: dict[int, _Begun] = {}
        self._lost = False

    def feed(self, data: bytes) -> bytes:
        """What can go on now. Whatever it raises, nothing is lost: `give_up` has the rest."""
        if self._lost:
            return data
        looked = max(0, len(self._buffer) - 3)
        self._buffer += data
        while end := _BLANK_LINE.search(self._buffer, looked):
            self._held = [one.with_text(one.restorer.held) for one in self._begun.values()]
            if not self._event(self._buffer[: end.end()]):
                return self.give_up()
            self._buffer, looked = self._buffer[end.end() :], 0
        if len(self._buffer) > BOUND:
            self._held = [self._flush(None)]
            return self.give_up()
        out, self._out = self._out, []
        return b"".join(out)

    def finish(self) -> bytes:
        """The rest of a stream that has ended. One that has not said so is as good as broken off."""
        self._held = [self._flush(None)]
        return self.give_up()

    def give_up(self) -> bytes:
        """All that has not gone on yet, as it came."""
        self._lost = True
        rest = b"".join([*self._out, *self._held, self._buffer])
        self._out, self._held, self._buffer, self._begun = [], [], b"", {}
        return rest

    def _flush(self, finished: str | None) -> bytes:
        begun, self._begun = self._begun, {}
        return b"".join(one.flush(finished) for one in begun.values())

    def _event(self, event: bytes) -> bool:
        """Passes an event on. False: its text must not be touched, nor what follows."""
        lines = list(_DATA.finditer(event)) if self._begun or b'"content"' in event else []
        if not lines:
            self._out.append(event)
        elif len(lines) > 1 or not lines[0][1].lstrip().startswith(b"{"):  # [DONE], or what no provider sends
            self._out += self._flush(_STOPPED), event
        else:
            return self._choices(lines[0][1].decode(), event[: lines[0].start(1)], event[lines[0].end(1) :])
        return True

    def _choices(self, source: str, before: bytes, after: bytes) -> bool:
        found = Choices(source, "delta").choices()
        if not all(choice.ours for choice in found):
            return False
        flushed = [] if found or '"error"' not in source else [self._flush(None)]
        texts: list[tuple[Text, str]] = []
        for choice in found:
            if choice.text:
                texts.append((choice.text, self._text(choice, choice.text)))
            elif one := self._begun.pop(choice.index, None):
                flushed.append(one.flush(choice.finished or _STOPPED))
        for choice in found:
            if choice.text and choice.index in self._begun:
                self._begun[choice.index].event = _cut(source, choice.text, texts, (before, after))
        changed = [(text, new) for text, new in texts if new != text.text]
        self._out += *flushed, before + spliced(source, changed).encode() + after
        return True

    def _text(self, choice: Choice, text: Text) -> str:
        one = self._begun.setdefault(choice.index, _Begun(Restorer(self._damage)))
        new = one.restorer.feed(text.text)
        if choice.finished:
            new += _rest(one.restorer, choice.finished)
            del self._begun[choice.index]
        return new


def _cut(
    source: str, own: Text, texts: Sequence[tuple[Text, str]], around: tuple[bytes, bytes]
) -> tuple[bytes, str, bytes]:
    """An event before and after the text of one choice, with the texts of the others emptied."""
    others = [(text, "") for text, _ in texts if text != own]
    before = spliced(source[: own.start], [pair for pair in others if pair[0].end <= own.start])
    whole = spliced(source, others)
    end = len(before) + own.end - own.start
    return around[0] + before.encode(), source[own.start : own.end], whole[end:].encode() + around[1]
