"""Which files belong together. Pure: cards in, descriptors out.

**Projectors** come beside their model: `mmproj-F16.gguf`, `mmproj-<model>-Q8_0.gguf`, `<model>-mmproj-f16.gguf`. One is
taken when its name, or its header, says nothing that the model's does not, and its embeddings are as wide as the
model's. Where several are left, the one whose name says most, and of these one at 16 bits.

**LoRA adapters** may lie anywhere. One belongs to every model of its architecture whose tensors its own can be added to
(llama.cpp's own check), if its header names that model, or names none and it lies beside it.

**Draft models** may lie anywhere, too. One fits when it has the same tokens in the same order, a quarter of the weights
at most (a guess must cost little), and is of the same family: the same architecture, or the same first word in its
name. Neither may have recurrent layers, or what was guessed could not be taken back. A name with the word "draft" goes
first, then the one whose name has most in common, then the smallest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from pensieve_core import DraftModel, LoraAdapter, ModelDescriptor
from pensieve_registry._cards import AdapterCard, ModelCard, ProjectorCard, Shape
from pensieve_registry._drafts import draft_model

__all__ = ["Companions", "TensorShapes", "paired"]

TensorShapes: TypeAlias = Callable[[ModelDescriptor], Mapping[str, Shape]]
"""Reads the shapes of a model's tensors again: nobody keeps them, for few ever need them."""

_SMALLER = 4
_TOKEN_EMBEDDINGS = "token_embd.weight"  # noqa: S105 - the name of a tensor


@attrs.frozen(kw_only=True)
class Companions:
    """What is there to be paired with a model."""

    projectors: Sequence[ProjectorCard]
    """Those in its folder."""
    adapters: Sequence[AdapterCard]
    models: Sequence[ModelCard]


def paired(card: ModelCard, companions: Companions, shapes: TensorShapes) -> ModelDescriptor:
    """Return the model with what belongs to it."""
    projector = _projector(card, companions.projectors)
    return attrs.evolve(
        card.descriptor,
        capabilities=attrs.evolve(card.descriptor.capabilities, images=projector is not None),
        projector=projector,
        adapters=_adapters(card, companions.adapters, shapes),
        draft=_draft(card, companions.models),
    )


def _projector(model: ModelCard, projectors: Iterable[ProjectorCard]) -> Path | None:
    if not model.can_be_shown_images:
        return None
    fitting = [card for card in projectors if _is_of(card, model) and card.width in (None, model.width)]
    return max(fitting, key=_preference).path if fitting else None


def _is_of(card: ProjectorCard, model: ModelCard) -> bool:
    named = card.file_words <= model.file_words or (bool(card.words) and card.words <= model.words)
    return card.shows_images and named


def _preference(card: ProjectorCard) -> tuple[int, bool, str]:
    return len(card.file_words), bool(re.search(r"(?<!b)f16", card.path.stem.lower())), card.path.name


def _adapters(model: ModelCard, adapters: Iterable[AdapterCard], shapes: TensorShapes) -> tuple[LoraAdapter, ...]:
    named = [card for card in adapters if _is_for(card, model)]
    if not named:
        return ()
    tensors = shapes(model.descriptor)
    fitting = [card.adapter for card in named if _can_be_added(card, tensors)]
    return tuple(sorted(fitting, key=lambda adapter: (adapter.name, adapter.path)))


def _is_for(card: AdapterCard, model: ModelCard) -> bool:
    if card.architecture != model.descriptor.architecture:
        return False
    if card.bases:
        return any(base <= model.words for base in card.bases)
    return card.adapter.path.parent == model.descriptor.path.parent


def _can_be_added(card: AdapterCard, tensors: Mapping[str, Shape]) -> bool:
    return all(name in tensors and _fits(name, a, b, tensors[name]) for name, (a, b) in card.changes.items())


def _fits(name: str, a: Shape, b: Shape, changed: Shape) -> bool:
    """Return what llama.cpp checks: `b @ a` has the shape of what it changes; for embeddings both lie the other way."""
    a, b, changed = _matrix(a), _matrix(b), _matrix(changed)
    if name.endswith(_TOKEN_EMBEDDINGS):
        return (b[1], a[1]) == changed
    return (a[0], b[1]) == changed and a[1] == b[0]


def _matrix(shape: Shape) -> Shape:
    return (*shape, 1, 1)[:2]


def _draft(model: ModelCard, others: Iterable[ModelCard]) -> DraftModel | None:
    fitting = [other for other in others if _can_guess_for(other, model)]
    if not fitting:
        return None
    found = min(fitting, key=lambda other: _distance(other, model)).descriptor
    return draft_model(found, named=False)


def _can_guess_for(other: ModelCard, model: ModelCard) -> bool:
    smaller, larger = other.descriptor.parameters or 0, model.descriptor.parameters or 0
    return (
        model.vocabulary is not None
        and other.vocabulary == model.vocabulary
        and 0 < smaller * _SMALLER <= larger
        and not (other.holds_state or model.holds_state)
        and _is_akin(other, model)
    )


def _is_akin(other: ModelCard, model: ModelCard) -> bool:
    same = other.descriptor.architecture == model.descriptor.architecture
    return same or _first_word(other) == _first_word(model)


def _first_word(card: ModelCard) -> str:
    return re.split(r"[^a-z0-9]+", card.descriptor.display_name.lower())[0]


def _distance(other: ModelCard, model: ModelCard) -> tuple[bool, int, int, str]:
    descriptor = other.descriptor
    common = len(other.file_words & model.file_words)
    return not other.named_draft, -common, descriptor.parameters or 0, str(descriptor.path)
