"""Looking through the sources: every file is looked at, and none can hide the others.

Above: `LocalCatalog` keeps the result. Below: `_cards` says what each file is, `_companions` what belongs to a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from pensieve_core import ModelDescriptor, ModelId
from pensieve_registry._cards import AdapterCard, Card, KnownFiles, ModelCard, OtherCard, ProjectorCard, RefusedCard
from pensieve_registry._companions import FoundModel, with_companions
from pensieve_registry._shards import first_file
from pensieve_registry._sources import Found, FoundFile, ModelSource
from pensieve_registry._walk import Unreadable

__all__ = ["LeftOut", "ModelProblem", "ScanResult", "scan_sources"]

_MEMORY_SHARE = 0.75
"""Of the machine's memory, what the weights of a default model may take; the rest is for context and other programs."""


@attrs.frozen(kw_only=True)
class ModelProblem:
    """A file that should be a model, and cannot be served; or a place that could not be looked at."""

    path: Path
    source: str
    reason: str


@attrs.frozen(kw_only=True)
class LeftOut:
    """A sound file that is no model to talk to (an adapter, a projector that belongs to none…)."""

    path: Path
    source: str
    reason: str


@attrs.frozen(kw_only=True)
class ScanResult:
    """What was found, the most preferred model first."""

    models: tuple[ModelDescriptor, ...] = ()
    problems: tuple[ModelProblem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@attrs.frozen(kw_only=True)
class _Seen:
    """What a source has found, and what it is."""

    file: FoundFile
    source: str
    card: Card


def scan_sources(
    sources: Sequence[ModelSource], *, memory_bytes: int | None = None, known: KnownFiles | None = None
) -> ScanResult:
    """Look at every file of every source. Blocks: some 15 to 40 ms for each model that `known` does not know.

    Models of an earlier source are preferred to those of a later one; within a source, those that fit into memory, then
    those whose template knows tools, then the larger ones; draft models come last. A file that several sources reach is
    the first one's.
    """
    known = known or KnownFiles()
    identities: set[object] = set()
    groups = [list(_look(source, known, identities)) for source in sources]
    seen = [entry for group in groups for entry in group]
    ranked = _ranked(_with_unique_ids([list(_found_models(group)) for group in groups]), memory_bytes)
    adapters = [entry.card for entry in seen if isinstance(entry.card, AdapterCard)]
    models = tuple(with_companions(ranked, adapters, known))
    known.forget_others()
    return ScanResult(
        models=models,
        problems=tuple(_problems(seen)),
        left_out=tuple(_left_out(seen, {path for model in models for path in _paths_of_companions(model)})),
    )


def _look(source: ModelSource, known: KnownFiles, identities: set[object]) -> Iterator[_Seen]:
    for found in _found(source):
        if isinstance(found, Unreadable):
            yield _Seen(file=FoundFile(path=found.path), source=source.name, card=RefusedCard(reason=found.reason))
        elif (identity := _identity(found.path)) not in identities:
            identities.add(identity)
            yield _Seen(file=found, source=source.name, card=known.card(found.path, found.name))


def _found(source: ModelSource) -> Iterator[FoundFile | Unreadable]:
    """Yield what a source finds, a split model once. A stranger's source may fail on the disk."""
    try:
        yield from dict.fromkeys(map(_of_first_file, source.find()))
    except OSError as error:
        place = Path(error.filename or source.name)
        yield Unreadable(path=place, reason=f"cannot be searched: {error.strerror or error}")


def _of_first_file(found: Found) -> FoundFile | Unreadable:
    match found:
        case Unreadable():
            return found
        case FoundFile():
            return attrs.evolve(found, path=first_file(found.path))
        case _:
            return FoundFile(path=first_file(found))


def _identity(path: Path) -> object:
    """Return what two paths of one file have in common."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _found_models(group: Iterable[_Seen]) -> Iterator[FoundModel]:
    for seen in group:
        if isinstance(seen.card, ModelCard):
            descriptor = attrs.evolve(seen.card.descriptor, source=seen.source)
            yield FoundModel(file=seen.file, card=attrs.evolve(seen.card, descriptor=descriptor))


def _problems(seen: Iterable[_Seen]) -> Iterator[ModelProblem]:
    for entry in seen:
        if isinstance(entry.card, RefusedCard):
            name = "" if entry.file.name is None else f"{entry.file.name}: "
            yield ModelProblem(path=entry.file.path, source=entry.source, reason=name + entry.card.reason)


def _left_out(seen: Iterable[_Seen], taken: set[Path]) -> Iterator[LeftOut]:
    for entry in seen:
        if isinstance(entry.card, ProjectorCard | AdapterCard | OtherCard) and entry.file.path not in taken:
            yield LeftOut(path=entry.file.path, source=entry.source, reason=entry.card.reason)


def _paths_of_companions(model: ModelDescriptor) -> list[Path]:
    projectors = [] if model.projector is None else [model.projector]
    return [*projectors, *(adapter.path for adapter in model.adapters)]


def _with_unique_ids(groups: Iterable[list[FoundModel]]) -> list[list[FoundModel]]:
    """Append -2, -3… to ids that are taken. The file that has been here longer keeps its id when another comes."""
    taken: set[str] = set()
    return [[_renamed(model, taken) for model in sorted(group, key=_age)] for group in groups]


def _age(model: FoundModel) -> tuple[int, str]:
    descriptor = model.card.descriptor
    return descriptor.created_at, str(descriptor.path)


def _renamed(model: FoundModel, taken: set[str]) -> FoundModel:
    descriptor = attrs.evolve(model.card.descriptor, id=_free(model.card.descriptor.id, taken))
    return attrs.evolve(model, card=attrs.evolve(model.card, descriptor=descriptor))


def _free(wanted: ModelId, taken: set[str]) -> ModelId:
    free, number = wanted, 1
    while free in taken:
        number += 1
        free = ModelId(f"{wanted}-{number}")
    taken.add(free)
    return free


def _ranked(groups: list[list[FoundModel]], memory_bytes: int | None) -> list[FoundModel]:
    room = float("inf") if memory_bytes is None else memory_bytes * _MEMORY_SHARE

    def preference(model: FoundModel) -> tuple[bool, bool, int, str]:
        descriptor = model.card.descriptor
        large, mute = descriptor.size_bytes > room, not descriptor.capabilities.tool_template
        return large, mute, -(descriptor.parameters or 0), descriptor.id

    ranked = [model for group in groups for model in sorted(group, key=preference)]
    return sorted(ranked, key=lambda model: model.card.named_draft)
