"""Collects what a parser found: merges neighbours, and drops the white space around calls and reasoning.

Between `_parser`, which says what each character is, and the engine, which forwards the events. Because white
space is held until it is known what follows, the events do not depend on how the text was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from pensieve_core import TextProduced, ThinkingProduced, ToolCallArguments, ToolCallId, ToolCallStarted

__all__ = ["WHITE_SPACE", "EventBuffer", "ParsedEvent"]

ParsedEvent: TypeAlias = TextProduced | ThinkingProduced | ToolCallStarted | ToolCallArguments

WHITE_SPACE: Final = " \t\r\n"


@attrs.define(kw_only=True)
class _Trimmer:
    """Passes text on, less the line breaks before it; white space waits until more text follows.

    Invariant: `gap` is white space, seen but not passed on.
    """

    fresh: bool = True
    waits: bool = True
    """Something may follow before which white space is dropped."""
    gap: str = ""

    def push(self, text: str) -> str:
        """Take more text; return what may go out now."""
        text = self.gap + text
        body = text.rstrip(WHITE_SPACE)
        if not self.waits and (body or not self.fresh):
            body = text
        self.gap = text[len(body) :]
        if body and self.fresh:
            self.fresh = False
            return _less_leading_lines(body)
        return body

    def restart(self) -> None:
        """Forget the gap: what comes next is a new piece of text."""
        self.fresh = True
        self.gap = ""

    def flush(self) -> str:
        """Return the white space after the last text, if there was any text."""
        gap, self.gap = self.gap, ""
        return "" if self.fresh else gap


def _less_leading_lines(text: str) -> str:
    """Drop the empty lines at the start; the indentation of the first real line stays."""
    indented = len(text) - len(text.lstrip(WHITE_SPACE))
    return text[text.rfind("\n", 0, indented) + 1 :]


class EventBuffer:
    """Grows by `text`, `thinking`, `start_call` and `arguments`; emptied by `take`.

    Args:
        new_call_id: Names each call.
        continues: The text goes on where a prompt ended, so its leading white space counts.
        may_call: A call may follow the text. Where none can, a line break goes out as soon as it is there.
    """

    def __init__(
        self, new_call_id: Callable[[], ToolCallId], *, continues: bool = False, may_call: bool = True
    ) -> None:
        self._new_call_id = new_call_id
        self._text = _Trimmer(fresh=not continues, waits=may_call)
        self._thinking = _Trimmer()
        self._events: list[ParsedEvent] = []
        self.pristine = not continues
        """No text and no call yet: the answer may still begin with reasoning."""
        self.calls = 0

    def text(self, text: str) -> None:
        """Add to the answer's text."""
        self._append_text(self._text.push(text))

    def thinking(self, text: str) -> None:
        """Add to the reasoning."""
        body = self._thinking.push(text)
        if body:
            self._append(ThinkingProduced(text=body))

    def end_thinking(self) -> None:
        """Close one block of reasoning; white space around it is dropped."""
        self._thinking.restart()
        self._text.restart()

    def start_call(self, name: str) -> None:
        """Open a tool call."""
        self._text.restart()
        self.pristine = False
        self.calls += 1
        self._events.append(ToolCallStarted(id=self._new_call_id(), name=name))

    def arguments(self, fragment: str) -> None:
        """Add to the arguments of the call started last."""
        if fragment:
            self._append(ToolCallArguments(fragment=fragment))

    def flush(self) -> None:
        """Let the white space at the end of the text out."""
        self._append_text(self._text.flush())

    def take(self) -> tuple[ParsedEvent, ...]:
        """Return what came since the last time."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def _append_text(self, text: str) -> None:
        if text:
            self.pristine = False
            self._append(TextProduced(text=text))

    def _append(self, event: TextProduced | ThinkingProduced | ToolCallArguments) -> None:
        """Add `event`, merged with its neighbour when both are of one kind."""
        last = self._events[-1] if self._events else None
        match last, event:
            case TextProduced(text=head), TextProduced(text=tail):
                self._events[-1] = TextProduced(text=head + tail)
            case ThinkingProduced(text=head), ThinkingProduced(text=tail):
                self._events[-1] = ThinkingProduced(text=head + tail)
            case ToolCallArguments(fragment=head), ToolCallArguments(fragment=tail):
                self._events[-1] = ToolCallArguments(fragment=head + tail)
            case _:
                self._events.append(event)
