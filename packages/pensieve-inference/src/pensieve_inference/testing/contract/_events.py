"""The grammar of a generation's events, from `pensieve_core._events`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    PrefillProgressed,
    TextProduced,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallStarted,
)
from pensieve_inference.testing.contract._expect import expect

__all__ = ["check_transcript", "finish_of"]


def check_transcript(events: Sequence[GenerationEvent]) -> None:
    """Check all events of one finished generation.

    Raises:
        ContractBrokenError: they could not have come from an engine that keeps its contract.
    """
    finish = finish_of(events)
    output = [event for event in events[:-1] if not isinstance(event, PrefillProgressed | AnswerProgressed)]
    _check_nothing_is_empty(output)
    _check_tool_calls(output)
    _check_prefill([event for event in events if isinstance(event, PrefillProgressed)])
    _check_finish(finish, output)


def finish_of(events: Sequence[GenerationEvent]) -> GenerationFinished:
    """Return the one GenerationFinished, which must come last."""
    finishes = [event for event in events if isinstance(event, GenerationFinished)]
    expect(len(finishes) == 1, f"a generation yields exactly one GenerationFinished, not {len(finishes)}")
    expect(events[-1] is finishes[0], "nothing comes after GenerationFinished")
    return finishes[0]


def _check_nothing_is_empty(output: Sequence[GenerationEvent]) -> None:
    for event in output:
        if isinstance(event, TextProduced | ThinkingProduced):
            expect(bool(event.text), f"{type(event).__name__} is never empty")


def _check_tool_calls(output: Sequence[GenerationEvent]) -> None:
    """Fragments follow the call that they belong to, and make up one JSON object."""
    arguments: list[list[str]] = []
    before: GenerationEvent | None = None
    for event in output:
        if isinstance(event, ToolCallStarted):
            arguments.append([])
        elif isinstance(event, ToolCallArguments):
            expect(isinstance(before, ToolCallStarted | ToolCallArguments), "ToolCallArguments follow their call")
            arguments[-1].append(event.fragment)
        before = event
    for fragments in arguments:
        expect(_is_object("".join(fragments)), f"the arguments of a call are one JSON object, not {fragments}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _check_prefill(progress: Sequence[PrefillProgressed]) -> None:
    processed = [event.processed_tokens for event in progress]
    expect(processed == sorted(processed), f"prefill never goes back: {processed}")
    for event in progress:
        expect(0 <= event.processed_tokens <= event.total_tokens, f"prefill stays within the prompt: {event}")


def _check_finish(finish: GenerationFinished, output: Sequence[GenerationEvent]) -> None:
    usage = finish.usage
    expect(
        (finish.reason is FinishReason.STOP_SEQUENCE) == (finish.stop_sequence is not None),
        "stop_sequence is set exactly when the reason is STOP_SEQUENCE",
    )
    called = any(isinstance(event, ToolCallStarted) for event in output)
    expect(called or finish.reason is not FinishReason.TOOL_CALLS, "TOOL_CALLS takes at least one call")
    expect(
        usage.cached_tokens + usage.cache_created_tokens <= usage.prompt_tokens,
        f"cached and cache-created tokens are disjoint parts of the prompt: {usage}",
    )
    expect(0 <= usage.thinking_tokens <= usage.generated_tokens, f"thinking tokens are generated ones: {usage}")
