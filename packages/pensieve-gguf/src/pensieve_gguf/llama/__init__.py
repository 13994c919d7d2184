"""llama.cpp through llama-cpp-python's low-level bindings: the only place that imports them."""

from pensieve_gguf.llama.context import (
    Abort,
    Context,
    ContextShape,
    DecodeError,
    DecodeOutcome,
    Rows,
)
from pensieve_gguf.llama.library import last_words, version
from pensieve_gguf.llama.model import LoadError, Model, TokenIds
from pensieve_gguf.llama.sampler import Sampler, SamplingDefaults

__all__ = [
    "Abort",
    "Context",
    "ContextShape",
    "DecodeError",
    "DecodeOutcome",
    "LoadError",
    "Model",
    "Rows",
    "Sampler",
    "SamplingDefaults",
    "TokenIds",
    "last_words",
    "version",
]
