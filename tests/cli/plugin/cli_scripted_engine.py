"""An engine for servers that tests start: slow enough to be stopped in the middle of an answer.

CLI_SCRIPT chooses what it does: "slow" answers for a minute; "hangs" never closes; "broken" cannot load; "yields"
cannot load the model "tiny", and says so when another one is there; "signals" stops its own server when it is asked to
load; "bug" and "interrupted" break when the server is composed.
"""

from __future__ import annotations

import asyncio
import os
import signal

import attrs

from pensieve_core import Clock, EngineStatus, GenerationRequest, ModelBrokenError, ModelDescriptor, TextProduced
from pensieve_inference import InferenceEngine
from pensieve_inference.testing import Script, ScriptedEngine, ScriptedProvider, Wait

__all__ = ["CliScriptSettings", "CliScriptedProvider", "create_provider"]


@attrs.frozen(kw_only=True)
class CliScriptSettings:
    """Nothing can be set."""


class CliScriptedProvider(ScriptedProvider):
    """Hands out one engine, described as the model that is asked for."""

    def __init__(self, script: str) -> None:
        super().__init__()
        self._script = script
        self._handed_out = asyncio.Event()

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return the engine's status, once somebody has it."""
        return super().statuses() if self._handed_out.is_set() else ()

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        """Return the engine, unless the script says otherwise."""
        if self._script == "broken":
            raise ModelBrokenError(model.id, "it was made so")
        if self._script == "yields" and model.id == "tiny":
            await self._handed_out.wait()
            raise ModelBrokenError(model.id, "it made room")
        if self._script == "signals":
            signal.raise_signal(signal.SIGTERM)
        if self._engine.description.model.id != model.id:
            self._engine = ScriptedEngine(_answer, model=model)
        self._handed_out.set()
        return self._engine

    async def aclose(self) -> None:
        """Close, unless the script says otherwise."""
        if self._script == "hangs":
            await asyncio.Event().wait()
        await super().aclose()


def _answer(request: GenerationRequest) -> Script:
    words = 4 if request.max_tokens < 100 else 600
    return [step for number in range(words) for step in (TextProduced(text=f"{number} "), Wait(0.1))]


def create_provider(settings: CliScriptSettings, clock: Clock) -> CliScriptedProvider:
    """Return the provider: the factory that the entry point names."""
    script = os.environ.get("CLI_SCRIPT", "slow")
    if script == "bug":
        raise ZeroDivisionError
    if script == "interrupted":
        raise KeyboardInterrupt
    return CliScriptedProvider(script)
