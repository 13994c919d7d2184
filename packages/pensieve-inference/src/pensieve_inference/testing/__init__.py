"""Fakes that ship: they satisfy the Protocols, and pass the same contract tests as the real things."""

from pensieve_inference.testing._catalog import InMemoryCatalog, make_descriptor
from pensieve_inference.testing._clock import FakeClock
from pensieve_inference.testing._engine import (
    Raise,
    Script,
    ScriptedEngine,
    ScriptedGeneration,
    Step,
    Wait,
    call,
    count_words,
    say,
    think,
)
from pensieve_inference.testing._files import InMemoryFileStore, InMemoryUpload
from pensieve_inference.testing._provider import ScriptedProvider

__all__ = [
    "FakeClock",
    "InMemoryCatalog",
    "InMemoryFileStore",
    "InMemoryUpload",
    "Raise",
    "Script",
    "ScriptedEngine",
    "ScriptedGeneration",
    "ScriptedProvider",
    "Step",
    "Wait",
    "call",
    "count_words",
    "make_descriptor",
    "say",
    "think",
]
