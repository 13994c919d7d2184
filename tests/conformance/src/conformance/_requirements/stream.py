"""The order of events, and why an answer ends."""

from __future__ import annotations

from conformance._requirements.record import Requirement

__all__ = ["STREAM"]

_EVENTS = "sdk: types/raw_message_stream_event.py"
_ORDER = "design: 3 Stream"
_REASONS = "sdk: types/stop_reason.py"
_LIFE = "observed: Claude Code 2.1.197 hangs up after 300 s without content"

STREAM = (
    Requirement("stream:content-type", "A stream is `text/event-stream`, and nobody may keep it.", source=_ORDER),
    Requirement(
        "stream:event-names", "Each event has its `event:` line, the same as its `type`.", source="sdk: _streaming.py"
    ),
    Requirement("stream:types", "Every event is one of the SDK's types, with all that they promise.", source=_EVENTS),
    Requirement(
        "stream:start", "message_start comes first: no content, no stop reason, the usage so far.", source=_ORDER
    ),
    Requirement(
        "stream:start:early", "message_start does not wait for the first token.", source="design: 4 What it needs"
    ),
    Requirement("stream:ping", "Silence is broken by `ping` events.", source=_ORDER),
    Requirement("stream:keep-alive", "A long wait opens the first block and sends empty deltas into it.", source=_LIFE),
    Requirement(
        "stream:blocks", "Blocks come one after the other: start, deltas, stop, counted from 0.", source=_ORDER
    ),
    Requirement("stream:text_delta", "Text comes in text_delta.", source="sdk: types/text_delta.py"),
    Requirement(
        "stream:input_json_delta",
        "The fragments of a tool's input concatenate to one JSON object.",
        source="sdk: types/input_json_delta.py",
    ),
    Requirement(
        "stream:input_json_delta:empty",
        "A call without arguments still yields an object.",
        source="sdk: lib/streaming/_messages.py",
    ),
    Requirement("stream:thinking_delta", "Reasoning comes in thinking_delta.", source="sdk: types/thinking_delta.py"),
    Requirement(
        "stream:signature_delta",
        "A thinking block's signature comes right before its stop.",
        source="sdk: types/signature_delta.py",
    ),
    Requirement(
        "stream:citations_delta",
        "Citations come in citations_delta.",
        source="sdk: types/citations_delta.py",
        deferred="GGUF models are not trained to cite; documents are text to them",
    ),
    Requirement("stream:message_delta", "One message_delta, with stop reason and the whole usage.", source=_ORDER),
    Requirement("stream:message_stop", "message_stop comes last when all went well.", source=_ORDER),
    Requirement("stream:same-as-json", "The JSON answer is the stream, folded.", source="ours"),
    Requirement(
        "stream:sdk-fold",
        "The SDK's own accumulator makes the same message of a stream.",
        source="sdk: lib/streaming/_messages.py",
    ),
    Requirement("stream:client-left", "A client that leaves ends its generation.", source="design: 4 What it needs"),
    Requirement("stream:empty-answer", "An answer without content has one empty text block.", source="ours"),
    Requirement("stop:end_turn", "The model was done.", source=_REASONS),
    Requirement("stop:max_tokens", "max_tokens were generated.", source=_REASONS),
    Requirement("stop:stop_sequence", "A stop sequence was met; `stop_sequence` says which.", source=_REASONS),
    Requirement("stop:tool_use", "The answer holds a tool call.", source=_REASONS),
    Requirement(
        "stop:pause_turn",
        "A long turn of server tools was paused.",
        source=_REASONS,
        deferred="no tool that runs here takes long enough to pause",
    ),
    Requirement(
        "stop:refusal",
        "Classifiers stopped the answer.",
        source=_REASONS,
        deferred="there are no classifiers here; a model's own refusal is text, and ends with end_turn",
    ),
    Requirement("stop:model_context_window_exceeded", "The window is full.", source=_REASONS),
)
