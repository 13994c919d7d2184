"""From a file to a context: what fits is chosen, the weights are loaded, the KV cache is made.

Above: `GgufEngine.load`. Below: `fit`, which decides, and `llama`, which does.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence

import attrs
import psutil

from pensieve_core import EngineDescription, ModelDescriptor
from pensieve_gguf.cores import usable_cores
from pensieve_gguf.draft_fit import DraftCost, fit_with_draft
from pensieve_gguf.engine.checkpoints import Checkpoints
from pensieve_gguf.engine.draft_loading import DraftPlan, LoadedDraft, open_draft, plan_draft
from pensieve_gguf.engine.drafts import MOST_DRAFTED
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.shelf import Shelf
from pensieve_gguf.engine.vocabulary_ahead import VocabularyAhead
from pensieve_gguf.fit import (
    ContextCost,
    CostOf,
    Fit,
    Memory,
    ModelSize,
    Wishes,
    cost_by_metadata,
    fit_model,
    shortage,
)
from pensieve_gguf.llama import (
    Context,
    ContextShape,
    Gpu,
    LoadError,
    Model,
    Projector,
    apply_adapter,
    context_bytes,
    gpus,
    version,
)
from pensieve_gguf.memory_sum import total_bytes
from pensieve_gguf.needs import needs
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.too_little_memory import TooLittleMemoryError

__all__ = ["Loaded", "OutsideTheCache", "free_memory", "load", "open_cache", "plan_file"]


_MORE_THAN_THERE_IS = 1 << 62


@attrs.frozen(kw_only=True)
class OutsideTheCache:
    """RAM for what had to leave the KV cache, in bytes."""

    kept: int = 2 << 30
    """The shelf and its checkpoints."""
    copied: int = 1 << 30
    """On its way to the disk."""


@attrs.frozen
class Loaded:
    """A model that is ready to compute."""

    model: Model
    context: Context
    description: EngineDescription
    vocabulary: VocabularyAhead
    projector: Projector | None = None
    outside: OutsideTheCache = OutsideTheCache()
    gpu_bytes: int = 0
    """What was free on all GPUs together before."""
    draft: LoadedDraft | None = None

    def close(self) -> None:
        """Free all of it."""
        if self.draft is not None:
            self.draft.close()
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
        TooLittleMemoryError: there is too little for the context that it is to have at least, or of the GPU.
    """
    vocabulary = VocabularyAhead(descriptor.path)
    memory = free_memory(settings)
    plan = plan_file(descriptor, settings, memory)
    fit = plan.fit
    with contextlib.ExitStack() as undo:
        mapped = _mapped(fit, memory)
        model = Model(descriptor.path, gpu_layers=fit.gpu_layers, on_progress=on_progress, mapped=mapped)
        undo.callback(model.close)
        projector, blind = _projector(descriptor, model, settings, use_gpu=fit.gpu_layers != 0)
        if projector is not None:
            undo.callback(projector.close)
        found = _contexts(descriptor, plan, settings, model, mapped=mapped)
        undo.callback(found.close)
        adapted = _adapted(descriptor, found.context)
        undo.pop_all()
    as_loaded = _as_loaded(descriptor, sees=projector is not None, guesses=found.draft is not None)
    notes = (*adapted, *blind, *([found.about_draft] if found.about_draft else []))
    description = _description(as_loaded, found.context, found.fit, settings, *notes)
    outside = OutsideTheCache(kept=found.fit.kept_bytes, copied=found.fit.copy_bytes)
    return Loaded(model, found.context, description, vocabulary, projector, outside, memory.gpu, found.draft)


@attrs.frozen(kw_only=True)
class _Contexts:
    """That of a model, and its draft model."""

    context: Context
    fit: Fit
    """What it was made by."""
    draft: LoadedDraft | None = None
    about_draft: str | None = None

    def close(self) -> None:
        if self.draft is not None:
            self.draft.close()
        self.context.close()


def _contexts(
    descriptor: ModelDescriptor, plan: DraftPlan, settings: GgufSettings, model: Model, *, mapped: bool
) -> _Contexts:
    """Make what was planned; should the draft model be of no use after all, what it would have taken is the model's."""
    with contextlib.ExitStack() as undo:
        context = Context(model, _shape(model, plan.fit, settings))
        undo.callback(context.close)
        draft, about = open_draft(descriptor, plan, settings, mapped=mapped, abort=context.abort)
        if draft is not None or plan.fit == plan.alone:
            undo.pop_all()
            return _Contexts(context=context, fit=plan.fit, draft=draft, about_draft=about)
    return _Contexts(context=Context(model, _shape(model, plan.alone, settings)), fit=plan.alone, about_draft=about)


def free_memory(settings: GgufSettings, devices: Callable[[], Sequence[Gpu]] = gpus) -> Memory:
    """Return what the engine may take, of RAM and of all `devices` together."""
    ram = psutil.virtual_memory().available if settings.memory_bytes is None else settings.memory_bytes
    gpu = sum(gpu.free_bytes for gpu in devices())
    if settings.gpu_memory_bytes is not None:
        gpu = min(gpu, settings.gpu_memory_bytes)
    return Memory(ram=ram, gpu=gpu, is_limit=settings.memory_bytes is not None)


