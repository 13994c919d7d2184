"""Small GGUF files, sound or broken, for tests that need a model on disk but no weights."""

from pensieve_registry.testing._gguf import GgufDraft, chat_model, key, string, tensor, write_chat_model

__all__ = ["GgufDraft", "chat_model", "key", "string", "tensor", "write_chat_model"]
