"""Small GGUF files, sound or broken, for tests that need a model on disk but no weights; and a hub that serves them."""

from pensieve_registry.testing._gguf import GgufDraft, chat_model, key, string, tensor, write_chat_model
from pensieve_registry.testing._hub import Fault, Gate, LoopbackHub

__all__ = [
    "Fault",
    "Gate",
    "GgufDraft",
    "LoopbackHub",
    "chat_model",
    "key",
    "string",
    "tensor",
    "write_chat_model",
]
