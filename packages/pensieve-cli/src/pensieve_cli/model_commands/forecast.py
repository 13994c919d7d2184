"""How a model would be loaded on this machine, by the very fit that loads it. Loads nothing.

Here the registry's entries meet the engine's fit; neither knows of the other.
"""

from __future__ import annotations

import psutil

from pensieve_cli.machine import native_engine
from pensieve_cli.settings import Settings
from pensieve_core import MemoryTerm
from pensieve_gguf import GgufSettings
from pensieve_gguf.fit import Fit, Memory, Wishes, fit_model
from pensieve_gguf.shape import ModelShape, cost_by_shape, is_of_use, size_by_shape
from pensieve_registry import CuratedModel, Foresee, Foreseen

__all__ = ["foreseeing", "free_memory", "wishes_of"]

_WEIGHTS, _CONTEXT = frozenset({"weights"}), frozenset({"KV cache", "compute buffers"})


def free_memory(settings: Settings) -> Memory:
    """Return what models may take now, as the engine will see it; asks llama.cpp in a process of its own."""
    engine, budget, gpu_budget = native_engine(), settings.memory.memory_budget, settings.memory.gpu_memory_budget
    gpu = 0 if engine is None else sum(engine.gpu_free_bytes)
    return Memory(
        ram=psutil.virtual_memory().available if budget is None else budget,
        gpu=gpu if gpu_budget is None else min(gpu, gpu_budget),
        is_limit=budget is not None,
    )


def wishes_of(settings: Settings) -> Wishes:
    """Return what the user asked for of how models are loaded."""
    engine = settings.engine
    return Wishes(
        context=engine.ctx,
        cells=engine.cells,
        kv_type=engine.kv_type,
        gpu_layers=engine.gpu_layers,
        kept_bytes=settings.cache.cache_ram_bytes,
        keeps_on_disk=settings.cache.cache_disk_bytes != 0,
    )


def foreseeing(settings: Settings, memory: Memory) -> Foresee:
    """Return what asks the fit about an entry of the catalog, whose file need not be here."""
    wishes, usual = wishes_of(settings), GgufSettings()
    running = settings.engine.parallel or usual.max_running
    slots = GgufSettings(max_running=running, max_resident=max(running + 1, usual.max_resident)).slots_with_state

    def foresee(model: CuratedModel) -> Foreseen:
        shape = _shape(model)
        size = size_by_shape(shape)
        fit = fit_model(size, memory, wishes, cost_by_shape(shape, sequences=slots))
        return _foreseen(
            fit, memory, fits=is_of_use(fit, size, memory, wishes), whole=fit.gpu_layers == size.layers + 1
        )

    return foresee


def _shape(model: CuratedModel) -> ModelShape:
    return ModelShape(
        weight_bytes=model.size_bytes,
        trained=model.context_tokens,
        layers=model.layers,
        cached_layers=model.cached_layers or model.layers,
        kv_heads=model.kv_heads,
        head_size=model.head_size,
        vocabulary=model.vocabulary,
        state_bytes=model.state_bytes,
    )


def _foreseen(fit: Fit, memory: Memory, *, fits: bool, whole: bool) -> Foreseen:
    """Return what people are told. A model that is whole on the GPU is held against the GPU alone."""
    terms = [term for term in fit.terms if term.on_gpu or not whole]
    return Foreseen(
        fits=fits,
        whole_on_gpu=whole,
        context_tokens=fit.context,
        weights_bytes=_sum(terms, _WEIGHTS),
        context_bytes=_sum(terms, _CONTEXT),
        further_bytes=sum(term.size_bytes for term in terms) - _sum(terms, _WEIGHTS | _CONTEXT),
        free_bytes=(memory.gpu if fit.gpu_layers else 0) + (0 if whole else memory.ram),
    )


def _sum(terms: list[MemoryTerm], names: frozenset[str]) -> int:
    return sum(term.size_bytes for term in terms if term.name in names)
