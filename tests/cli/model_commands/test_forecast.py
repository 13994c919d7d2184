"""What suits a machine, by the fit that loads: a table of pretended machines."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.model_commands.forecast import foreseeing, free_memory
from pensieve_cli.settings import EngineSettings, MemorySettings, Settings
from pensieve_gguf.fit import USEFUL_CONTEXT, Memory
from pensieve_registry import Recommendation, load_curated, recommend

GB = 10**9
ENTRIES = load_curated()
NAMED = {entry.name: entry for entry in ENTRIES}


def recommended(ram: float, gpu: float = 0, settings: Settings | None = None) -> Recommendation:
    memory = Memory(ram=int(ram * GB), gpu=int(gpu * GB))
    return recommend(ENTRIES, foreseeing(settings or Settings(), memory))


@pytest.mark.parametrize(
    ("ram_gb", "gpu_gb", "name", "fits"),
    [
        (2, 0, "qwen2.5-coder-1.5b", False),
        (4, 0, "qwen2.5-coder-1.5b", True),
        (8, 0, "qwen3.5-4b", True),
        (16, 0, "qwen3.5-9b", True),
        (24, 0, "gpt-oss-20b", True),
        (48, 0, "qwen3.6-35b", True),
        (80, 0, "gpt-oss-120b", True),
        (16, 4, "gpt-oss-20b", True),
        (16, 8, "qwen3.5-4b", True),
        (32, 12, "qwen3.5-9b", True),
        (16, 16, "gpt-oss-20b", True),
        (32, 24, "qwen3-coder-30b", True),
        (128, 64, "qwen3-coder-next", True),
        (128, 80, "gpt-oss-120b", True),
    ],
)
def test_a_machine_is_recommended_what_the_loader_would_fit(
    ram_gb: float, gpu_gb: float, name: str, *, fits: bool
) -> None:
    """An eighth of RAM is in use by others, and a thirtieth of the GPU by the screen."""
    found = recommended(ram_gb * 7 / 8, gpu_gb * 29 / 30)
    assert (found.model.name, found.foreseen.fits) == (name, fits)
    assert ("on the GPU" in found.reason) is (gpu_gb >= 8)
    assert f"{found.foreseen.context_tokens:,} tokens" in found.reason


@given(st.floats(0, 200), st.just(0.0) | st.floats(0, 100))
def test_what_is_said_to_fit_does_with_a_context_for_claude_code(ram: float, gpu: float) -> None:
    found = recommended(ram, gpu).foreseen
    assert not found.fits or (found.left_bytes >= 0 and found.context_tokens >= USEFUL_CONTEXT)


@given(st.floats(0, 200), st.floats(0, 200))
def test_more_memory_never_recommends_a_smaller_model(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert recommended(less).model.size_bytes <= recommended(more).model.size_bytes


def test_states_count_for_each_request_that_may_run() -> None:
    """Qwen 3.5 keeps 50 MiB for each, twice as many as may run, and never for more than 48."""
    memory = Memory(ram=9 * GB)
    few, many = (
        foreseeing(Settings(engine=EngineSettings(parallel=running, ctx=32_768, cells=32_768)), memory)
        for running in (4, 30)
    )
    model = NAMED["qwen3.5-9b"]
    assert (few(model).fits, many(model).fits) == (True, False)
    assert many(model).context_bytes - few(model).context_bytes == (48 - 8) * model.state_bytes


def test_a_model_in_part_on_the_gpu_is_held_against_both_memories() -> None:
    found = foreseeing(Settings(), Memory(ram=30 * GB, gpu=8 * GB))(NAMED["qwen3-coder-30b"])
    assert (found.whole_on_gpu, found.free_bytes) == (False, 38 * GB)
    assert found.weights_bytes == NAMED["qwen3-coder-30b"].size_bytes


def test_what_is_free_is_looked_at_unless_a_budget_was_set() -> None:
    free = free_memory(Settings())
    assert free.ram > 0
    assert not free.is_limit
    limited = free_memory(Settings(memory=MemorySettings(memory_budget=5 * GB, gpu_memory_budget=1)))
    assert attrs.evolve(limited, gpu=0) == Memory(ram=5 * GB, is_limit=True)
    assert limited.gpu <= 1
