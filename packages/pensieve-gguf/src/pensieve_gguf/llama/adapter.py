"""LoRA adapters: low-rank changes to the weights of a model, computed beside them. Its file stays as it is."""

from __future__ import annotations

import ctypes
from pathlib import Path

from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.context import Context
from pensieve_gguf.llama.library import last_words
from pensieve_gguf.llama.model import LoadError

__all__ = ["apply_adapter"]


def apply_adapter(context: Context, path: Path, scale: float) -> None:
    """Let all that `context` computes from now on be changed by the adapter; its model frees it with itself.

    Args:
        context: Empty: what it holds was computed without.
        path: A GGUF of type "adapter".
        scale: 1 is as trained.

    Raises:
        LoadError: llama.cpp refused the file, or it does not fit the model.
    """
    handle = lib.llama_adapter_lora_init(context.model.handle, str(path).encode())
    if not handle:
        raise LoadError(last_words() or f"llama.cpp could not load the adapter {path}")
    context.adapt((lib.llama_adapter_lora_p_ctypes * 1)(handle), (ctypes.c_float * 1)(scale))
