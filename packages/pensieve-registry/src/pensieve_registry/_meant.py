"""Which models of this machine a reference means, in the words that `pull` takes. Pure: paths are compared, not read.

    Qwen/Qwen3-8B-GGUF:Q4_K_M    in the hub's cache (`models--qwen--qwen3-8b-gguf`) or in a folder `qwen/qwen3-8b-gguf`
    qwen3-8b:Q4_K_M              the beginning of an id, and a quantisation

A revision says what to fetch, and is not asked for here. Above: `NameTable`, which tries names first.
"""

from __future__ import annotations

from collections.abc import Iterable

from pensieve_core import ModelDescriptor
from pensieve_registry._quantizations import label_in, wishes_for
from pensieve_registry._references import HubRef, InvalidReferenceError, ModelRef, NameRef, parse_ref
from pensieve_registry._shards import model_stem

__all__ = ["meant_by"]


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
        case HubRef(file=file):
            return _is_of(reference, model) and model.path.as_posix().lower().endswith(f"/{file}".lower())
        case NameRef(quantization=str(wish)):
            return model.id.startswith(reference.name.lower()) and wish in _wishes(model)
        case _:
            return False


def _is_of(reference: HubRef, model: ModelDescriptor) -> bool:
    path = model.path.as_posix().lower()
    cached, plain = f"/models--{reference.owner}--{reference.name}/", f"/{reference.repository}/"
    return cached.lower() in path or plain.lower() in path


def _wishes(model: ModelDescriptor) -> frozenset[str]:
    """Return what its quantisation may be called: as its file says or, where that is silent, its header."""
    stem = model_stem(model.path)
    label = label_in((stem, model.path.parent.name)) or (model.quantization or "").upper()
    return wishes_for(label, stem)
