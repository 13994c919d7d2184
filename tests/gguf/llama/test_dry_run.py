"""Ours: llama.cpp tells what a context would take in its log, and nowhere else that Python reaches."""

from __future__ import annotations

from typing import Any

import psutil
import pytest

from pensieve_core import ModelDescriptor
from pensieve_gguf.llama import ContextBytes, ContextShape, LoadError, Model, context_bytes, read_sizes

MIB = 1 << 20


def test_sizes_are_read_from_what_llama_cpp_logs() -> None:
    """As version 0.3.36 of the bindings logs it, for a model with windows and two devices."""
    lines = [
        "llama_context:        CPU  output buffer size =     9.19 MiB\n",
        "llama_kv_cache:        CPU KV buffer size =   180.00 MiB\n",
        "llama_kv_cache: size =  180.00 MiB (  8192 cells,  30 layers, 49/1 seqs), K (f16):   90.00 MiB, V (f16)\n",
        "llama_kv_cache: size =   20.50 MiB (  1024 cells,   6 layers, 49/1 seqs), K (f16):   10.25 MiB, V (f16)\n",
        "sched_reserve:      CUDA0 compute buffer size =    22.50 MiB\n",
        "sched_reserve:        CPU compute buffer size =     0.25 MiB\n",
    ]
    assert read_sizes(lines) == ContextBytes(cache=int(200.5 * MIB), compute=int(22.75 * MIB), output=round(9.19 * MIB))


@pytest.mark.parametrize("lines", [[], ["sched_reserve: CPU compute buffer size = 1.00 MiB"], ["size = 1 MiB"]])
def test_a_log_without_figures_tells_nothing(lines: list[str]) -> None:
    assert read_sizes(lines) is None


def shape(**changes: Any) -> ContextShape:
    return ContextShape(**{"cells": 8_192, "sequences": 9, "batch_tokens": 128, "threads": 1, **changes})


@pytest.mark.model
def test_a_dry_run_tells_the_cache_exactly_and_allocates_nothing(smollm2: ModelDescriptor) -> None:
    """30 layers, 3 heads of 64, keys and values, 2 bytes each: 23,040 a token."""
    model = Model(smollm2.path, dry=True)
    before = psutil.Process().memory_info().rss
    found = context_bytes(model, shape(cells=1 << 20))
    taken = psutil.Process().memory_info().rss - before
    model.close()
    assert found is not None
    assert found.cache == 23_040 << 20
    assert found.total > found.cache
    assert taken < found.cache // 1_000


@pytest.mark.model
def test_a_larger_batch_and_more_cells_take_more_and_q8_0_takes_less(smollm2: ModelDescriptor) -> None:
    model = Model(smollm2.path, dry=True)
    plain, batch, cells, quantised = (
        context_bytes(model, shape(**changes))
        for changes in ({}, {"batch_tokens": 512}, {"cells": 16_384}, {"kv_type": "q8_0"})
    )
    model.close()
    assert plain is not None
    assert batch is not None
    assert cells is not None
    assert quantised is not None
    assert batch.compute > plain.compute
    assert cells.cache == 2 * plain.cache
    assert quantised.cache == pytest.approx(plain.cache * 17 / 32, rel=1e-3)


@pytest.mark.model
def test_windows_and_states_are_counted_as_they_are(tiny_models: Any) -> None:
    """Gemma's window holds less than all cells; a state is there once a sequence, whatever the cells."""
    for model_path, grows in ((tiny_models.windowed.path, True), (tiny_models.recurrent.path, False)):
        model = Model(model_path, dry=True)
        few, many = (context_bytes(model, shape(cells=cells)) for cells in (2_048, 8_192))
        metadata_say = model.kv_bytes_per_token * 8_192
        model.close()
        assert few is not None
        assert many is not None
        assert (many.cache > few.cache) == grows
        assert not grows or many.cache < metadata_say


@pytest.mark.model
def test_a_context_that_cannot_be_is_an_error(smollm2: ModelDescriptor) -> None:
    model = Model(smollm2.path, dry=True)
    with pytest.raises(LoadError):
        context_bytes(model, shape(sequences=1_000))
    model.close()
