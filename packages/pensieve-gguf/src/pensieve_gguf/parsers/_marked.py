"""The machine for all who mark their calls in a running text: everybody but gpt-oss.

Theory of operation. It reads character by character, so the result cannot depend on how the text was cut.

    TEXT ──opener──▶ HELD ──brace──▶ CALL ──whole──▶ AFTER ──▶ TEXT, HELD, CALL
      │               └─▶ TEXT        └─▶ SKIPPED ──▶ TEXT
      └──<think>──▶ THINKING ──▶ TEXT

HELD has read what may precede a call (a tag, a code fence, a bracket) and keeps it; CALL reads what may be one, in the
form that the mark and the first character after it say. When it is none, everything held is text again, unchanged, and
the JSON that it stood in is SKIPPED as text to its end, so that no part of it is taken for a call.

The forms of all families are understood, whichever the template showed: small models answer with each other's marks.
What is not tolerated is a name that is not among the request's tools; such a thing is text.

Above: `_parser` makes it. Below: the readers of calls; `_events` collects.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping
from typing import Final

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import EventBuffer, ParsedEvent
from pensieve_gguf.parsers._gemma_calls import GemmaCall
from pensieve_gguf.parsers._json_calls import JsonCall
from pensieve_gguf.parsers._json_stream import JsonStream
from pensieve_gguf.parsers._named_calls import NamedCall
from pensieve_gguf.parsers._reading import CallReader, OpenCall, Verdict
from pensieve_gguf.parsers._tagged_calls import TaggedCall
from pensieve_gguf.parsers._tagging import GLM_TAGS, QWEN_TAGS
from pensieve_gguf.parsers._tags import (
    CALL_CLOSERS,
    CALL_MARK,
    CALL_MARKS,
    CALL_SEPARATOR,
    FENCE_END,
    FENCES,
    GEMMA_CALLS,
    LIST_OPENERS,
    NAMED_CALL,
    STRAY_BRACE,
    TAGGED_CALL,
    WRAPPERS,
)

__all__ = ["MarkedParser"]


class _Phase(enum.Enum):
    TEXT = enum.auto()
    HELD = enum.auto()
    CALL = enum.auto()
    SKIPPED = enum.auto()
    AFTER = enum.auto()
    THINKING = enum.auto()
    DONE = enum.auto()


class MarkedParser:
    """Invariant: `_held` is text read but not emitted, save for `_partial`, which may become a mark."""

    def __init__(
        self,
        tools: Mapping[str, JsonObject],
        thinks: dict[str, str],
        events: EventBuffer,
        *,
        opens_thinking: bool,
        parallel: bool,
    ) -> None:
        self._tools = tools
        self._thinks = thinks
        self._events = events
        self._parallel = parallel
        self._phase = _Phase.THINKING if opens_thinking else _Phase.TEXT
        self._think_closers = frozenset(thinks.values())
        self._line_start = events.pristine
        self._partial = ""
        self._held = ""
        self.broken = 0
        """How many calls of known tools could not be read to their end, and are text now."""
        self._opened: set[str] = set()
        """Marks before the current call; they say which closers to expect."""
        self._opener = ""
        """The last of them; it says what a bare word means."""
        self._call: CallReader = JsonCall(tools, events, bare_name=False)
        self._marked_at: int | None = None
        """Where in `_held` that begins which stands behind the mark of a call."""
        self._object = JsonStream()
        """Runs beside `_call` from the first brace on: where the JSON ends if it is no call."""

    @property
    def called(self) -> bool:
        """At least one call has been started."""
        return self._events.calls > 0

    @property
    def done(self) -> bool:
        """Nothing further can count."""
        return self._phase is _Phase.DONE

    @property
    def thinking(self) -> bool:
        """The text stands within a block of reasoning."""
        return self._phase is _Phase.THINKING

    @property
    def holds(self) -> bool:
        """What was read last may be part of a call or of a mark."""
        return bool(self._held or self._partial)

    @property
    def opened(self) -> OpenCall | None:
        """The call that the text stands in."""
        if self._phase is not _Phase.CALL:
            return None
        if self._call.started or self._marked_at is None:
            return self._call.opened
        header = self._held[self._marked_at :]
        return OpenCall(number=self._events.calls + 1, name="", text=header) if header else None

    def feed(self, text: str) -> tuple[ParsedEvent, ...]:
        """Take what the model produced next."""
        self.push(text)
        return self._events.take()

    def finish(self) -> tuple[ParsedEvent, ...]:
        """Return the rest."""
        self.end()
        self._events.flush()
        return self._events.take()

    def end(self) -> None:
        """No more text will come; the events are for others to take."""
        if self._phase is _Phase.CALL:
            self._finish_call()
        if self._phase is _Phase.THINKING:
            self._events.thinking(self._partial)
            self._events.end_thinking()
        elif self._phase is not _Phase.AFTER or not _begins_closer(self._partial):
            self._events.text(self._held + self._partial)
        self._partial = self._held = ""

    def _finish_call(self) -> None:
        self._call.finish()
        if self._call.started:
            self._held = ""
            self._phase = _Phase.AFTER

    def push(self, text: str) -> None:
        """Take more text; the events are for others to take."""
        while text and self._phase is not _Phase.DONE:
            text = self._advance(text)

    def _advance(self, text: str) -> str:
        """Take something off the front of `text`; return what is to be read next."""
        if self._phase is _Phase.CALL:
            return self._read_call(text)
        if self._phase is _Phase.SKIPPED:
            return self._skip(text[0]) + text[1:]
        plain = _PLAIN.match(text) if self._phase in _RUNNING and not self._partial else None
        if plain is not None:
            self._ordinary(plain.group())
            return text[plain.end() :]
        return self._match(text[0]) + text[1:]

    def _match(self, char: str) -> str:
        """Take one character, which may begin, continue or complete a mark; return what must be read again.

        The longest mark wins: `[` waits until it cannot become `[TOOL_CALLS]`.
        """
        candidate = self._partial + char
        marks = self._marks()
        self._partial = ""
        if any(mark.startswith(candidate) and mark != candidate for mark in marks):
            self._partial = candidate
            return ""
        length = next((n for n in range(len(candidate), 0, -1) if candidate[:n] in marks), 0)
        if length:
            self._mark(candidate[:length])
            return candidate[length:]
        reader = self._reader_of_words() if self._phase is _Phase.HELD and not candidate[0].isspace() else None
        if reader is not None:
            self._begin_call("", reader)
            return candidate
        self._ordinary(candidate[0])
        return candidate[1:]

    def _marks(self) -> Collection[str]:
        """Return the marks that have a meaning here."""
        match self._phase:
            case _Phase.THINKING:
                return self._think_closers
            case _Phase.HELD:
                return {*_ALL_OPENERS, *self._closers_of_nothing()}
            case _Phase.AFTER:
                return self._marks_after_call()
            case _:
                return self._text_marks()

    def _text_marks(self) -> Collection[str]:
        reasoning = self._thinks.keys() | self._think_closers if self._events.pristine else frozenset[str]()
        if not self._tools:
            return reasoning
        return reasoning | (_ALL_OPENERS if self._line_start else _INLINE_OPENERS)

    def _closers_of_nothing(self) -> Collection[str]:
        """Return the closers of what was opened at the very beginning of an answer, where no call has followed.

        Qwen2.5-Coder begins answers with an empty pair of tags; as text it would be history, and the model's habit.
        """
        if not self._events.pristine:
            return ()
        return {closer for opener in self._opened if (closer := f"</{opener[1:]}") in CALL_CLOSERS}

    def _marks_after_call(self) -> Collection[str]:
        """Return openers of a further call, and closers of what was opened before this one."""
        marks = _ALL_OPENERS | CALL_CLOSERS | {STRAY_BRACE, CALL_SEPARATOR}
        if self._opened & FENCES:
            marks = (marks - FENCES) | {FENCE_END}
        return marks | {"]", ","} if "[" in self._opened else marks

    def _mark(self, mark: str) -> None:
        if mark in self._thinks:
            self._phase = _Phase.THINKING
        elif mark in self._think_closers:
            self._events.end_thinking()
            self._line_start = True
            self._phase = _Phase.TEXT
        elif mark == "{":
            self._begin_call(mark, JsonCall(self._tools, self._events, bare_name=bool(self._opened & WRAPPERS)))
        elif mark == TAGGED_CALL:
            self._begin_call(mark, TaggedCall(self._tools, self._events, QWEN_TAGS))
        elif mark in _ALL_OPENERS or mark == CALL_SEPARATOR:
            self._held += mark
            self._opened.add(mark)
            self._opener = mark
            self._phase = _Phase.HELD
        elif self._phase is _Phase.HELD:
            self._forget_held()
        elif mark == FENCE_END:
            self._opened -= FENCES

    def _forget_held(self) -> None:
        """What was held is an empty pair of tags, and nothing is told of it."""
        self._held = ""
        self._opened.clear()
        self._line_start = True
        self._phase = _Phase.TEXT

    def _ordinary(self, text: str) -> None:
        """Take text in which no mark begins."""
        if self._phase is _Phase.THINKING:
            self._events.thinking(text)
        elif self._phase is not _Phase.TEXT and text.isspace():
            self._held += text
        else:
            self._emit_text(self._held + text)
            self._opened.clear()

    def _emit_text(self, text: str) -> None:
        """What was held is text after all."""
        self._events.text(text)
        self._held = ""
        self._phase = _Phase.TEXT
        line = text[text.rfind("\n") + 1 :]
        self._line_start = not line.strip() and (len(line) < len(text) or self._line_start)

    def _reader_of_words(self) -> CallReader | None:
        """Return what reads a call that begins with a bare word here; None where there is none."""
        if self._opener in NAMED_CALL:
            # DeepSeek's older models put the arguments into a fence, which ends behind them.
            self._opened.update(FENCES)
            return NamedCall(self._tools, self._events)
        if self._opener == CALL_MARK:
            return TaggedCall(self._tools, self._events, GLM_TAGS)
        if self._opener in GEMMA_CALLS:
            return GemmaCall(self._tools, self._events, GEMMA_CALLS[self._opener])
        return None

    def _begin_call(self, mark: str, call: CallReader) -> None:
        meant = mark != "{" or bool(self._opened & CALL_MARKS)
        self._held += mark
        self._marked_at = len(self._held) - (mark == "{") if meant else None
        self._phase = _Phase.CALL
        self._call = call
        self._object = JsonStream()
        if mark == "{":
            self._object.feed(mark)

    def _read_call(self, text: str) -> str:
        """Let the call read: all there is once it started, before that one character, which may end the attempt."""
        call = self._call
        taken = text if call.started else text[0]
        call.feed(taken)
        rest = text[len(taken) :]
        if not call.started:
            self._held += taken
            self._watch_json(taken)
        if call.whole and not self._parallel:
            self._held = ""
            self._phase = _Phase.DONE
        elif call.verdict is Verdict.CLOSED:
            self._held = ""
            self._phase = _Phase.AFTER
            return call.unread + rest
        elif call.verdict is Verdict.REFUSED:
            return self._refuse_call() + rest
        return rest

    def _watch_json(self, char: str) -> None:
        if isinstance(self._call, JsonCall) or char == "{":
            self._object.feed(char)

    def _refuse_call(self) -> str:
        """Make text of all that was held. JSON that is sound so far is text to its end."""
        self.broken += self._call.broken
        self._opened.clear()
        if self._object.finished or self._object.irregular or not self._object.begun:
            last = self._held[-1]
            self._emit_text(self._held[:-1])
            return last
        self._emit_text(self._held)
        self._phase = _Phase.SKIPPED
        return ""

    def _skip(self, char: str) -> str:
        self._object.feed(char)
        if self._object.irregular:
            self._phase = _Phase.TEXT
            return char
        self._emit_text(char)
        self._phase = _Phase.TEXT if self._object.finished else _Phase.SKIPPED
        return ""


_RUNNING: Final = frozenset({_Phase.TEXT, _Phase.THINKING})
_PLAIN: Final = re.compile(r"[^<\[{`]+")
"""Text in which no mark begins; taken at once, for speed alone."""

_INLINE_OPENERS: Final = WRAPPERS | {TAGGED_CALL}
_ALL_OPENERS: Final = _INLINE_OPENERS | FENCES | LIST_OPENERS


def _begins_closer(text: str) -> bool:
    return any(closer.startswith(text) for closer in (*CALL_CLOSERS, FENCE_END))
