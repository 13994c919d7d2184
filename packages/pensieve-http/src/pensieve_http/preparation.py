"""What is done to a request once its engine is there, and before it is handed over: context edits, diagnostics.

Both need tokens counted, which only an engine can; what to count and what to make of it, `pensieve_protocol` knows.
Above: `exchange`, which tells the result to the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

import attrs

from pensieve_core import AnswerTooLongError, GenerationRequest, PromptUsage
from pensieve_inference import InferenceEngine
from pensieve_protocol import (
    ContextManagementResponse,
    CountTokensRequest,
    Diagnostics,
    Edited,
    MessagesRequest,
    PromptRecords,
    ToolSearch,
    edit_context,
    tool_search,
)

__all__ = ["Preparation", "Prepared", "counted", "edited"]

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
_Wire = TypeVar("_Wire", bound=CountTokensRequest)


@attrs.frozen(kw_only=True)
class Prepared:
    """A request as the engine will get it, and what there is to tell of that."""

    request: GenerationRequest
    context_management: ContextManagementResponse | None = None
    diagnostics: Diagnostics | None = None
    search: ToolSearch | None = None
    """What the model can have searched."""


async def counted(asking: Generator[_Asked, int, _Answer], count: Callable[[_Asked], Awaitable[int]]) -> _Answer:
    """Drive a machine that asks for counts; return what it returns."""
    try:
        asked = next(asking)
        while True:
            asked = asking.send(await count(asked))
    except StopIteration as done:
        answer: _Answer = done.value
        return answer


async def edited(
    wire: _Wire, engine: InferenceEngine, translate: Callable[[_Wire], GenerationRequest]
) -> Edited[_Wire]:
    """Return `wire` with the edits made that it asks for."""

    async def count(request: _Wire) -> int:
        return await engine.count_tokens(translate(request))

    return await counted(edit_context(wire), count)


@attrs.frozen(kw_only=True)
class Preparation:
    """Prepares one request; raises what counting tokens raises."""

    wire: MessagesRequest
    message_id: str
    """Of the answer."""
    translate: Callable[[MessagesRequest], GenerationRequest]
    records: PromptRecords
    watch: Callable[[GenerationRequest, PromptUsage], None]
    """Told of what an engine has taken."""
    strict: bool = False
    """Refuse what may not fit, as Anthropic does; otherwise an answer gets what is left."""

    async def prepare(self, engine: InferenceEngine) -> Prepared:
        """Make the edits, and look for what changed since the earlier prompt."""
        wire = await edited(self.wire, engine, self.translate)
        request = self.translate(wire.request)
        asked = self.wire.context_management is not None
        return Prepared(
            request=request,
            context_management=ContextManagementResponse(applied_edits=wire.applied) if asked else None,
            diagnostics=await self._diagnosed(request, engine),
            search=tool_search(wire.request),
        )

    def opened(self, request: GenerationRequest, prompt: PromptUsage, context_tokens: int) -> None:
        """Remember the prompt: for the watch, and if the client may ask for it later.

        Raises:
            AnswerTooLongError: more is asked for than fits, and this server is strict.
        """
        if self.strict and prompt.prompt_tokens + request.max_tokens > context_tokens:
            raise AnswerTooLongError(prompt.prompt_tokens, request.max_tokens, context_tokens)
        self.watch(request, prompt)
        if self.wire.diagnostics is not None:
            self.records.note(self.message_id, request, prompt.prompt_tokens)

    async def _diagnosed(self, request: GenerationRequest, engine: InferenceEngine) -> Diagnostics | None:
        config = self.wire.diagnostics
        if config is None or config.previous_message_id is None:
            return None
        return await counted(self.records.compare(config.previous_message_id, request), engine.count_tokens)
