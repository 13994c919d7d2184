"""Looking through the sources: every file is inspected, and none can hide the others.

Above: `LocalCatalog` keeps the result. Below: `_shards` reads headers, `_descriptor` says what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from pensieve_core import ModelDescriptor, ModelId
from pensieve_registry._descriptor import describe, why_not_a_chat_model
from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._shards import first_file, read_gguf_model
from pensieve_registry._sources import ModelSource

__all__ = ["LeftOut", "ModelProblem", "ScanResult", "scan_sources"]

_MEMORY_SHARE = 0.75
"""Of the machine's memory, what the weights of a default model may take; the rest is for context and other programs."""


@attrs.frozen(kw_only=True)
class ModelProblem:
    """A file that should be a model, and cannot be served."""

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


_Finding: TypeAlias = ModelDescriptor | ModelProblem | LeftOut


def scan_sources(sources: Sequence[ModelSource], *, memory_bytes: int | None = None) -> ScanResult:
    """Inspect every file of every source. Blocks: some 15 to 40 ms for each model.

    Models of an earlier source are preferred to those of a later one; within a source, those that fit into memory, then
    those whose template knows tools, then the larger ones. A file that several sources reach is the first one's.
    """
    seen: set[object] = set()
    findings = [list(_inspect_all(source, seen)) for source in sources]
    groups = [[finding for finding in group if isinstance(finding, ModelDescriptor)] for group in findings]
    flat = [finding for group in findings for finding in group]
    paired = {finding.projector for finding in flat if isinstance(finding, ModelDescriptor)}
    return ScanResult(
        models=_ranked(_with_unique_ids(groups), memory_bytes),
        problems=tuple(finding for finding in flat if isinstance(finding, ModelProblem)),
        left_out=tuple(finding for finding in flat if isinstance(finding, LeftOut) and finding.path not in paired),
    )


def _inspect_all(source: ModelSource, seen: set[object]) -> Iterator[_Finding]:
    for path in dict.fromkeys(map(first_file, source.find())):
        identity = _identity(path)
        if identity not in seen:
            seen.add(identity)
            yield _inspect(path, source.name)


def _identity(path: Path) -> object:
    """Return what two paths of one file have in common."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _inspect(path: Path, source: str) -> _Finding:
    try:
        model = read_gguf_model(path)
        reason = why_not_a_chat_model(model)
        return LeftOut(path=path, source=source, reason=reason) if reason else describe(model, source=source)
    except GgufHeaderError as error:
        return ModelProblem(path=path, source=source, reason=error.message)


def _with_unique_ids(groups: Iterable[Iterable[ModelDescriptor]]) -> list[list[ModelDescriptor]]:
    """Append -2, -3… to ids that are taken. The file that has been here longer keeps its id when another comes."""
    taken: set[str] = set()
    return [[attrs.evolve(model, id=_free(model.id, taken)) for model in sorted(group, key=_age)] for group in groups]


def _age(model: ModelDescriptor) -> tuple[int, str]:
    return model.created_at, str(model.path)


def _free(wanted: ModelId, taken: set[str]) -> ModelId:
    free, number = wanted, 1
    while free in taken:
        number += 1
        free = ModelId(f"{wanted}-{number}")
    taken.add(free)
    return free


def _ranked(groups: list[list[ModelDescriptor]], memory_bytes: int | None) -> tuple[ModelDescriptor, ...]:
    room = float("inf") if memory_bytes is None else memory_bytes * _MEMORY_SHARE

    def preference(model: ModelDescriptor) -> tuple[bool, bool, int, str]:
        weights = model.parameters or 0
        return model.size_bytes > room, not model.capabilities.tool_template, -weights, model.id

    return tuple(model for group in groups for model in sorted(group, key=preference))
