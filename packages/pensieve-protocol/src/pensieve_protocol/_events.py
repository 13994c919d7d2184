"""The events of a stream, as they stand on the wire; and their server-sent-events encoding.

The wire is the specification: the official SDK's `types/raw_message_stream_event.py`. The order in which they may
come is `_stream`'s business.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from pensieve_protocol._context_management import ContextManagementResponse
from pensieve_protocol._errors import ErrorEvent
from pensieve_protocol._json import RARE, dump_json
from pensieve_protocol._messages import Message, MessageUsage, ResponseBlock, StopReason

__all__ = [
    "BlockDelta",
    "ContentBlockDelta",
    "ContentBlockStart",
    "ContentBlockStop",
    "InputJsonDelta",
    "MessageDelta",
    "MessageDeltaEvent",
    "MessageStart",
    "MessageStop",
    "Ping",
    "SignatureDelta",
    "StreamEvent",
    "TextDelta",
    "ThinkingDelta",
    "encode_sse",
]


@attrs.frozen(kw_only=True)
class TextDelta:
    """More text."""

    type: Literal["text_delta"] = "text_delta"
    text: str


@attrs.frozen(kw_only=True)
class ThinkingDelta:
    """More reasoning."""

    type: Literal["thinking_delta"] = "thinking_delta"
    thinking: str


@attrs.frozen(kw_only=True)
class SignatureDelta:
    """The signature of a thinking block, right before its end."""

    type: Literal["signature_delta"] = "signature_delta"
    signature: str


@attrs.frozen(kw_only=True)
class InputJsonDelta:
    """More of a tool call's input; all fragments of a block concatenate to its JSON text."""

    type: Literal["input_json_delta"] = "input_json_delta"
    partial_json: str


BlockDelta: TypeAlias = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


@attrs.frozen(kw_only=True)
class MessageStart:
    """The first event: the message without content."""

    type: Literal["message_start"] = "message_start"
    message: Message


@attrs.frozen(kw_only=True)
class Ping:
    """A sign that the connection lives; it means nothing else."""

    type: Literal["ping"] = "ping"


@attrs.frozen(kw_only=True)
class ContentBlockStart:
    """A block begins; its index is its place in `content`."""

    type: Literal["content_block_start"] = "content_block_start"
    index: int
    content_block: ResponseBlock


@attrs.frozen(kw_only=True)
class ContentBlockDelta:
    """More of the open block."""

    type: Literal["content_block_delta"] = "content_block_delta"
    index: int
    delta: BlockDelta


@attrs.frozen(kw_only=True)
class ContentBlockStop:
    """The open block ends."""

    type: Literal["content_block_stop"] = "content_block_stop"
    index: int


@attrs.frozen(kw_only=True)
class MessageDelta:
    """Why the message ended."""

    stop_reason: StopReason
    stop_sequence: str | None = None
    stop_details: None = None


@attrs.frozen(kw_only=True)
class MessageDeltaEvent:
    """The last but one event; comes once. `usage` is cumulative, not an increment."""

    type: Literal["message_delta"] = "message_delta"
    delta: MessageDelta
    usage: MessageUsage
    context_management: ContextManagementResponse | None = attrs.field(default=None, metadata=RARE)


@attrs.frozen(kw_only=True)
class MessageStop:
    """The last event of an answer that went well."""

    type: Literal["message_stop"] = "message_stop"


StreamEvent: TypeAlias = (
    MessageStart
    | Ping
    | ContentBlockStart
    | ContentBlockDelta
    | ContentBlockStop
    | MessageDeltaEvent
    | MessageStop
    | ErrorEvent
)


def encode_sse(event: StreamEvent) -> bytes:
    """Return the event as `text/event-stream` has it: its name, its JSON on one line, an empty line.

    The name repeats `type`: the official SDKs dispatch on it (WHATWG HTML 9.2.6 makes it the event's type).
    """
    return b"event: %b\ndata: %b\n\n" % (event.type.encode(), dump_json(event))
