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
from pensieve_gguf.engine.checkpoints import Checkpoints
from pensieve_gguf.engine.drafts import MOST_DRAFTED
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.shelf import Shelf
from pensieve_gguf.engine.vocabulary_ahead import VocabularyAhead
from pensieve_gguf.fit import Fit, Memory, ModelSize, Wishes, fit_model
from pensieve_gguf.llama import Context, ContextShape, LoadError, Model, Projector, gpus, version
from pensieve_gguf.settings import GgufSettings

__all__ = ["Loaded", "load", "open_cache"]


_SLOTS_WITH_STATE = 2
"""Times as many sequences stay as may run, where each has a state or a window of its own: tens of MiB."""

_AMPLE = 2
"""With less free memory than so many times the weights' size they are mapped: Linux can drop such pages."""


@attrs.frozen
class Loaded:
    """A model that is ready to compute."""

    model: Model
    context: Context
    description: EngineDescription
    vocabulary: VocabularyAhead
    projector: Projector | None = None

    def close(self) -> None:
        """Free all of it."""
        if self.projector is not None:
            self.projector.close()
        self.context.close()
        self.model.close()


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
    vocabulary = VocabularyAhead(descriptor.path)
    with contextlib.ExitStack() as undo:
        layers = wishes.gpu_layers if memory.gpu else 0
        model = Model(descriptor.path, gpu_layers=layers, on_progress=on_progress, mapped=_mapped(descriptor, memory))
        undo.callback(model.close)
        projector, blind = _projector(descriptor, model, settings, use_gpu=layers != 0)
        if projector is not None:
            undo.callback(projector.close)
        fit = fit_model(_size(model), memory, wishes)
        context = Context(model, _shape(model, fit, settings))
        undo.pop_all()
    sighted = _with_sight(descriptor, sees=projector is not None)
    description = _description(sighted, context, fit, settings, *blind)
    return Loaded(model, context, description, vocabulary, projector)


def _projector(
    descriptor: ModelDescriptor, model: Model, settings: GgufSettings, *, use_gpu: bool
) -> tuple[Projector | None, tuple[str, ...]]:
    """Return the model's projector, or why it has none: a model that cannot see can still talk."""
    if descriptor.projector is None:
        return None, ()
    threads = settings.threads or usable_cores()
    try:
        return Projector(descriptor.projector, model, threads=threads, use_gpu=use_gpu), ()
    except LoadError as error:
        return None, (f"Images are refused, for {descriptor.projector.name} is of no use: {error}.",)


def _with_sight(descriptor: ModelDescriptor, *, sees: bool) -> ModelDescriptor:
    return attrs.evolve(descriptor, capabilities=attrs.evolve(descriptor.capabilities, images=sees))


def open_cache(context: Context, settings: GgufSettings) -> tuple[Residents, Shelf]:
    """Return who knows what lies in the cells of an empty context, and who keeps what leaves them."""
    model, partially = context.model, context.model.forgets_partially
    checkpoints = None if partially or model.keeps_no_cells else Checkpoints()
    slots = context.shape.sequences - 1  # the last one is the loop's own: prefixes are copied out of it
    cells = None if model.keeps_no_cells else context.cells
    residents = Residents(slots, cells=cells, forgets_partially=partially, checkpoints=checkpoints)
    return residents, Shelf(settings.cache_ram_bytes, forgets_partially=partially, checkpoints=checkpoints)


def _wishes(settings: GgufSettings) -> Wishes:
    return Wishes(
        context=settings.context_tokens,
        cells=settings.cells,
        kv_type=settings.kv_type,
        gpu_layers=settings.gpu_layers,
        batch_tokens=settings.batch_tokens,
    )


def _mapped(descriptor: ModelDescriptor, memory: Memory) -> bool:
    """Return whether weights stay in the file's pages: slower for a CPU than pages of their own, which may be huge."""
    return bool(memory.gpu) or memory.ram < _AMPLE * descriptor.size_bytes


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


def _slots(model: Model, settings: GgufSettings) -> int:
    """Return how many sequences stay: each takes room for a state or a window of its own, used or not, if there are."""
    few = settings.max_resident if model.forgets_partially else _SLOTS_WITH_STATE * settings.max_running
    return min(settings.max_resident, few)


def _shape(model: Model, fit: Fit, settings: GgufSettings) -> ContextShape:
    return ContextShape(
        cells=fit.cells,
        sequences=_slots(model, settings) + 1,  # one more, to copy prefixes out of
        batch_tokens=max(fit.batch_tokens, settings.max_running),
        threads=settings.threads or usable_cores(),
        kv_type=fit.kv_type,
        drafted=MOST_DRAFTED if settings.drafts else 0,
    )


def _description(
    descriptor: ModelDescriptor, context: Context, fit: Fit, settings: GgufSettings, *notes: str
) -> EngineDescription:
    return EngineDescription(
        model=descriptor,
        engine=version(),
        # llama.cpp pads its cells, and a short context with them.
        context_tokens=context.cells if fit.cells == fit.context else fit.context,
        max_sequences=settings.max_running,
        threads=context.shape.threads,
        gpu_layers=fit.gpu_layers,
        notes=(fit.note, *notes),
    )
