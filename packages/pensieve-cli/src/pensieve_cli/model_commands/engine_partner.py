"""A chat's partner that is an engine of our own."""

from __future__ import annotations

import uuid
from collections.abc import Generator

from pensieve_cli.model_commands.chat import Ending, Message, Piece, Question, Text, Thought
from pensieve_cli.model_commands.engine_thread import EngineThread
from pensieve_core import (
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelId,
    Origin,
    RequestId,
    Role,
    SessionId,
    TextPart,
    TextProduced,
    ThinkingProduced,
    Turn,
)

__all__ = ["EnginePartner"]

_STOP_REASONS = {
    FinishReason.END_OF_TURN: "end_turn",
    FinishReason.MAX_TOKENS: "max_tokens",
    FinishReason.STOP_SEQUENCE: "stop_sequence",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTEXT_FULL: "model_context_window_exceeded",
}
"""What the Messages API calls them."""


class EnginePartner:
    """Answers through an engine that is loaded already."""

    server = None

    def __init__(self, engine: EngineThread, model: ModelId) -> None:
        self.model = model
        self._engine = engine
        self._origin = Origin(session=SessionId(f"run_{uuid.uuid4().hex}"))

    def answer(self, question: Question) -> Generator[Piece, None, None]:
        """Yield the answer; raises what the engine raises."""
        request = GenerationRequest(
            id=RequestId(f"run_{uuid.uuid4().hex}"),
            model=ModelId(self.model),
            turns=_turns(question),
            max_tokens=question.max_tokens,
            origin=self._origin,
        )
        events = self._engine.answer(request)
        try:
            for event in events:
                yield from _pieces(event)
        finally:
            events.close()


def _turns(question: Question) -> tuple[Turn, ...]:
    system = (_turn(Role.SYSTEM, question.system),) if question.system else ()
    return (*system, *(_of(message) for message in question.messages))


def _of(message: Message) -> Turn:
    return _turn(Role.USER if message.role == "user" else Role.ASSISTANT, message.text)


def _turn(role: Role, text: str) -> Turn:
    return Turn(role=role, parts=(TextPart(text=text),))


def _pieces(event: GenerationEvent) -> Generator[Piece, None, None]:
    match event:
        case TextProduced():
            yield Text(event.text)
        case ThinkingProduced():
            yield Thought(event.text)
        case GenerationFinished():
            yield Ending(
                stop_reason=_STOP_REASONS[event.reason],
                prompt_tokens=event.usage.prompt_tokens,
                cached_tokens=event.usage.cached_tokens,
                generated_tokens=event.usage.generated_tokens,
            )
        case _:  # progress; and calls, which nobody could answer here
            return
