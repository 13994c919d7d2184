"""What is known of a model: on disk, and once an engine holds it."""

from __future__ import annotations

import enum
from pathlib import Path

import attrs

from pensieve_core._ids import ModelId

__all__ = [
    "AppliedAdapter",
    "DraftModel",
    "EngineDescription",
    "EnginePhase",
    "EngineStatus",
    "LoraAdapter",
    "MemoryTerm",
    "ModelCapabilities",
    "ModelDescriptor",
]


@attrs.frozen(kw_only=True)
class ModelCapabilities:
    """What the model's own files say that it can do."""

    tool_template: bool = False
    """Its chat template renders tools; otherwise the engine describes them in the system text."""
    thinking: bool = False
    images: bool = False


@attrs.frozen(kw_only=True)
class LoraAdapter:
    """A file of low-rank changes to a model. That its tensors fit the model's was checked; nothing has applied it."""

    name: str
    """As ids are made: the file's name in lower case."""
    path: Path
    size_bytes: int


@attrs.frozen(kw_only=True)
class AppliedAdapter:
    """An adapter that a model is served with."""

    adapter: LoraAdapter
    scale: float = 1.0
    """How strongly it changes the model: 0 not at all, 1 as it was trained."""


@attrs.frozen(kw_only=True)
class DraftModel:
    """A much smaller model of the same vocabulary, which can guess ahead what the larger one will say."""

    id: ModelId
    """It may be listed and served as a model of its own, too."""
    path: Path
    """The file, or the first shard."""
    size_bytes: int
    """All shards."""
    parameters: int
    named: bool = False
    """Whether the user named it: then it is used even if that shortens the context."""


@attrs.frozen(kw_only=True)
class ModelDescriptor:
    """A model file that passed the header check."""

    id: ModelId
    display_name: str
    path: Path
    """The file, or the first shard."""
    source: str
    """Where it was found, in words for people: "models folder", "Hugging Face cache"…"""
    architecture: str
    size_bytes: int
    """All shards."""
    context_tokens: int
    """What the model was trained for."""
    created_at: int
    """Unix seconds: when the file came to this machine."""
    parameters: int | None = None
    quantization: str | None = None
    capabilities: ModelCapabilities = ModelCapabilities()
    projector: Path | None = None
    """The file that makes embeddings of images for it; None: there is none."""
    adapters: tuple[LoraAdapter, ...] = ()
    """Those on this machine that fit it, by name; whether any is used is for others to say."""
    applied: AppliedAdapter | None = None
    """What it is served with: then `id` names both, and it is a model of its own, with an engine of its own."""
    draft: DraftModel | None = None
    """The best one on this machine; None: there is none."""
    shards: tuple[Path, ...] = ()
    """All files of a split model, `path` first; empty when it is one file."""


class EnginePhase(enum.StrEnum):
    """Where an engine is in its life."""

    COLD = "cold"
    LOADING = "loading"
    READY = "ready"
    BROKEN = "broken"
    CLOSED = "closed"


@attrs.frozen(kw_only=True)
class EngineStatus:
    """One engine's state, for `/readyz` and the banner."""

    model: ModelId
    phase: EnginePhase
    progress: float = 0.0
    """Of loading, 0 to 1."""
    detail: str = ""
    """The engine's last words when it is broken."""


@attrs.frozen(kw_only=True)
class MemoryTerm:
    """A part of the memory that an engine takes."""

    name: str
    """In words for people: "weights"…"""
    size_bytes: int
    at_most: bool = False
    """It grows with use, to so much; else it is taken from the start."""
    on_gpu: bool = False


@attrs.frozen(kw_only=True)
class EngineDescription:
    """A loaded model: what was fitted, and why."""

    model: ModelDescriptor
    engine: str
    """Name and version: "llama.cpp 0.3.36"."""
    context_tokens: int
    """Prompt and answer of one request together fit into this."""
    max_sequences: int
    threads: int
    gpu_layers: int
    notes: tuple[str, ...] = ()
    """Sentences for the banner: which context, and why."""
    memory: tuple[MemoryTerm, ...] = ()
    """What it takes, as predicted before it was loaded; empty where the engine does not know."""
