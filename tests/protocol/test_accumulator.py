"""Folding where the SDK is no oracle: what is cut off, and what comes out of order."""

from __future__ import annotations

import pytest

from pensieve_core import (
    FinishReason,
    GenerationFinished,
    PromptUsage,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
    Usage,
)
from pensieve_protocol import MessageAccumulator, MessageStream, ResponseToolUse, api_error


@pytest.mark.parametrize("cut", ['{"command": "l', '{"a":1', "nonsense", '["no object"]'])
def test_a_call_that_max_tokens_cut_off_has_an_empty_input(cut: str) -> None:
    """`stop_reason` says max_tokens; half an object cannot be answered in JSON."""
    stream, accumulator = MessageStream(message_id="msg_1", model="m"), MessageAccumulator()
    accumulator.add(*stream.start(PromptUsage(prompt_tokens=1)))
    accumulator.add(*stream.feed(ToolCallStarted(id=ToolCallId("t"), name="Bash")))
    accumulator.add(*stream.feed(ToolCallArguments(fragment=cut)))
    accumulator.add(*stream.feed(GenerationFinished(reason=FinishReason.MAX_TOKENS, usage=Usage(prompt_tokens=1))))
    assert accumulator.message.content == (ResponseToolUse(id="t", name="Bash", input={}),)
    assert accumulator.message.stop_reason == "max_tokens"


def test_there_is_no_message_before_its_start() -> None:
    with pytest.raises(ValueError, match="message_start has not come"):
        _ = MessageAccumulator().message


def test_an_error_leaves_the_message_as_it_is() -> None:
    stream, accumulator = MessageStream(message_id="msg_1", model="m"), MessageAccumulator()
    accumulator.add(*stream.start(PromptUsage(prompt_tokens=1)))
    before = accumulator.message
    accumulator.add(*stream.fail(api_error(500, "died"), "req_1"))
    assert accumulator.message == before
