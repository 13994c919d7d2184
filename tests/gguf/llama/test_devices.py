"""Ours: design 2, "Limits and memory": what is free is asked of the devices themselves."""

from __future__ import annotations

from pensieve_gguf.llama import gpus


def test_a_gpu_has_a_name_and_no_more_free_than_it_has() -> None:
    """Empty where llama.cpp was built for the CPU alone, as in CI."""
    for gpu in gpus():
        assert gpu.name
        assert 0 <= gpu.free_bytes <= gpu.total_bytes
