"""llama.cpp through llama-cpp-python's low-level bindings: the only place that imports them."""

import os

from pensieve_gguf.cores import SPIN_DEFAULT

# Before llama_cpp is imported: GNU's OpenMP reads its environment once, when it is loaded.
os.environ.setdefault(*SPIN_DEFAULT)

# Before numpy: a CUDA build may carry a C++ library of its own, and crashes in it when numpy has loaded the system's
# (seen on an H200). Once llama.cpp is loaded both live side by side.
import llama_cpp  # noqa: F401

from pensieve_gguf.llama.adapter import apply_adapter
from pensieve_gguf.llama.context import (
    Abort,
    Context,
    ContextShape,
    DecodeError,
    DecodeOutcome,
    Logits,
    Rows,
    State,
)
from pensieve_gguf.llama.devices import Gpu, gpus
from pensieve_gguf.llama.dry_run import ContextBytes, context_bytes, read_sizes
from pensieve_gguf.llama.guidance import begin_lltokenizer, make_lltokenizer
from pensieve_gguf.llama.library import last_words, library_folder, state_version, system_info, version
from pensieve_gguf.llama.model import LoadError, Model, Special, TokenIds
from pensieve_gguf.llama.projector import Embeddings, Pieces, ProjectionError, Projector
from pensieve_gguf.llama.sampler import Sampler, SamplingDefaults
from pensieve_gguf.llama.vocabularies import vocabularies_differ

__all__ = [
    "Abort",
    "Context",
    "ContextBytes",
    "ContextShape",
    "DecodeError",
    "DecodeOutcome",
    "Embeddings",
    "Gpu",
    "LoadError",
    "Logits",
    "Model",
    "Pieces",
    "ProjectionError",
    "Projector",
    "Rows",
    "Sampler",
    "SamplingDefaults",
    "Special",
    "State",
    "TokenIds",
    "apply_adapter",
    "begin_lltokenizer",
    "context_bytes",
    "gpus",
    "last_words",
    "library_folder",
    "make_lltokenizer",
    "read_sizes",
    "state_version",
    "system_info",
    "version",
    "vocabularies_differ",
]