def plan_file(descriptor: ModelDescriptor, settings: GgufSettings, memory: Memory) -> DraftPlan:
    """Decide how to load, before anything is: llama.cpp plans contexts for the model without its weights.

    Raises:
        LoadError: it cannot be read, or memory does not hold it.
        TooLittleMemoryError: others can make room for it.
    """
    dry, wishes = Model(descriptor.path, dry=True, gpu_layers=0), _wishes(settings)
    try:
        size = _size(dry, descriptor)
        cost = _cost(dry, size, settings)
        fit = fit_model(size, memory, wishes, cost)
        if not fit.gpu_layers:  # there a reserve is kept instead, and nothing is planned
            context_bytes(dry, _shape(dry, fit, settings))  # what cannot be, whatever memory there is, says why
        if settings.least_context is not None:
            most = settings.gpu_most_bytes or 0
            needed = needs(size, memory, wishes, cost, least_context=settings.least_context, gpu_most=most)
            if needed is not None:
                raise TooLittleMemoryError(needed)
        too_little = shortage(fit, memory, wishes)
        if too_little is not None:
            raise LoadError(too_little)
        named, least = descriptor.draft is not None and descriptor.draft.named, settings.least_context or 0

        def beside(draft: DraftCost) -> Fit | None:
            return fit_with_draft(fit, size, memory, wishes, cost, draft=draft, named=named, least_context=least)

        return plan_draft(descriptor, dry, settings, fit, beside)
    finally:
        dry.close()


def _cost(dry: Model, size: ModelSize, settings: GgufSettings) -> CostOf:
    """Return what asks llama.cpp; should it not say, the metadata give an answer."""
    by_metadata = cost_by_metadata(size)

    def cost(*, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:
        shape = _shape_of(dry, settings, cells=cells, kv_type=kv_type, batch_tokens=batch_tokens)
        try:
            found = context_bytes(dry, shape)
        except LoadError:  # not with such cells: q8_0 wants heads whose width is a multiple of 32
            return ContextCost(cache=_MORE_THAN_THERE_IS)
        if found is None:
            return by_metadata(cells=cells, kv_type=kv_type, batch_tokens=batch_tokens)
        return ContextCost(cache=found.cache, compute=found.compute + found.output)

    return functools.cache(cost)


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


def _adapted(descriptor: ModelDescriptor, context: Context) -> tuple[str, ...]:
    """Apply the model's adapter, if it is to have one, and return a sentence about it."""
    applied = descriptor.applied
    if applied is None:
        return ()
    apply_adapter(context, applied.adapter.path, applied.scale)
    return (f"Changed by the LoRA adapter {applied.adapter.name}, scaled by {applied.scale:g}.",)


def _as_loaded(descriptor: ModelDescriptor, *, sees: bool, guesses: bool) -> ModelDescriptor:
    """Return the model as it turned out to be."""
    capabilities = attrs.evolve(descriptor.capabilities, images=sees)
    return attrs.evolve(descriptor, capabilities=capabilities, draft=descriptor.draft if guesses else None)


def open_cache(context: Context, cap_bytes: int) -> tuple[Residents, Shelf]:
    """Return who knows what lies in the cells of an empty context, and who keeps up to `cap_bytes` of what leaves."""
    model, partially = context.model, context.model.forgets_partially
    checkpoints = None if partially or model.keeps_no_cells else Checkpoints()
    slots = context.shape.sequences - 1  # the last one is the loop's own: prefixes are copied out of it
    cells = None if model.keeps_no_cells else context.cells
    residents = Residents(slots, cells=cells, forgets_partially=partially, checkpoints=checkpoints)
    return residents, Shelf(cap_bytes, forgets_partially=partially, checkpoints=checkpoints)


def _wishes(settings: GgufSettings) -> Wishes:
    return Wishes(
        context=settings.context_tokens,
        cells=settings.cells,
        kv_type=settings.kv_type,
        gpu_layers=settings.gpu_layers,
        batch_tokens=settings.batch_tokens,
        kept_bytes=settings.cache_ram_bytes,
        keeps_on_disk=settings.cache_folder is not None and settings.cache_disk_bytes != 0,
    )


def _mapped(fit: Fit, memory: Memory) -> bool:
    """Return whether weights stay in the file's pages, which Linux can drop when memory is short.

    Else a CPU computes faster, for pages of one's own may be huge; and of weights that llama.cpp repacks, as it does of
    most 4-bit ones, mapped pages are a second copy (the 1.5B coder: 1.46 GiB read, 2.03 GiB mapped).
    """
    return bool(memory.gpu) or psutil.virtual_memory().available < total_bytes(fit.terms)


def _size(dry: Model, descriptor: ModelDescriptor) -> ModelSize:
    projector = descriptor.projector
    return ModelSize(
        weight_bytes=dry.weight_bytes,
        kv_bytes_per_token=dry.kv_bytes_per_token,
        layers=dry.layers,
        trained=dry.trained_context,
        vocabulary=dry.vocabulary_size,
        projector_bytes=projector.stat().st_size if projector is not None and projector.exists() else 0,
        adapter_bytes=0 if descriptor.applied is None else descriptor.applied.adapter.size_bytes,
    )


def _slots(model: Model, settings: GgufSettings) -> int:
    """Return how many sequences stay: each takes room for a state or a window of its own, used or not, if there are."""
    return settings.max_resident if model.forgets_partially else settings.slots_with_state


def _shape(model: Model, fit: Fit, settings: GgufSettings) -> ContextShape:
    return _shape_of(model, settings, cells=fit.cells, kv_type=fit.kv_type, batch_tokens=fit.batch_tokens)


def _shape_of(model: Model, settings: GgufSettings, *, cells: int, kv_type: str, batch_tokens: int) -> ContextShape:
    return ContextShape(
        cells=cells,
        sequences=_slots(model, settings) + 1,  # one more, to copy prefixes out of
        batch_tokens=max(batch_tokens, settings.max_running),
        threads=settings.threads or usable_cores(),
        kv_type=kv_type,
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
        memory=fit.terms,
    )
