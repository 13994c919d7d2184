"""Which models of this machine a reference means, in the words that `pull` takes. Pure: paths are compared, not read.

    Qwen/Qwen3-8B-GGUF:Q4_K_M    in the hub's cache (`models--qwen--qwen3-8b-gguf/snapshots`) or in a folder
                                 `models/qwen/qwen3-8b-gguf`, or in one of that (`Q4_K_M`)
    qwen3-8b:Q4_K_M              an id or the beginning of one, and a quantisation

Two folders that merely stand in a path are no repository. A revision says what to fetch, and is not asked for here.
Above: `NameTable`, which tries names first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pensieve_core import ModelDescriptor
from pensieve_registry._quantizations import label_in, wishes_for
from pensieve_registry._references import HubFile, HubRef, InvalidReferenceError, ModelRef, NameRef, parse_ref
from pensieve_registry._shards import model_stem

__all__ = ["PREFIX_LENGTH", "meant_by"]

PREFIX_LENGTH = 3
"""What the beginning of an id consists of at least: fewer characters are more likely a slip than a name."""
_CACHED = re.compile(r"/models--(?P<repository>[^/]+)/snapshots/")
"""As huggingface_hub lays its cache out. No part of a repository's name has two hyphens, so `--` is its slash."""
_PLAIN = re.compile(r"(?:^|/)models/(?P<repository>[^/]+/[^/]+)/(?:[^/]+/)?[^/]+$", re.IGNORECASE)
"""As LM Studio does, and who sorts a models folder by hand; large repositories have a folder for each quantisation."""


def meant_by(text: str, models: Iterable[ModelDescriptor]) -> list[ModelDescriptor]:
    """Return those of `models` that `text` refers to, without regard to case; none when it is a bare name or a path."""
    try:
        reference = parse_ref(text)
    except InvalidReferenceError:
        return []
    return [model for model in models if _is_meant(reference, model)]


def _is_meant(reference: ModelRef, model: ModelDescriptor) -> bool:
    match reference:
        case HubRef(file=None, quantization=wish):
            return _is_of(reference, model) and (wish is None or wish in _wishes(model))
        case HubRef(file=str(file)):
            return _is_of(reference, model) and _has(file, model)
        case NameRef(quantization=str(wish)):
            return _begins(model.id, reference.name.lower()) and wish in _wishes(model)
        case _:
            return False


def _is_of(reference: HubRef, model: ModelDescriptor) -> bool:
    path = model.path.as_posix()
    found = _CACHED.search(path) or _PLAIN.search(path)
    names = {reference.repository.lower(), f"{reference.owner}--{reference.name}".lower()}
    return found is not None and found["repository"].lower() in names


def _has(file: HubFile, model: ModelDescriptor) -> bool:
    """Return whether it is the model's file or one of its shards: as for `pull`, any stands for all."""
    paths = model.shards or (model.path,)
    return any(path.as_posix().lower().endswith(f"/{file}".lower()) for path in paths)


def _begins(model_id: str, name: str) -> bool:
    return model_id == name or (len(name) >= PREFIX_LENGTH and model_id.startswith(name))


def _wishes(model: ModelDescriptor) -> frozenset[str]:
    """Return what its quantisation may be called: as its file says or, where that is silent, its header."""
    stem = model_stem(model.path)
    label = label_in((stem, model.path.parent.name)) or (model.quantization or "").upper()
    return wishes_for(label, stem)
