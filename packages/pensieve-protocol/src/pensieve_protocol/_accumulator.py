"""Folding a stream's events into the message that a client without `stream` gets.

The same fold as the official SDK's `lib/streaming`; a test holds the two together.
"""

from __future__ import annotations

from typing import assert_never

import attrs
import orjson

from pensieve_core import JsonObject
from pensieve_protocol._errors import ErrorEvent
from pensieve_protocol._events import (
    BlockDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDeltaEvent,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)
from pensieve_protocol._messages import (
    Message,
    ResponseBlock,
    ResponseServerToolUse,
    ResponseText,
    ResponseThinking,
    ResponseToolSearchResult,
    ResponseToolUse,
)

__all__ = ["MessageAccumulator"]


class MessageAccumulator:
    """The message so far. Feed it what `MessageStream` returns, in order."""

    def __init__(self) -> None:
        self._message: Message | None = None
        self._fragments: list[str] = []
        """Of the open block; joined when it ends, so that a long answer costs linear time."""
        self._signature = ""

    @property
    def message(self) -> Message:
        """The message; complete after `message_stop`. A block is empty in it until it ends."""
        if self._message is None:
            msg = "message_start has not come"
            raise ValueError(msg)
        return self._message

    def add(self, *events: StreamEvent) -> None:
        """Fold `events` in."""
        for event in events:
            self._add(event)

    def _add(self, event: StreamEvent) -> None:
        match event:
            case MessageStart(message=message):
                self._message = message
            case ContentBlockStart(content_block=block):
                self._set_content(*self.message.content, block)
            case ContentBlockDelta(delta=delta):
                self._write(delta)
            case ContentBlockStop():
                self._close()
            case MessageDeltaEvent():
                self._finish(event)
            case Ping() | MessageStop() | ErrorEvent():
                pass
            case _:
                assert_never(event)

    def _finish(self, event: MessageDeltaEvent) -> None:
        self._message = attrs.evolve(
            self.message,
            stop_reason=event.delta.stop_reason,
            stop_sequence=event.delta.stop_sequence,
            usage=event.usage,
            context_management=event.context_management,
        )

    def _write(self, delta: BlockDelta) -> None:
        match delta:
            case TextDelta(text=fragment) | ThinkingDelta(thinking=fragment) | InputJsonDelta(partial_json=fragment):
                self._fragments.append(fragment)
            case SignatureDelta(signature=signature):
                self._signature = signature
            case _:
                assert_never(delta)

    def _close(self) -> None:
        *closed, block = self.message.content
        self._set_content(*closed, _filled(block, "".join(self._fragments), self._signature))
        self._fragments.clear()

    def _set_content(self, *content: ResponseBlock) -> None:
        self._message = attrs.evolve(self.message, content=content)


def _filled(block: ResponseBlock, text: str, signature: str) -> ResponseBlock:
    match block:
        case ResponseText():
            return attrs.evolve(block, text=text)
        case ResponseThinking():
            return attrs.evolve(block, thinking=text, signature=signature)
        case ResponseToolUse() | ResponseServerToolUse():
            return attrs.evolve(block, input=_input(text))
        case ResponseToolSearchResult():
            return block
        case _:
            assert_never(block)


def _input(text: str) -> JsonObject:
    """Return the parsed input; empty when max_tokens or the context cut it off in the middle.

    Not `_json.parse_json`: what a model wrote is taken as far as it can be, a request is not.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
