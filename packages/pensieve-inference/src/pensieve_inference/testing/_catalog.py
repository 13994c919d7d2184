"""A catalog made of values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pensieve_core import ModelDescriptor, ModelId, ModelNotFoundError

__all__ = ["InMemoryCatalog", "make_descriptor"]


def make_descriptor(model_id: str = "scripted", *, context_tokens: int = 32_768) -> ModelDescriptor:
    """Return a descriptor of a model that needs no file."""
    return ModelDescriptor(
        id=ModelId(model_id),
        display_name=model_id.title(),
        path=Path(f"/nowhere/{model_id}.gguf"),
        source="memory",
        architecture="scripted",
        size_bytes=0,
        context_tokens=context_tokens,
        created_at=1_700_000_000,
    )


class InMemoryCatalog:
    """`ModelCatalog` over given values. The first model is the default, and every `claude-*` name means it."""

    def __init__(self, *models: ModelDescriptor, aliases: Mapping[str, ModelId] | None = None) -> None:
        self._models = models or (make_descriptor(),)
        self._aliases = dict(aliases or {})

    def models(self) -> tuple[ModelDescriptor, ...]:
        """All models, as given."""
        return self._models

    def aliases(self) -> Mapping[str, ModelId]:
        """The aliases, as given."""
        return self._aliases

    def resolve(self, name: str) -> ModelDescriptor:
        """Return the model of this id or alias."""
        wanted = self._aliases.get(name, name)
        for model in self._models:
            if model.id == wanted:
                return model
        if name.startswith("claude-"):
            return self._models[0]
        raise ModelNotFoundError(name, [model.id for model in self._models])
