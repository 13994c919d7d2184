"""An engine plugin that plays scenarios, for driving real clients against the real `pensieve-server`.

The tests put this folder on PYTHONPATH and name an entry point in a `.dist-info` beside it, as a stranger's engine
would be installed; `pensieve-server --engine scripted` finds it. $SCRIPTED_SCENARIO chooses what it plays.

A scenario is a function from the request to a script: clients send requests of their own (titles, retries), so a
fixed sequence would not do.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
from plays import Plays

from pensieve_core import (
    Clock,
    EngineDescription,
    EngineFailedError,
    EngineStatus,
    GenerationRequest,
    JsonObject,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    Part,
    PensieveError,
    TextPart,
    ToolResultPart,
)
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import Raise, Script, ScriptedEngine, ScriptedProvider, Wait, call, say, think

__all__ = ["SCENARIOS", "ScenarioProvider", "ScriptSettings", "create_provider"]

Scenario = Callable[[GenerationRequest], Script]


def hello(request: GenerationRequest) -> Script:
    """Greet."""
    return _HELLO


def two_tools(request: GenerationRequest) -> Script:
    """Run Bash, write a file with Write, then tell the last result."""
    work = Path(os.environ["SCRIPTED_WORK"])
    steps: tuple[tuple[str, JsonObject], ...] = (
        ("Bash", {"command": "echo one > one.txt && cat one.txt", "description": "Write and show a file"}),
        ("Write", {"file_path": str(work / "two.txt"), "content": "two\n"}),
        ("Read", {"file_path": str(work / "two.txt")}),
    )
    results = _results(request)
    if not request.tools:
        return say('{"title": "Two files"}')
    if len(results) < len(steps):
        name, arguments = steps[len(results)]
        return [*think("Next step."), *call(name, arguments, call_id=f"toolu_{len(results)}")]
    return say(f"Both files are there. First: {results[0]} Last: {results[-1]}")


def long_wait(request: GenerationRequest) -> Script:
    """Say nothing for $SCRIPTED_WAIT_S seconds, then answer."""
    return [Wait(float(os.environ["SCRIPTED_WAIT_S"])), *say("I have slept well.")]


def slow_words(request: GenerationRequest) -> Script:
    """Say one word every tenth of a second, for a minute."""
    return [step for _ in range(600) for step in (Wait(0.1), *say("word "))]


def counted(request: GenerationRequest) -> Script:
    """Write the cue down in $SCRIPTED_LOG, and answer; to `slow …` after five seconds."""
    cue = _last_text(request)
    with Path(os.environ["SCRIPTED_LOG"]).open("a") as log:
        log.write(f"{cue}\n")
    return [Wait(5.0 if cue.startswith("slow") else 0.01), *_HELLO]


class FailsOnce:
    """End the first request with `error`; answer all others."""

    def __init__(self, error: PensieveError) -> None:
        self._error: PensieveError | None = error

    def __call__(self, request: GenerationRequest) -> Script:
        """Return the script of this request."""
        error, self._error = self._error, None
        return [Raise(error)] if error else _HELLO


class SdkParts:
    """What the SDK clients' cues ask for; counts, because one cue fails twice before it is answered."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def __call__(self, request: GenerationRequest) -> Script:
        """Return the script for the words of the last user turn."""
        match _first_text(request), _last_text(request):
            case "compare Paris and Rome", _:
                return _comparison(request)
            case _, _ if results := _results(request):
                return say(f"It has {results[-1]}.")
            case _, "overloaded twice" as cue:
                return self._third_time(cue)
            case _, "weather as JSON":
                return [*think(_asked(request)), *say('{"city": "Rome", "sunny": true}')]
            case _, cue:
                return _CUES.get(cue, _HELLO)

    def _third_time(self, cue: str) -> Script:
        """Answer each third request, so that every SDK that asks the same server is turned away first."""
        self._seen[cue] += 1
        return [Raise(_BUSY)] if self._seen[cue] % 3 else _HELLO


