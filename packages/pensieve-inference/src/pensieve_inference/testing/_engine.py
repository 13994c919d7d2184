"""An engine that plays scripts.

    engine = ScriptedEngine(say("Hello"), call("Bash", {"command": "ls"}))

Each request takes the next script; the last one is repeated. A script is a sequence of steps: events to emit,
`Wait`, `Raise`. Usage is counted, not invented: a token is a word of the prompt or of the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import attrs

from pensieve_core import (
    Clock,
    EngineDescription,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    JsonObject,
    ModelDescriptor,
    OverloadedError,
    Part,
    PensieveError,
    PromptTooLongError,
    PromptUsage,
    TextPart,
    TextProduced,
    ThinkingPart,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolReferencePart,
    ToolResultPart,
    Usage,
)
from pensieve_inference._clock import SystemClock
from pensieve_inference.testing._catalog import make_descriptor

__all__ = ["Raise", "Script", "ScriptedEngine", "Step", "Wait", "call", "say", "think"]


@attrs.frozen
class Wait:
    """Let `seconds` pass on the engine's clock; a cancelled generation stops waiting."""

    seconds: float


@attrs.frozen
class Raise:
    """End the generation with this error."""

    error: PensieveError


Step: TypeAlias = GenerationEvent | Wait | Raise
Script: TypeAlias = Sequence[Step]
ScriptSource: TypeAlias = Script | Callable[[GenerationRequest], Script]


def say(text: str) -> Script:
    """Return a script that answers `text`, word by word, and leaves the finish to the engine."""
    words = text.split(" ")
    return [TextProduced(text=word if i == 0 else f" {word}") for i, word in enumerate(words)]


def think(text: str) -> Script:
    """Return a script that reasons `text`."""
    return [ThinkingProduced(text=text)]


def call(name: str, arguments: JsonObject, call_id: str = "toolu_scripted") -> Script:
    """Return a script that calls a tool, its arguments in two fragments."""
    text = json.dumps(arguments)
    half = len(text) // 2
    return [
        ToolCallStarted(id=ToolCallId(call_id), name=name),
        ToolCallArguments(fragment=text[:half]),
        ToolCallArguments(fragment=text[half:]),
    ]


class ScriptedEngine:
    """`InferenceEngine` that plays one script per request.

    Args:
        scripts:
            Each a script, or a function from the request to one. The last is played for all further requests.
        clock:
            What `Wait` waits on.
        max_running:
            Further requests are refused with `OverloadedError`, as a full queue would.
    """

    def __init__(
        self,
        *scripts: ScriptSource,
        model: ModelDescriptor | None = None,
        clock: Clock | None = None,
        max_running: int = 64,
    ) -> None:
        model = model or make_descriptor()
        self._scripts = list(scripts) or [say("ok")]
        self._clock = clock or SystemClock()
        self._max_running = max_running
        self._closed = False
        self.requests: list[GenerationRequest] = []
        """Every request admitted so far."""
        self.running: set[ScriptedGeneration] = set()
        """Generations that are neither finished nor closed: empty when nothing leaks."""
        self.description = EngineDescription(
            model=model,
            engine="scripted",
            context_tokens=model.context_tokens,
            max_sequences=max_running,
            threads=1,
            gpu_layers=0,
            notes=("plays scripts; no model is loaded",),
        )

    async def generate(self, request: GenerationRequest) -> ScriptedGeneration:
        """Admit `request` and take the next script."""
        if self._closed or len(self.running) >= self._max_running:
            msg = "the engine is closing" if self._closed else "the queue is full"
            raise OverloadedError(msg)
        tokens = count_words(request)
        if tokens > self.description.context_tokens:
            raise PromptTooLongError(tokens, self.description.context_tokens)
        source = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
        self.requests.append(request)
        script = source(request) if callable(source) else source
        generation = ScriptedGeneration(script, tokens, self._clock, self.running.discard)
        self.running.add(generation)
        return generation

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Count the words of the prompt."""
        return count_words(request)

    async def aclose(self) -> None:
        """Refuse what comes, and end what runs with `OverloadedError`."""
        self._closed = True
        for generation in list(self.running):
            generation.interrupt(OverloadedError("the engine is closing"))


class ScriptedGeneration:
    """`Generation` over one script."""

    def __init__(
        self,
        script: Script,
        prompt_tokens: int,
        clock: Clock,
        released: Callable[[ScriptedGeneration], None],
    ) -> None:
        self._steps = iter(script)
        self._clock = clock
        self._released = released
        self._cancelled = asyncio.Event()
        self._error: PensieveError | None = None
        self._finished = False
        self._words = 0
        self._called = False
        self.prompt = PromptUsage(prompt_tokens=prompt_tokens)

    def __aiter__(self) -> ScriptedGeneration:
        return self

    async def __anext__(self) -> GenerationEvent:
        if self._finished:
            raise StopAsyncIteration
        for step in self._steps:
            if isinstance(step, Wait):
                await self._wait(step.seconds)
            self._stop_if_cancelled()
            if isinstance(step, Raise):
                self._finish()
                raise step.error
            if not isinstance(step, Wait):
                return self._emit(step)
        self._stop_if_cancelled()
        return self._emit(self._conclusion())

    def cancel(self) -> None:
        """End the iteration at the next step; a wait ends at once."""
        self._cancelled.set()

    def interrupt(self, error: PensieveError) -> None:
        """Release, and end the iteration with `error`: what an engine does that closes."""
        self._error = error
        self.cancel()
        self._released(self)

    async def aclose(self) -> None:
        """Cancel and release."""
        self.cancel()
        self._finish()

    async def _wait(self, seconds: float) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait((timer, cancelled), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            cancelled.cancel()

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            self._finish()
            raise self._error or StopAsyncIteration

    def _emit(self, event: GenerationEvent) -> GenerationEvent:
        if isinstance(event, TextProduced | ThinkingProduced):
            self._words += len(event.text.split())
        elif isinstance(event, ToolCallStarted):
            self._called = True
        elif isinstance(event, GenerationFinished):
            self._finish()
        return event

    def _conclusion(self) -> GenerationFinished:
        reason = FinishReason.TOOL_CALLS if self._called else FinishReason.END_OF_TURN
        usage = Usage(prompt_tokens=self.prompt.prompt_tokens, generated_tokens=self._words)
        return GenerationFinished(reason=reason, usage=usage)

    def _finish(self) -> None:
        self._finished = True
        self._released(self)


def count_words(request: GenerationRequest) -> int:
    """Count the words of everything that a prompt would hold: the scripted engine's tokens."""
    tools = " ".join(f"{tool.name} {tool.description} {json.dumps(tool.parameters)}" for tool in request.tools)
    texts = [_text(part) for turn in request.turns for part in turn.parts]
    return len(" ".join([tools, *texts]).split())


def _text(part: Part) -> str:
    match part:
        case TextPart(text=text) | ThinkingPart(text=text):
            return text
        case ToolCallPart(name=name, arguments=arguments):
            return f"{name} {json.dumps(arguments)}"
        case ToolReferencePart(name=name):
            return name
        case ToolResultPart(content=content):
            return _texts(content)
        case _:
            return ""


def _texts(parts: Iterable[Part]) -> str:
    return " ".join(_text(part) for part in parts)
