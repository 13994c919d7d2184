"""The draft model that the user wants, in place of the one that was paired. Pure but for reading a header.

Which one is paired is in `_pairing`. A user's choice is for the default model alone; only "none" is for all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from pensieve_core import DraftModel, ModelDescriptor, ModelNotFoundError
from pensieve_registry._descriptor import describe, why_not_a_chat_model
from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._references import file_named
from pensieve_registry._shards import read_gguf_model

__all__ = ["check_draft_model", "draft_model", "with_draft_model"]

_NONE = "none"


def with_draft_model(
    models: Sequence[ModelDescriptor], wanted: str, resolve: Callable[[str], ModelDescriptor]
) -> list[ModelDescriptor]:
    """Return `models` as they are with the draft model `wanted`; with none, if that is not there any more.

    Args:
        models: The default one first.
        wanted: A file, a name, or "none": then no model has one.
        resolve: Says which model a name means.
    """
    if _is_none(wanted):
        return [attrs.evolve(model, draft=None) for model in models]
    first, *others = models
    draft = None
    with contextlib.suppress(ModelNotFoundError, GgufHeaderError):
        draft = _found(wanted, resolve)
    return [attrs.evolve(first, draft=draft), *others]


def check_draft_model(wanted: str, resolve: Callable[[str], ModelDescriptor]) -> None:
    """Hold that there is what `wanted` names; arguments as above.

    Raises:
        ModelNotFoundError: nobody knows the name.
        GgufHeaderError: the file is no model, or cannot be read.
    """
    if not _is_none(wanted):
        _found(wanted, resolve)


def draft_model(model: ModelDescriptor, *, named: bool = True) -> DraftModel:
    """Return `model` as one to guess ahead with."""
    return DraftModel(
        id=model.id, path=model.path, size_bytes=model.size_bytes, parameters=model.parameters or 0, named=named
    )


def _is_none(wanted: str) -> bool:
    return wanted.strip().lower() == _NONE


def _found(wanted: str, resolve: Callable[[str], ModelDescriptor]) -> DraftModel:
    file = file_named(wanted)
    return draft_model(resolve(wanted) if file is None else _read(file.expanduser()))


def _read(path: Path) -> ModelDescriptor:
    model = read_gguf_model(path)
    reason = why_not_a_chat_model(model)
    if reason is not None:
        raise GgufHeaderError(reason)
    return describe(model)