def _comparison(request: GenerationRequest) -> Script:
    """Ask for the weather of one city after the other, then tell both."""
    results = _results(request)
    if len(results) < len(_CITIES):
        arguments: JsonObject = {"city": _CITIES[len(results)]}
        return [*think(_asked(request)), *call("get_weather", arguments, call_id=f"toolu_{len(results)}")]
    return say(f"They have {' and '.join(results)}.")


def _asked(request: GenerationRequest) -> str:
    """Return the schemas that reached the engine, as a thought that a client can show."""
    tools = {tool.name: tool.parameters for tool in request.tools}
    return json.dumps({"schema": request.output_schema, "tools": tools})


_HELLO = say("Hello from the script.")
_CITIES = ("Paris", "Rome")
_BUSY = OverloadedError("the queue is full", retry_after_s=1)
_DEATH = EngineFailedError("the engine died")
_CUES: Mapping[str, Script] = {
    "weather in Paris": [*say("Let me look."), *call("get_weather", {"city": "Paris"})],
    "think first": [*think("Hm, let me see."), *_HELLO],
    "overloaded always": [Raise(_BUSY)],
    "die at once": [Raise(_DEATH)],
    "die half-way": [*say("Hello from"), Raise(_DEATH)],
}


@attrs.frozen(kw_only=True)
class ScriptSettings:
    """What a user may set: `--ctx` and `--parallel`."""

    context_tokens: int = 32_768
    """In words; enough for Claude Code."""
    max_running: int = 64


class ScenarioProvider:
    """`EngineProvider` that plays one scenario as whichever model is asked for first.

    Args:
        scenario: What every request is answered from.
        settings: How large the engine says that it is.
        clock: What scripted waits wait on.
    """

    def __init__(self, scenario: Scenario, settings: ScriptSettings, clock: Clock) -> None:
        self._scenario = scenario
        self._settings = settings
        self._clock = clock
        self._provider: ScriptedProvider | None = None

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        """Return the engine, whose size the settings say and not the file."""
        if self._provider is None:
            self._provider = ScriptedProvider(self._engine(model))
        return await self._provider.engine(model)

    def loaded(self, model: ModelId) -> EngineDescription | None:
        """Return the engine's description once it was asked for."""
        return self._provider.loaded(model) if self._provider else None

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return the engine's state once it was asked for."""
        return self._provider.statuses() if self._provider else ()

    async def aclose(self) -> None:
        """Close the engine, if there is one."""
        if self._provider:
            await self._provider.aclose()

    def _engine(self, model: ModelDescriptor) -> ScriptedEngine:
        sized = attrs.evolve(model, context_tokens=self._settings.context_tokens)
        running = self._settings.max_running
        return ScriptedEngine(self._scenario, model=sized, clock=self._clock, max_running=running)


def create_provider(settings: ScriptSettings, clock: Clock) -> ScenarioProvider:
    """Return the provider of $SCRIPTED_SCENARIO; what the entry point names."""
    return ScenarioProvider(SCENARIOS[os.environ["SCRIPTED_SCENARIO"]](), settings, clock)


SCENARIOS: Mapping[str, Callable[[], Scenario]] = {
    "counted": lambda: counted,
    "hello": lambda: hello,
    "busy_once": lambda: FailsOnce(_BUSY),
    "dies_once": lambda: FailsOnce(_DEATH),
    "two_tools": lambda: two_tools,
    "long_wait": lambda: long_wait,
    "slow_words": lambda: slow_words,
    "plays": Plays,
    "sdk_parts": SdkParts,
}


def _results(request: GenerationRequest) -> list[str]:
    parts = [part for turn in request.turns for part in turn.parts if isinstance(part, ToolResultPart)]
    return [_text(part.content).strip() for part in parts]


def _first_text(request: GenerationRequest) -> str:
    return _text(request.turns[0].parts)


def _last_text(request: GenerationRequest) -> str:
    texts = [_text(turn.parts) for turn in request.turns if turn.role == "user"]
    return texts[-1] if texts else ""


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))
