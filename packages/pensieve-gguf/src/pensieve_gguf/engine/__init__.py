"""The engine proper: sequences, scheduler, residents (pure); the engine thread; the asyncio face."""

from pensieve_gguf.engine.engine import GgufEngine
from pensieve_gguf.engine.generation import GgufGeneration

__all__ = ["GgufEngine", "GgufGeneration"]
