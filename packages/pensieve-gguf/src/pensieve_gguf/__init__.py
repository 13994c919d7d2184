"""The engine on llama.cpp: a worker process per model, several sequences in one batch, prefixes that are reused.

`create_provider` needs no native code: workers load it. `pensieve_gguf.engine.GgufEngine` is the same engine in this
process, as a library.
"""

from pensieve_gguf.provider import GgufProvider, create_provider
from pensieve_gguf.settings import GgufSettings

__all__ = ["GgufProvider", "GgufSettings", "create_provider"]
