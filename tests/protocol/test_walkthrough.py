"""The whole way of one plain request: bytes to a generation request, an engine's events to bytes."""

from __future__ import annotations

from pensieve_core import (
    FinishReason,
    GenerationFinished,
    ModelId,
    Origin,
    PromptUsage,
    RequestId,
    Role,
    TextPart,
    TextProduced,
    Turn,
    Usage,
)
from pensieve_protocol import MessageStream, encode_sse, parse_messages_request, to_generation_request

BODY = b'{"model":"claude-opus-4-8","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}'


def test_a_plain_request_reaches_the_engine() -> None:
    request = parse_messages_request(BODY)
    generation = to_generation_request(request, request_id=RequestId("req_1"), model=ModelId("qwen"), origin=Origin())
    assert generation.turns == (Turn(role=Role.USER, parts=(TextPart(text="Hello"),)),)
    assert generation.max_tokens == 100


def test_a_plain_answer_reaches_the_client() -> None:
    stream = MessageStream(message_id="msg_1", model="claude-opus-4-8")
    events = [
        *stream.start(PromptUsage(prompt_tokens=5)),
        *stream.feed(TextProduced(text="Hi")),
        *stream.feed(
            GenerationFinished(
                reason=FinishReason.END_OF_TURN, usage=Usage(prompt_tokens=5, cached_tokens=3, generated_tokens=1)
            )
        ),
    ]
    names = [encode_sse(event).split(b"\n")[0].decode() for event in events]
    assert names == [
        "event: message_start",
        "event: content_block_start",
        "event: content_block_delta",
        "event: content_block_stop",
        "event: message_delta",
        "event: message_stop",
    ]
    assert stream.finished
