"""From a file to a context: what fits is chosen, the weights are loaded, the KV cache is made.

Above: `GgufEngine.load`. Below: `fit`, which decides, and `llama`, which does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import attrs
import psutil

from pensieve_core import EngineDescription, ModelDescriptor
from pensieve_gguf.cores import usable_cores
from pensieve_gguf.engine.drafts import MOST_DRAFTED
from pensieve_gguf.fit import Fit, Memory, ModelSize, Wishes, fit_model
from pensieve_gguf.llama import Context, ContextShape, Model, gpus, version
from pensieve_gguf.settings import GgufSettings

__all__ = ["Loaded", "load"]


@attrs.frozen
class Loaded:
    """A model that is ready to compute. Close the context first."""

    model: Model
    context: Context
    description: EngineDescription


def load(
    descriptor: ModelDescriptor, settings: GgufSettings, on_progress: Callable[[float], bool] | None = None
) -> Loaded:
    """Load a model; blocks for as long as that takes.

    Raises:
        pensieve_gguf.llama.LoadError: llama.cpp refused the file or there is too little memory.
    """
    memory = Memory(ram=psutil.virtual_memory().available, gpu=sum(gpu.free_bytes for gpu in gpus()))
    wishes = _wishes(settings)
    if memory.gpu and wishes.gpu_layers is None:
        wishes = attrs.evolve(wishes, gpu_layers=fit_model(_size_before(descriptor), memory, wishes).gpu_layers)
    with contextlib.ExitStack() as undo:
        layers = wishes.gpu_layers if memory.gpu else 0
        model = Model(descriptor.path, gpu_layers=layers, on_progress=on_progress)
        undo.callback(model.close)
        fit = fit_model(_size(model), memory, wishes)
        context = Context(model, _shape(fit, settings))
        undo.pop_all()
    return Loaded(model, context, _description(descriptor, context, fit, settings))


def _wishes(settings: GgufSettings) -> Wishes:
    return Wishes(
        context=settings.context_tokens,
        cells=settings.cells,
        kv_type=settings.kv_type,
        gpu_layers=settings.gpu_layers,
        batch_tokens=settings.batch_tokens,
    )


def _size(model: Model) -> ModelSize:
    return ModelSize(
        weight_bytes=model.weight_bytes,
        kv_bytes_per_token=model.kv_bytes_per_token,
        layers=model.layers,
        trained=model.trained_context,
    )


def _size_before(descriptor: ModelDescriptor) -> ModelSize:
    """Return the size of a model that is not loaded yet, as far as its metadata tell."""
    header = Model(descriptor.path, vocabulary_only=True)
    try:
        return ModelSize(
            weight_bytes=descriptor.size_bytes,
            kv_bytes_per_token=header.kv_bytes_per_token,
            layers=header.layers,
            trained=descriptor.context_tokens,
        )
    finally:
        header.close()


def _shape(fit: Fit, settings: GgufSettings) -> ContextShape:
    return ContextShape(
        cells=fit.cells,
        sequences=settings.max_resident + 1,  # one more, to copy prefixes out of
        batch_tokens=max(fit.batch_tokens, settings.max_running),
        threads=settings.threads or usable_cores(),
        kv_type=fit.kv_type,
        drafted=MOST_DRAFTED if settings.drafts else 0,
    )


def _description(descriptor: ModelDescriptor, context: Context, fit: Fit, settings: GgufSettings) -> EngineDescription:
    return EngineDescription(
        model=descriptor,
        engine=version(),
        # llama.cpp pads its cells, and a short context with them.
        context_tokens=context.cells if fit.cells == fit.context else fit.context,
        max_sequences=settings.max_running,
        threads=context.shape.threads,
        gpu_layers=fit.gpu_layers,
        notes=(fit.note,),
    )
