"""How a GGUF model is to be loaded and run. Values only; the command line fills them."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["GgufSettings", "KvType"]

KvType = Literal["f16", "q8_0"]


@attrs.frozen(kw_only=True)
class GgufSettings:
    """Settings of every engine that a provider loads."""

    context_tokens: int | None = None
    """KV cells of the context, shared by all sequences. None: as many as the model was trained for and memory holds."""
    threads: int | None = None
    """CPU threads of one decode. None: the cores that this process may use."""
    gpu_layers: int | None = None
    """Layers on the GPU. None: all, where llama.cpp was built for one."""
    kv_type: KvType = "f16"
    """Type of the cached keys and values; `q8_0` halves their memory."""
    max_running: int = 8
    """Sequences that are computed together; further requests wait."""
    max_queued: int = 64
    """Requests that may wait; further ones are refused as overloaded."""
    max_resident: int = 48
    """Sequences, running or idle, that keep their place in the KV cache for reuse."""
    batch_tokens: int = 512
    """Rows of one decode at most: how much prefill runs between two looks at the mailbox."""
    latency_goal_s: float = 0.2
    """While anyone streams, a step may take about so long, whatever prefill waits."""
    spawn_timeout_s: float = 600.0
    """A worker that has not loaded its model by then is given up."""
    stall_timeout_s: float = 120.0
    """A worker without a sign of life for so long is killed and replaced."""
