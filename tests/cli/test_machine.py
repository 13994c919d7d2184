"""What this machine says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pensieve_cli.machine import cpu_flags, cpu_name, native_engine, this_machine


def test_the_native_engine_tells_what_it_was_compiled_for() -> None:
    engine = native_engine()
    assert engine is not None
    assert engine.version.startswith("llama.cpp")
    assert all(free <= size for free, size in zip(engine.gpu_free_bytes, engine.gpu_bytes, strict=True))


def test_a_native_engine_that_cannot_start_is_none_and_the_memory_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise SystemExit(1)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert native_engine() is None
    machine = this_machine()
    assert machine.gpu_bytes == 0
    assert machine.memory_bytes


def test_the_processor_has_a_name_and_on_linux_flags() -> None:
    assert cpu_name()
    assert bool(cpu_flags()) is Path("/proc/cpuinfo").exists()
