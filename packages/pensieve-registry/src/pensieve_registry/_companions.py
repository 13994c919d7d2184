"""What belongs to the models that were found: gathered from their folders, from all sources, and from what these said.

Which of it fits is decided in `_pairing`; here it is looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from pensieve_core import LoraAdapter, ModelDescriptor
from pensieve_registry._cards import (
    AdapterCard,
    Card,
    KnownFiles,
    ModelCard,
    ProjectorCard,
    Shape,
    names_a_quantization,
)
from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._pairing import Companions, paired
from pensieve_registry._shards import first_file, read_gguf_model
from pensieve_registry._sources import FoundFile
from pensieve_registry._walk import is_model_file, listed

__all__ = ["FoundModel", "with_companions"]

_FILES_BESIDE = 256
"""That are looked at in the folder of a model."""


@attrs.frozen(kw_only=True)
class FoundModel:
    """A model, and what its source knows of it."""

    file: FoundFile
    card: ModelCard


def with_companions(
    models: Sequence[FoundModel], adapters: Iterable[AdapterCard], known: KnownFiles
) -> Iterator[ModelDescriptor]:
    """Yield the descriptors of `models` with projector, adapters and draft model, in the same order."""
    everywhere, cards = list(adapters), [model.card for model in models]
    folders: dict[Path, list[Card]] = {}
    for model in models:
        folder = model.card.descriptor.path.parent
        beside = folders.get(folder)
        if beside is None:
            beside = folders[folder] = _beside(folder, known)
        companions = Companions(
            projectors=[card for card in beside if isinstance(card, ProjectorCard)],
            adapters=_each_once([*everywhere, *(card for card in beside if isinstance(card, AdapterCard))]),
            models=cards,
        )
        yield _as_the_source_says(paired(model.card, companions, _shapes), model.file, known)


def _beside(folder: Path, known: KnownFiles) -> list[Card]:
    """Return what lies in a model's folder; and, if that is one of many for quantisations, what lies beside it."""
    cards = _in_folder(folder, known)
    return cards + _in_folder(folder.parent, known) if names_a_quantization(folder.name) else cards


def _in_folder(folder: Path, known: KnownFiles) -> list[Card]:
    files = dict.fromkeys(first_file(path) for path in listed(folder)[0] if is_model_file(path))
    return [known.card(path) for path in list(files)[:_FILES_BESIDE]]


def _each_once(adapters: Iterable[AdapterCard]) -> list[AdapterCard]:
    return list({card.adapter.path: card for card in adapters}.values())


def _shapes(model: ModelDescriptor) -> Mapping[str, Shape]:
    try:
        return {tensor.name: tensor.shape for tensor in read_gguf_model(model.path).tensors}
    except GgufHeaderError:  # it has changed since it was listed
        return {}


def _as_the_source_says(model: ModelDescriptor, file: FoundFile, known: KnownFiles) -> ModelDescriptor:
    named = tuple(_adapters(file, known))
    model = attrs.evolve(model, adapters=tuple(dict.fromkeys([*model.adapters, *named])))
    projector = None if file.projector is None else known.card(file.projector)
    if not isinstance(projector, ProjectorCard) or not projector.shows_images:
        return model
    capabilities = attrs.evolve(model.capabilities, images=True)
    return attrs.evolve(model, projector=projector.path, capabilities=capabilities)


def _adapters(file: FoundFile, known: KnownFiles) -> Iterator[LoraAdapter]:
    for path in file.adapters:
        card = known.card(path)
        if isinstance(card, AdapterCard):
            yield card.adapter
