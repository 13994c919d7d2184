"""How a GGUF model is to be loaded and run. Values only; the command line fills them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import attrs
from attrs.validators import ge, gt, in_, optional

__all__ = ["GgufSettings", "KvType"]

KvType = Literal["f16", "q8_0"]


_ALL_LAYERS = -1
_SMALLEST_BATCH = 16
_SLOTS_WITH_STATE = 2
"""Times as many sequences stay as may run, where each has a state or a window of its own: tens of MiB."""


@attrs.frozen(kw_only=True)
class GgufSettings:
    """Settings of every engine that a provider loads.

    Raises:
        ValueError: a value makes no sense, alone or beside another; the message names the setting.
    """

    context_tokens: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """Prompt and answer of one request together. None: as many as the model was trained for and memory holds."""
    cells: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """KV cells, shared by all sequences. None: `context_tokens`; where that is None, too, as memory allows."""
    threads: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """CPU threads of one decode. None: the cores that this process may use."""
    gpu_layers: int | None = attrs.field(default=None, validator=optional(ge(_ALL_LAYERS)))
    """Layers on the GPU. None or -1: all, where llama.cpp was built for one."""
    kv_type: KvType | None = attrs.field(default=None, validator=optional(in_(get_args(KvType))))
    """Type of the cached keys and values; `q8_0` halves their memory. None: f16, if a useful context fits."""
    max_running: int = attrs.field(default=8, validator=ge(1))
    """Sequences that are computed together; further requests wait."""
    max_queued: int = attrs.field(default=64, validator=ge(0))
    """Requests that may wait; further ones are refused as overloaded."""
    max_resident: int = attrs.field(default=48)
    """Sequences, running or idle, that keep their place in the KV cache for reuse."""
    memory_bytes: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """RAM that the engine may take; what does not fit into it is not loaded. None: what is free, a margin spared."""
    gpu_memory_bytes: int | None = attrs.field(default=None, validator=optional(ge(0)))
    """Memory of the GPUs that the engine may take. None: what is free there."""
    cache_ram_bytes: int | None = attrs.field(default=None, validator=optional(ge(0)))
    """Prefixes that leave the KV cache are kept in so much RAM at most. None: 2 GiB, or less as memory allows."""
    cache_folder: Path | None = None
    """Where prefixes are kept on the disk for the next start. None: they are not."""
    cache_disk_bytes: int | None = attrs.field(default=None, validator=optional(ge(0)))
    """So much of the disk at most. None: 20 GB or a tenth of what is free, whichever is less."""
    batch_tokens: int | None = attrs.field(default=None, validator=optional(ge(_SMALLEST_BATCH)))
    """Rows of one decode at most: how much prefill runs between two looks at the mailbox. None: as memory allows."""
    drafts: bool = True
    """Whether tokens that probably come next are computed ahead, where that is found to pay. It changes no answer."""
    stretch: float = attrs.field(default=3.3, validator=gt(1))
    """While anyone streams, a step takes about so many times as long as without prefill, whatever waits."""
    spawn_timeout_s: float = attrs.field(default=600.0, validator=gt(0))
    """A worker that has not loaded its model by then is given up."""
    stall_timeout_s: float = attrs.field(default=120.0, validator=gt(0))
    """A worker without a sign of life for so long is killed and replaced."""

    memory_budget_bytes: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """RAM that all engines together may take. None: what is free, looked at whenever a model is to be loaded."""
    gpu_memory_budget_bytes: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """Memory of all GPUs that all engines together may take. None: what the first one found free there."""
    residence_s: float = attrs.field(default=10.0, validator=ge(0))
    """So long a model stays in memory at least, whoever wants its room: two that take turns are not loaded for each
    request."""
    swap_drain_s: float = attrs.field(default=120.0, validator=ge(0))
    """So long running answers of a model that has to make room may go on."""
    idle_unload_s: float | None = attrs.field(default=None, validator=optional(ge(0)))
    """A model that nobody asked for so long is unloaded. None: only when another one needs the room."""
    least_context: int | None = attrs.field(default=None, validator=optional(ge(1)))
    """An engine that can have no such context is not loaded: others can make room. None: it takes what there is."""
    gpu_most_bytes: int | None = attrs.field(default=None, validator=optional(ge(0)))
    """What of the GPUs it could have if others made room: with less of it there than that would hold, it is not loaded
    either. Of no account without `least_context`."""

    @property
    def slots_with_state(self) -> int:
        """Sequences that keep their place, where each has a state or a window of its own."""
        return min(self.max_resident, _SLOTS_WITH_STATE * self.max_running)

    @max_resident.validator
    def _leaves_room_for_idle_ones(self, _: attrs.Attribute[int], value: int) -> None:
        if value <= self.max_running:
            msg = f"'max_resident' ({value}) must be > 'max_running' ({self.max_running})"
            raise ValueError(msg)

    @batch_tokens.validator
    def _holds_a_row_of_each(self, _: attrs.Attribute[int | None], value: int | None) -> None:
        if value is not None and value < self.max_running:
            msg = f"'batch_tokens' ({value}) must be >= 'max_running' ({self.max_running})"
            raise ValueError(msg)
